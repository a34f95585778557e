"""Learning-rate schedules: pure functions of the step, so that a resumed run sees the same rates."""

import math
from enum import StrEnum

from pydantic import Field

from derailleur.config import Config


class Decay(StrEnum):
    """The shape of the learning rate after warm-up."""

    COSINE = "cosine"
    WSD = "wsd"


class ScheduleConfig(Config):
    """Linear warm-up, then a cosine, or a stable stretch and a linear decay (WSD)."""

    decay: Decay = Field(Decay.WSD, description="cosine, or wsd = warm-up, stable, linear decay")
    warmup_fraction: float = Field(0.02, ge=0, lt=1, description="warm-up, as a share of the steps")
    decay_fraction: float = Field(
        0.4, gt=0, le=1, description="wsd: length of the final decay, as a share of the steps"
    )
    final_ratio: float = Field(0.0, ge=0, le=1, description="last learning rate over the peak")

    def factor(self, step: int, steps: int) -> float:
        """The learning rate at `step` (from 0) of `steps`, as a share of the peak.

        The last step still learns: the decay reaches `final_ratio` only after it.
        """
        warmup = math.ceil(self.warmup_fraction * steps)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.decay is Decay.COSINE:
            done = (step - warmup) / (steps - warmup)
            shape = 0.5 * (1 + math.cos(math.pi * done))
        else:
            length = min(max(1, round(self.decay_fraction * steps)), steps - warmup)
            shape = min(1.0, (steps - step) / (length + 1))
        return self.final_ratio + (1 - self.final_ratio) * shape
