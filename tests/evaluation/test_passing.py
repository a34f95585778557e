"""pass@k against brute force over all subsets; intervals; what is refused."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import ArgumentError
from derailleur.evaluation.passing import bootstrap_interval, pass_at_k


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_one_that_passes(
    passed: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(passed)))
    subsets = [any(chosen) for chosen in itertools.combinations(passed, k)]
    assert pass_at_k(len(passed), sum(passed), k) == pytest.approx(sum(subsets) / len(subsets))


@given(st.integers(1, 300), st.data())
def test_pass_at_k_is_the_binomial_formula(num_samples: int, data: st.DataObject) -> None:
    num_passed, k = data.draw(st.integers(0, num_samples)), data.draw(st.integers(1, num_samples))
    all_fail = math.comb(num_samples - num_passed, k) / math.comb(num_samples, k)
    assert pass_at_k(num_samples, num_passed, k) == pytest.approx(1 - all_fail, abs=1e-12)


@pytest.mark.parametrize("k", [0, 21])
def test_a_k_without_enough_samples_is_refused(k: int) -> None:
    with pytest.raises(ArgumentError, match=rf"pass@{k} needs at least {k} samples of a problem, got 20"):
        pass_at_k(20, 20, k)


def test_the_interval_is_that_of_a_mean() -> None:
    scores = [0.0, 1.0] * 200
    low, high = bootstrap_interval(scores, seed=1)
    assert bootstrap_interval(scores, seed=1) == (low, high)
    half = 1.96 * 0.5 / math.sqrt(len(scores))
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)
    assert bootstrap_interval([1.0] * 5, seed=0) == (1.0, 1.0)
