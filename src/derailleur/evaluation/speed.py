"""Which regimes decode speed is measured in."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field, PositiveInt

from derailleur.config import Config


@dataclass(frozen=True)
class Regime:
    """Requests decoded together, and the tokens that each of them holds."""

    batch: int
    context_tokens: int


class SpeedConfig(Config):
    """How decode speed is measured."""

    batches: tuple[PositiveInt, ...] = Field((1, 16), min_length=1, description="requests decoded together")
    contexts: tuple[PositiveInt, ...] = Field(
        (1024, 2048, 8192), min_length=1, description="tokens before the decoded one, in each request"
    )
    steps: int = Field(16, gt=0, description="decode steps, of which the median counts")
    warmup: int = Field(3, ge=0, description="steps before those, not timed")

    @property
    def regimes(self) -> Iterator[Regime]:
        """Every batch at every context, the largest first: what does not fit into memory fails at once."""
        for batch in sorted(set(self.batches), reverse=True):
            for context in sorted(set(self.contexts), reverse=True):
                yield Regime(batch, context)
