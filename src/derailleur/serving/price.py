"""What a step of the engine takes under a preset, from the speeds that `presets.json` holds."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import nnls

from derailleur.placement.presets import Preset

_LEAST_ROW = 0.01
"""Of the step, what a row counts at least: what prompts take is learnt as a multiple of what rows do."""


@dataclass(frozen=True)
class Price:
    """Seconds of a step under one placement; both parts grow with the context.

        seconds(b rows after c tokens) = fixed + fixed_per_token c + b (row + row_per_token c)

    Nothing is negative: with more rows and longer texts a step takes no less. Where nothing was measured, the
    defaults are a beginning.

    Attributes:
        row, row_per_token: of every row that decodes.
        fixed, fixed_per_token: of the step, however many rows it has.
    """

    row: float = 1e-3
    row_per_token: float = 0.0
    fixed: float = 0.0
    fixed_per_token: float = 0.0

    @classmethod
    def fit(cls, preset: Preset) -> Self:
        """Non-negative least squares on relative errors, as the cost model is fitted.

        What was not varied cannot be told apart: of one batch all is the rows', of one context nothing grows.
        """
        timed = [(s.batch, s.context, s.measured or s.predicted) for s in preset.speed]
        points = [(batch, context, batch / speed) for batch, context, speed in timed if speed]
        if not points:
            return cls()
        batch, context, seconds = np.array(points, dtype=float).T
        varied = (len(set(context)) > 1, len(set(batch)) > 1)
        columns = {"row": batch}
        if varied[0]:
            columns["row_per_token"] = batch * context
        if varied[1]:
            columns["fixed"] = np.ones_like(batch)
        if all(varied):
            columns["fixed_per_token"] = context
        fitted, _ = nnls(np.stack(list(columns.values()), 1) / seconds[:, None], np.ones(len(seconds)))
        price = dict(zip(columns, map(float, fitted), strict=True))
        # On a GPU more rows may well take no longer.
        return cls(**price | {"row": max(price["row"], _LEAST_ROW * price.get("fixed", 0.0))})

    def step_seconds(self, batch: int, context_tokens: float) -> float:
        """Of a step of rows that are all alike."""
        return self.fixed_seconds(context_tokens) + batch * self.row_seconds(context_tokens)

    def row_seconds(self, context_tokens: float) -> float:
        """What one more row adds to a step."""
        return self.row + self.row_per_token * context_tokens

    def fixed_seconds(self, context_tokens: float) -> float:
        """What a step takes beside its rows."""
        return self.fixed + self.fixed_per_token * context_tokens

    def reading_seconds(self, num_tokens: float) -> float:
        """What as many steps would take as a prompt has tokens, each for one row that has read so far."""
        return self.row * num_tokens + self.row_per_token * num_tokens**2 / 2
