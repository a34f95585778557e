"""The cost model: seconds per decoding step of any placement, from a few that were timed.

    seconds_per_step(p; regime) = sum_m n_m(p) * c_m        n_m: layers with mixer m;  c_m >= 0

fitted on its own in every regime (batch, context), since what a mixer costs changes with both: full
attention grows with the context, the others do not. There is no intercept on purpose. All placements of
one model have the same number of layers, L, so what does not depend on the placement (embedding, head,
sampling, overhead) cannot be told from a cost per layer: c0 + sum n_m c_m = sum n_m (c_m + c0 / L). Hence
c_m is the cost of a layer *with its share of everything else*, and c_m / c_FA is exactly the predicted
time of all-m over that of all-FA. Relative errors are what matters and are what is minimised.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from derailleur.errors import DataError
from derailleur.io import read_json, write_json
from derailleur.placement.placement import MIXERS, Placement

COST_FILE = "cost.json"


@dataclass(frozen=True, order=True)
class Regime:
    """What the speed of a placement depends on beside itself.

    Attributes:
        batch: rows decoded together.
        context: tokens before the decoded one, in each row.
    """

    batch: int
    context: int

    def __str__(self) -> str:
        return f"batch {self.batch}, context {self.context}"


@dataclass(frozen=True)
class Timing:
    """One placement timed in one regime."""

    placement: Placement
    regime: Regime
    seconds_per_step: float


@dataclass(frozen=True)
class RegimeCost:
    """The cost model of one regime.

    Attributes:
        seconds: of one layer by mixer, with its share of what does not depend on the placement.
        fit_error: mean absolute relative error on the fitted placements.
        heldout_error: the same on placements that were left out of the fit; None without any.
    """

    seconds: Mapping[str, float]
    fit_error: float
    heldout_error: float | None

    @property
    def relative(self) -> dict[str, float]:
        """The cost of a layer by mixer, full attention = 1."""
        return {letter: seconds / self.seconds["F"] for letter, seconds in self.seconds.items()}


class CostModel:
    """The cost of every placement of one model, by regime."""

    def __init__(self, regimes: Mapping[Regime, RegimeCost]) -> None:
        self.regimes = dict(regimes)

    def seconds_per_step(self, placement: Placement, regime: Regime) -> float:
        """Predicted seconds of one decoding step of the whole batch."""
        seconds = self.regimes[regime].seconds
        return sum(seconds[letter] for letter in placement)

    def tokens_per_second(self, placement: Placement, regime: Regime) -> float:
        """Predicted decode throughput over all rows."""
        return regime.batch / self.seconds_per_step(placement, regime)

    def relative_cost(self, placement: Placement, regime: Regime) -> float:
        """Predicted seconds per step over those of all-FA."""
        full = Placement.uniform("F", len(placement))
        return self.seconds_per_step(placement, regime) / self.seconds_per_step(full, regime)

    def save(self, folder: Path) -> None:
        """Write `cost.json`: one row a regime."""
        rows = [
            {
                "batch": regime.batch,
                "context": regime.context,
                "seconds_per_layer": dict(cost.seconds),
                "relative_to_full_attention": cost.relative,
                "fit_mape": cost.fit_error,
                "heldout_mape": cost.heldout_error,
            }
            for regime, cost in sorted(self.regimes.items())
        ]
        write_json(folder / COST_FILE, {"regimes": rows})


def load_cost(folder: Path) -> CostModel:
    """Read `cost.json`.

    Raises:
        DataError: if the file is missing or a key is.
    """
    path = folder / COST_FILE
    content: dict[str, Any] = read_json(path)
    try:
        return CostModel(
            {
                Regime(row["batch"], row["context"]): RegimeCost(
                    row["seconds_per_layer"], row["fit_mape"], row["heldout_mape"]
                )
                for row in content["regimes"]
            }
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a cost model: {error}") from None


def fit_cost(timings: Iterable[Timing], heldout: Iterable[Timing] = ()) -> CostModel:
    """Fit every regime by non-negative least squares on relative errors.

    Args:
        heldout: timings that the model is only judged by.

    Raises:
        DataError: if a regime lacks timings that tell the mixers apart.
    """
    fitted, judged = _by_regime(timings), _by_regime(heldout)
    return CostModel({regime: _fit(regime, rows, judged.get(regime, [])) for regime, rows in fitted.items()})


def _by_regime(timings: Iterable[Timing]) -> dict[Regime, list[Timing]]:
    rows: dict[Regime, list[Timing]] = {}
    for timing in timings:
        rows.setdefault(timing.regime, []).append(timing)
    return dict(sorted(rows.items()))


def _fit(regime: Regime, timings: Sequence[Timing], heldout: Sequence[Timing]) -> RegimeCost:
    letters = [m for m in MIXERS if any(m in timing.placement.letters for timing in [*timings, *heldout])]
    counts = np.array([[t.placement.counts()[m] for m in letters] for t in timings], dtype=float)
    if "F" not in letters or np.linalg.matrix_rank(counts) < len(letters):
        raise DataError(f"{regime}: {len(timings)} timed placements do not tell {'/'.join(letters)} apart")
    measured = np.array([timing.seconds_per_step for timing in timings])
    per_layer, _ = nnls(counts / measured[:, None], np.ones(len(timings)))
    seconds = dict(zip(letters, map(float, per_layer), strict=True))
    if seconds["F"] == 0:
        raise DataError(f"{regime}: full attention came out as free; the timings are too noisy to fit")
    return RegimeCost(seconds, _error(seconds, timings), _error(seconds, heldout) if heldout else None)


def _error(seconds: Mapping[str, float], timings: Sequence[Timing]) -> float:
    """Mean absolute relative error (MAPE as a fraction)."""
    errors = [
        abs(sum(seconds[letter] for letter in timing.placement) / timing.seconds_per_step - 1)
        for timing in timings
    ]
    return float(np.mean(errors))
