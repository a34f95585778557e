from pathlib import Path

import numpy as np
import pytest

from derailleur.errors import DataError
from derailleur.placement.design import random_placements, single_swaps, uniform_placements
from derailleur.placement.expansion import ClusterExpansion, FloatArray, with_reference
from derailleur.placement.placement import Placement
from derailleur.placement.surrogate import (
    Surrogate,
    _features,
    _negative_log_evidence,
    fit_surrogate,
    load_surrogate,
    rank_correlation,
)

MIXERS = "FSKG"
NUM_LAYERS = 12


def truth(seed: int, *, pair_std: float = 0.03, num_layers: int = NUM_LAYERS) -> ClusterExpansion:
    """Every replaced layer costs something, some layers much more than others; neighbours interact."""
    rng = np.random.default_rng(seed)
    mean = np.array([0.05, 0.1, 0.2])
    single = -mean * np.exp(rng.normal(0, 0.7, size=(num_layers, 3)))
    pairs = pair_std * rng.normal(size=(num_layers - 1, 3, 3))
    return ClusterExpansion(-1.2, with_reference(single, 1), (with_reference(pairs, 2),))


def observe(
    expansion: ClusterExpansion, count: int, seed: int, noise: float = 0.0
) -> tuple[list[Placement], FloatArray]:
    """The placements that the stage would measure, `count` of them, and their noisy scores."""
    rng = np.random.default_rng(seed)
    layers = expansion.num_layers
    placements = [*uniform_placements(layers, MIXERS), *single_swaps(layers, MIXERS)][:count]
    placements += random_placements(count - len(placements), layers, MIXERS, rng, exclude=placements)
    return placements, expansion.score(placements) + noise * rng.normal(size=count)


@pytest.mark.parametrize("seed", range(3))
def test_recovers_a_synthetic_truth_from_96_placements(seed: int) -> None:
    expansion = truth(seed)
    placements, values = observe(expansion, 96, seed, noise=0.02)
    surrogate = fit_surrogate(placements, values)
    fresh = random_placements(300, NUM_LAYERS, MIXERS, np.random.default_rng(100 + seed), exclude=placements)
    mean, std = surrogate.predict(fresh)
    expected = expansion.score(fresh)
    assert rank_correlation(mean, expected) > 0.97
    assert surrogate.report().loo_spearman > 0.9
    inside = np.abs(mean - expected) < 2 * std
    assert 0.85 < inside.mean() <= 1
    assert surrogate.report().noise_std == pytest.approx(0.02, rel=0.6)


def test_pairs_are_found_where_they_are_and_not_where_they_are_not() -> None:
    with_pairs = fit_surrogate(*observe(truth(1, pair_std=0.15), 120, 1))
    without = fit_surrogate(*observe(truth(1, pair_std=0.0), 120, 1, noise=0.02))
    assert with_pairs.range >= 1
    assert without.range == 0
    alone = fit_surrogate(*observe(truth(1, pair_std=0.15), 120, 1), max_range=0)
    assert alone.range == 0
    assert alone.report().loo_rmse > 1.3 * with_pairs.report().loo_rmse


def test_leave_one_out_equals_leaving_out_one_by_one() -> None:
    placements, values = observe(truth(2), 60, 2, noise=0.02)
    surrogate = fit_surrogate(placements, values)
    for index in (0, 7, 41, 59):
        kept = [i for i in range(60) if i != index]
        smaller = posterior_by_features(surrogate, [placements[i] for i in kept], values[kept], values.mean())
        predicted, _ = predict_by_features(surrogate, smaller, placements[index])
        assert surrogate.leave_one_out[index] == pytest.approx(predicted, abs=1e-6)


def test_predictions_equal_the_textbook_posterior_over_terms() -> None:
    placements, values = observe(truth(3), 60, 3, noise=0.02)
    surrogate = fit_surrogate(placements, values)
    posterior = posterior_by_features(surrogate, placements, values, values.mean())
    fresh = random_placements(20, NUM_LAYERS, MIXERS, np.random.default_rng(5))
    means, stds = surrogate.predict(fresh)
    for placement, mean, std in zip(fresh, means, stds, strict=True):
        expected_mean, expected_std = predict_by_features(surrogate, posterior, placement)
        assert mean == pytest.approx(expected_mean, abs=1e-6)
        assert std == pytest.approx(expected_std, rel=1e-3)
    np.testing.assert_allclose(surrogate.expansion().score(fresh), means, atol=1e-9)


