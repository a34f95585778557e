"""What a filter is: measures of a document, and the bounds beyond which a measure is a reason to drop it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from derailleur.corpus.ledger import Verdict


class Filterable(Protocol):
    """What filters look at.

    Attributes:
        content: UTF-8, as it would be written.
        stars: of the repository, None where nobody said.
    """

    @property
    def content(self) -> bytes: ...
    @property
    def language(self) -> str: ...
    @property
    def stars(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """Bounds on one measure; a document at a bound is kept unless the bounds are `exclusive`.

    Attributes:
        reason: the reason of the verdict.
        detail: how the measured value is written in the verdict.
    """

    measure: str
    reason: str
    minimum: float = -math.inf
    maximum: float = math.inf
    exclusive: bool = False
    detail: str = "{:.3f}"

    def verdict(self, value: float) -> Verdict | None:
        """The verdict on a document for which `value` was measured, None if it may stay."""
        inside = (
            self.minimum < value < self.maximum if self.exclusive else self.minimum <= value <= self.maximum
        )
        return None if inside else Verdict("dropped", self.reason, self.detail.format(value))


class Filter(Protocol):
    """Measures documents; built from its own configuration.

    Attributes:
        percentiles: those of its measures that its volume table shows.
        rules: in the order in which they are applied.
    """

    percentiles: ClassVar[tuple[int, ...]]

    @property
    def rules(self) -> Sequence[Rule]: ...

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The measures of a document; what does not apply to its language is left out."""
        ...


PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

FILTERS: dict[str, Callable[..., Filter]] = {}
"""Every filter by its name; each is built from the configuration of that name."""

AnyFilter = TypeVar("AnyFilter", bound=Callable[..., Filter])


def register(name: str) -> Callable[[AnyFilter], AnyFilter]:
    """Enter a filter under its name."""

    def enter(made: AnyFilter) -> AnyFilter:
        assert name not in FILTERS, f"two filters are named {name}"
        FILTERS[name] = made
        return made

    return enter
