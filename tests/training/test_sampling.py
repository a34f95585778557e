"""Placements: pure functions of seed and step, with the distributions that are promised."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from derailleur.errors import ConfigError, PlacementError
from derailleur.placement import Placement
from derailleur.training.sampling import (
    PlacementProbability,
    PlacementSampler,
    SamplingConfig,
    Strategy,
    stars_and_bars,
)


def sampler(*, num_layers=3, letters="FSKG", learning="FSKG", seed=0, **config) -> PlacementSampler:
    return PlacementSampler(
        SamplingConfig(**config), num_layers=num_layers, letters=letters, learning=learning, seed=seed
    )


def preset(placement: str, probability: float) -> PlacementProbability:
    return PlacementProbability(placement=placement, probability=probability)


def assert_uniform(drawn: list, outcomes: list) -> None:
    counts = collections.Counter(drawn)
    assert set(counts) <= set(outcomes)
    assert stats.chisquare([counts[outcome] for outcome in outcomes]).pvalue > 1e-3


@given(
    seed=st.integers(0, 2**31),
    step=st.integers(0, 10**7),
    strategy=st.sampled_from(["uniform", "full_layout"]),
)
def test_a_placement_is_a_pure_function_of_seed_and_step(seed, step, strategy):
    first = sampler(num_layers=8, seed=seed, strategy=strategy)
    first.sample(step + 1)  # drawing other steps in between must not matter
    assert first.sample(step) == sampler(num_layers=8, seed=seed, strategy=strategy).sample(step)
    assert len(first.sample(step)) == 8


def test_seed_and_step_both_matter():
    one, other = sampler(num_layers=24, seed=1), sampler(num_layers=24, seed=2)
    assert len({one.sample(0), one.sample(1), other.sample(0), other.sample(1)}) == 4


def test_uniform_draws_every_placement_equally_often():
    dice = sampler(num_layers=2)
    drawn = [str(dice.sample(step)) for step in range(4000)]
    assert_uniform(drawn, ["".join(pair) for pair in itertools.product("FSKG", repeat=2)])


def test_full_layout_draws_every_allocation_equally_often():
    dice = sampler(num_layers=3, strategy=Strategy.FULL_LAYOUT)
    drawn = [tuple(dice.sample(step).counts()[letter] for letter in "FSKG") for step in range(4000)]
    allocations = [c for c in itertools.product(range(4), repeat=4) if sum(c) == 3]
    assert len(allocations) == math.comb(6, 3)
    assert_uniform(drawn, allocations)


def test_full_layout_shuffles_the_layers():
    dice = sampler(num_layers=2, letters="SG", learning="SG", strategy=Strategy.FULL_LAYOUT)
    counts = collections.Counter(str(dice.sample(step)) for step in range(3000))
    assert counts["SG"] + counts["GS"] == pytest.approx(1000, abs=120)
    assert counts["SG"] == pytest.approx(500, abs=90)


def test_weights_decide_how_often_a_mixer_is_drawn():
    dice = sampler(num_layers=10, strategy=Strategy.WEIGHTED, weights={"G": 3, "S": 1})
    letters = "".join(str(dice.sample(step)) for step in range(400))
    assert set(letters) == {"G", "S"}
    assert letters.count("G") / len(letters) == pytest.approx(0.75, abs=0.03)


def test_presets_take_their_share_and_leave_the_rest_to_the_strategy():
    dice = sampler(num_layers=6, presets=(preset("all-gdn", 0.5), preset("2F 4S", 0.3)))
    counts = collections.Counter(str(dice.sample(step)) for step in range(2000))
    assert counts["GGGGGG"] == pytest.approx(1000, abs=100)
    assert counts["FFSSSS"] == pytest.approx(600, abs=100)
    assert len(counts) > 300


def test_with_frozen_full_attention_no_step_is_all_full_attention():
    dice = sampler(num_layers=1, learning="SKG")
    assert {str(dice.sample(step)) for step in range(100)} == {"S", "K", "G"}


@pytest.mark.parametrize(("total", "parts"), [(0, 1), (5, 1), (4, 3), (48, 4)])
def test_stars_and_bars_always_sums_up(total, parts):
    generator = np.random.default_rng(0)
    for _ in range(50):
        counts = stars_and_bars(generator, total, parts)
        assert len(counts) == parts
        assert sum(counts) == total
        assert min(counts) >= 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"presets": (preset("all-gdn", 0.7), preset("all-swa", 0.7))}, ConfigError, "sum to 1.4"),
        ({"presets": (preset("FFFF", 1.0),)}, PlacementError, "has 4 layers, the model has 3"),
        ({"presets": (preset("KKK", 1.0),), "letters": "FG", "learning": "G"}, ConfigError, "needs mixer K"),
        ({"presets": (preset("FFF", 1.0),), "learning": "SKG"}, ConfigError, "no mixer that learns"),
        ({"strategy": "weighted"}, ConfigError, "weights"),
        ({"strategy": "weighted", "weights": {"X": 1}}, ConfigError, "weights"),
        ({"strategy": "weighted", "weights": {"F": 1}, "learning": "SKG"}, ConfigError, "weights"),
    ],
)
def test_a_configuration_that_does_not_fit_the_model_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        sampler(**options)


def test_placements_draw_alike_with_a_preset_probability_of_one():
    dice = sampler(num_layers=4, presets=(preset("SSGG", 1.0),))
    assert {dice.sample(step) for step in range(50)} == {Placement("SSGG")}
