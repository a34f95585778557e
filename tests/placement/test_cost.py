from pathlib import Path

import numpy as np
import pytest

from derailleur.errors import DataError
from derailleur.placement.cost import CostModel, Regime, Timing, fit_cost, load_cost
from derailleur.placement.design import random_placements, uniform_placements
from derailleur.placement.placement import Placement

MIXERS = "FSKG"
LONG, SHORT = Regime(16, 8192), Regime(1, 1024)
OVERHEAD = 0.004
SECONDS = {LONG: {"F": 0.010, "S": 0.005, "K": 0.002, "G": 0.0015}, SHORT: dict.fromkeys(MIXERS, 0.001)}


def time(placements: list[Placement], noise: float = 0.0) -> list[Timing]:
    """Synthetic timings with an overhead that no placement changes."""
    rng = np.random.default_rng(len(placements))
    return [
        Timing(p, regime, (OVERHEAD + sum(seconds[letter] for letter in p)) * (1 + noise * rng.normal()))
        for regime, seconds in SECONDS.items()
        for p in placements
    ]


FITTED = [*uniform_placements(6, MIXERS), *random_placements(4, 6, MIXERS, np.random.default_rng(1))]
HELDOUT = random_placements(3, 6, MIXERS, np.random.default_rng(2), exclude=FITTED)


def test_additive_times_are_recovered_exactly() -> None:
    model = fit_cost(time(FITTED), time(HELDOUT))
    for regime, seconds in SECONDS.items():
        cost = model.regimes[regime]
        assert cost.fit_error < 1e-9
        assert cost.heldout_error is not None
        assert cost.heldout_error < 1e-9
        shared = {letter: value + OVERHEAD / 6 for letter, value in seconds.items()}
        assert cost.seconds == pytest.approx(shared)
        assert cost.relative == pytest.approx({m: value / shared["F"] for m, value in shared.items()})
    placement = Placement("FSKGGG")
    seconds = OVERHEAD + 0.010 + 0.005 + 0.002 + 3 * 0.0015
    assert model.seconds_per_step(placement, LONG) == pytest.approx(seconds)
    assert model.tokens_per_second(placement, LONG) == pytest.approx(16 / seconds)
    assert model.relative_cost(placement, LONG) == pytest.approx(seconds / 0.064)
    assert model.relative_cost(Placement("FFFFFF"), SHORT) == 1


def test_noise_shows_in_the_errors() -> None:
    cost = fit_cost(time(FITTED, noise=0.05), time(HELDOUT, noise=0.05)).regimes[LONG]
    assert 0.005 < cost.fit_error < 0.05
    assert cost.heldout_error is not None
    assert 0.01 < cost.heldout_error < 0.15
    assert cost.relative["G"] == pytest.approx((0.0015 + OVERHEAD / 6) / (0.010 + OVERHEAD / 6), rel=0.1)


def test_heldout_timings_do_not_enter_the_fit() -> None:
    spoilt = [Timing(row.placement, row.regime, 9.0) for row in time(HELDOUT)]
    cost = fit_cost(time(FITTED), spoilt).regimes[LONG]
    assert cost.seconds == fit_cost(time(FITTED)).regimes[LONG].seconds
    assert cost.heldout_error == pytest.approx(1, abs=0.02)


def test_costs_are_never_negative() -> None:
    placements = [*uniform_placements(2, "FG"), Placement("FG")]
    rows = [Timing(p, LONG, s) for p, s in zip(placements, [1.0, 1e-6, 0.2], strict=True)]
    assert min(fit_cost(rows).regimes[LONG].seconds.values()) >= 0


def test_a_model_with_two_mixers_and_no_heldout() -> None:
    rows = [Timing(Placement("FF"), LONG, 2.0), Timing(Placement("GG"), LONG, 1.0)]
    cost = fit_cost(rows).regimes[LONG]
    assert cost.relative == pytest.approx({"F": 1, "G": 0.5})
    assert cost.heldout_error is None


def test_too_few_timings_are_refused() -> None:
    rows = [Timing(Placement("FG"), LONG, 1.0), Timing(Placement("GF"), LONG, 1.0)]
    with pytest.raises(DataError, match="batch 16, context 8192: 2 timed placements"):
        fit_cost(rows)


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = fit_cost(time(FITTED, noise=0.02), time(HELDOUT))
    model.save(tmp_path)
    loaded = load_cost(tmp_path)
    assert isinstance(loaded, CostModel)
    assert loaded.regimes == model.regimes


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cost.json").write_text('{"regimes": [{"batch": 1}]}')
    with pytest.raises(DataError, match=r"cost\.json: not a cost model"):
        load_cost(tmp_path)