Posterior = tuple[FloatArray, FloatArray, float]  # mean and covariance of the terms, offset


def posterior_by_features(
    surrogate: Surrogate, placements: list[Placement], values: FloatArray, offset: float
) -> Posterior:
    """Sigma = (Phi^T Phi / s^2 + V^-1)^-1, w = Sigma Phi^T y / s^2: the algebra over the terms."""
    groups = _features(placements, surrogate.num_layers, surrogate.range)
    phi = np.hstack(list(groups.values()))
    prior = np.concatenate([np.full(groups[g].shape[1], surrogate.variances[g]) for g in groups])
    precision = phi.T @ phi / surrogate.noise_variance + np.diag(1 / prior)
    covariance = np.linalg.inv(precision)
    return covariance @ phi.T @ (values - offset) / surrogate.noise_variance, covariance, offset


def predict_by_features(
    surrogate: Surrogate, posterior: Posterior, placement: Placement
) -> tuple[float, float]:
    groups = _features([placement], surrogate.num_layers, surrogate.range)
    phi = np.hstack(list(groups.values()))[0]
    mean, covariance, offset = posterior
    return float(offset + phi @ mean), float(np.sqrt(phi @ covariance @ phi))


def test_samples_have_the_posterior_mean_and_spread() -> None:
    placements, values = observe(truth(4), 50, 4, noise=0.05)
    surrogate = fit_surrogate(placements, values)
    fresh = random_placements(8, NUM_LAYERS, MIXERS, np.random.default_rng(6))
    rng = np.random.default_rng(7)
    draws = np.array([surrogate.sample(rng).score(fresh) for _ in range(1500)])
    mean, std = surrogate.predict(fresh)
    np.testing.assert_allclose(draws.std(axis=0), std, rtol=0.1)
    assert (np.abs(draws.mean(axis=0) - mean) < 5 * std / np.sqrt(len(draws))).all()
    again = surrogate.sample(np.random.default_rng(7)).score(fresh)
    np.testing.assert_array_equal(again, draws[0])


def test_evidence_gradient_equals_finite_differences() -> None:
    placements, values = observe(truth(5), 30, 5)
    groups = _features(placements, NUM_LAYERS, 1)
    grams = np.stack([features @ features.T for name, features in groups.items() if name != "constant"])
    standard = (values - values.mean()) / values.std()
    point = np.log([0.01, 0.02, 0.003, 0.001, 0.05])
    _, gradient = _negative_log_evidence(point, grams, standard)
    for index in range(len(point)):
        step = np.zeros_like(point)
        step[index] = 1e-5
        above, _ = _negative_log_evidence(point + step, grams, standard)
        below, _ = _negative_log_evidence(point - step, grams, standard)
        assert gradient[index] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    placements, values = observe(truth(6), 70, 6, noise=0.02)
    surrogate = fit_surrogate(placements, values)
    surrogate.save(tmp_path)
    loaded = load_surrogate(tmp_path)
    assert loaded.report() == surrogate.report()
    fresh = random_placements(10, NUM_LAYERS, MIXERS, np.random.default_rng(8))
    for left, right in zip(loaded.predict(fresh), surrogate.predict(fresh), strict=True):
        np.testing.assert_array_equal(left, right)
    (tmp_path / "surrogate.json").write_text("{}")
    with pytest.raises(DataError, match=r"surrogate\.json: not a surrogate"):
        load_surrogate(tmp_path)


def test_one_value_for_all_is_no_crash_and_no_correlation() -> None:
    placements, _ = observe(truth(0), 20, 0)
    surrogate = fit_surrogate(placements, np.full(20, -2.0))
    assert surrogate.predict(placements)[0] == pytest.approx(np.full(20, -2.0))
    assert (surrogate.report().loo_spearman, surrogate.report().r2) == (0, 0)


def test_one_layer_has_no_pairs() -> None:
    surrogate = fit_surrogate(uniform_placements(1, MIXERS), [-1.0, -1.1, -1.2, -1.3])
    assert surrogate.range == 0
    assert surrogate.predict([Placement("F")])[0][0] > surrogate.predict([Placement("G")])[0][0]


def test_too_few_observations_are_refused() -> None:
    with pytest.raises(DataError, match="3 measured placements"):
        fit_surrogate(uniform_placements(2, "FSK"), [-1.0, -1.1, -1.2])
