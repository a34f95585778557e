"""How well found spans agree with annotated ones: matched one to one, counted by tag.

A found span is right if an annotated one of the same tag overlaps with more than 0.8 of both (the rule of
SantaCoder's benchmark). There one found span could use up an annotation twice, and recall could pass 1;
here every span is used once, and as many as possible are.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

Interval = tuple[int, int]
"""(start, end), `end` exclusive and after `start`."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one tag, or of all.

    Attributes:
        true_positives: found and annotated.
        false_positives: found, not annotated.
        false_negatives: annotated, not found.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def precision(self) -> float:
        """Share of the found spans that are right."""
        return self._share(self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the annotated spans that were found."""
        return self._share(self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._share(self.true_positives + (self.false_positives + self.false_negatives) / 2)

    def _share(self, of: float) -> float:
        """Nothing found where there is nothing is perfect; any other share of nothing is 0."""
        nothing = self.true_positives + self.false_positives + self.false_negatives == 0
        return 1.0 if nothing else self.true_positives / of if of else 0.0


def agree(left: Interval, right: Interval) -> bool:
    """Whether the overlap is more than 0.8 of both."""
    overlap = min(left[1], right[1]) - max(left[0], right[0])
    return 5 * overlap > 4 * max(left[1] - left[0], right[1] - right[0])


def match(found: Sequence[Interval], annotated: Sequence[Interval]) -> list[tuple[int, int]]:
    """A largest one-to-one matching of spans that agree: pairs of indices (found, annotated)."""
    pairs = list(_agreeing(found, annotated))
    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    graph = csr_array((np.ones(len(pairs), np.int8), (rows, columns)), shape=(len(found), len(annotated)))
    partners = maximum_bipartite_matching(graph, perm_type="column")
    return [(index, int(partner)) for index, partner in enumerate(partners) if partner >= 0]


def _agreeing(found: Sequence[Interval], annotated: Sequence[Interval]) -> Iterator[tuple[int, int]]:
    order = sorted(range(len(annotated)), key=lambda index: annotated[index])
    starts = [annotated[index][0] for index in order]
    for number, span in enumerate(found):
        reach = (span[1] - span[0] + 3) // 4  # an agreeing span starts less than a quarter of the length away
        first, last = bisect_left(starts, span[0] - reach), bisect_left(starts, span[0] + reach + 1)
        for index in order[first:last]:
            if agree(span, annotated[index]):
                yield number, index
