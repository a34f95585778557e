"""The dynamic programme against brute force (every placement of 6 layers) and against a MILP."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from derailleur.errors import PlacementError
from derailleur.placement.expansion import ClusterExpansion
from derailleur.placement.placement import MIXERS, Placement
from derailleur.placement.search import Candidate, integer_costs, solve

COSTS = {"F": 20, "S": 9, "K": 5, "G": 3}


def random_expansion(num_layers: int, max_range: int, seed: int) -> ClusterExpansion:
    rng = np.random.default_rng(seed)
    return ClusterExpansion(
        float(rng.normal()),
        rng.normal(size=(num_layers, 4)),
        tuple(rng.normal(size=(num_layers - r, 4, 4)) for r in range(1, max_range + 1)),
    )


def enumerate_all(
    expansion: ClusterExpansion,
    costs: dict[str, int],
    keep_if: Callable[[Placement], bool] = lambda placement: True,
) -> list[Candidate]:
    """Every placement that passes, best first."""
    letters = itertools.product(costs, repeat=expansion.num_layers)
    placements = [p for p in map(Placement.of, letters) if keep_if(p)]
    scores = expansion.score(placements)
    totals = [sum(costs[letter] for letter in placement) for placement in placements]
    found = map(Candidate, placements, totals, map(float, scores))
    return sorted(found, key=lambda candidate: -candidate.score)


def naive_frontier(candidates: list[Candidate]) -> list[Candidate]:
    points: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.cost, -c.score)):
        if not points or candidate.score > points[-1].score + 1e-9:
            points.append(candidate)
    return points


def assert_same(found: list[Candidate], expected: list[Candidate]) -> None:
    assert [(c.placement, c.cost) for c in found] == [(c.placement, c.cost) for c in expected]
    np.testing.assert_allclose([c.score for c in found], [c.score for c in expected], atol=1e-9)


@pytest.mark.parametrize("max_range", range(4))
def test_frontier_equals_brute_force(max_range: int) -> None:
    expansion = random_expansion(6, max_range, seed=max_range)
    assert_same(solve(expansion, COSTS).frontier(), naive_frontier(enumerate_all(expansion, COSTS)))


@given(seed=st.integers(0, 10_000), budget=st.integers(0, 60), max_range=st.integers(0, 2))
def test_k_best_under_a_budget_equals_brute_force(seed: int, budget: int, max_range: int) -> None:
    expansion = random_expansion(3, max_range, seed)
    expected = [c for c in enumerate_all(expansion, COSTS) if c.cost <= budget][:5]
    assert_same(solve(expansion, COSTS, keep=5).best(budget, 5), expected)


@pytest.mark.parametrize("min_count", [2, 3, 6])
def test_min_count_leaves_no_mixer_in_fewer_layers(min_count: int) -> None:
    expansion = random_expansion(6, 2, seed=7)

    def passes(placement: Placement) -> bool:
        return all(count == 0 or count >= min_count for count in placement.counts().values())

    table = solve(expansion, COSTS, min_count=min_count, keep=3)
    expected = enumerate_all(expansion, COSTS, passes)
    assert_same(table.frontier(), naive_frontier(expected))
    assert_same(table.best(70, 3), [c for c in expected if c.cost <= 70][:3])


def test_fixed_layers_and_absent_mixers() -> None:
    expansion = random_expansion(6, 1, seed=3)
    allowed = ["F", "SG", "FSKG", "K", "FSKG", "SG"]

    def passes(placement: Placement) -> bool:
        return all(letter in layer for letter, layer in zip(placement, allowed, strict=True))

    expected = naive_frontier(enumerate_all(expansion, COSTS, passes))
    assert_same(solve(expansion, COSTS, allowed=allowed).frontier(), expected)
    two = {"F": 4, "G": 1}
    assert_same(solve(expansion, two).frontier(), naive_frontier(enumerate_all(expansion, two)))


def test_equals_mixed_integer_programme() -> None:
    num_layers, budget = 10, 83
    expansion = random_expansion(num_layers, 2, seed=11)
    score, _ = milp_best(expansion, COSTS, budget)
    [best] = solve(expansion, COSTS).best(budget)
    assert best.cost <= budget
    assert best.score == pytest.approx(score, abs=1e-6)
    assert expansion.score([best.placement])[0] == pytest.approx(best.score, abs=1e-9)


def milp_best(expansion: ClusterExpansion, costs: dict[str, int], budget: int) -> tuple[float, int]:
    """The best score under a budget: x[l, m] chooses mixers, y = x x' for each pair, linearised."""
    num_layers = expansion.num_layers
    gains = [*expansion.single.ravel()]
    rows: list[tuple[dict[int, float], float, float]] = []  # coefficients, lower, upper
    for layer in range(num_layers):
        rows.append(({4 * layer + m: 1.0 for m in range(4)}, 1, 1))
    rows.append(
        (
            {4 * layer + m: float(costs[c]) for layer in range(num_layers) for m, c in enumerate(costs)},
            0,
            budget,
        )
    )
    for distance, pair in enumerate(expansion.pairs, start=1):
        for layer in range(num_layers - distance):
            first = len(gains)
            gains.extend(pair[layer].ravel())
            for m in range(4):  # marginals of the pair are the single choices: tight and exact
                rows.append(({**{first + 4 * m + n: 1.0 for n in range(4)}, 4 * layer + m: -1.0}, 0, 0))
                later = 4 * (layer + distance) + m
                rows.append(({**{first + 4 * n + m: 1.0 for n in range(4)}, later: -1.0}, 0, 0))
    matrix = np.zeros((len(rows), len(gains)))
    for index, (coefficients, _, _) in enumerate(rows):
        matrix[index, list(coefficients)] = list(coefficients.values())
    result = milp(
        -np.array(gains),
        constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for *_, high in rows]),
        integrality=np.array([1] * 4 * num_layers + [0] * (len(gains) - 4 * num_layers)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert result.success
    return expansion.constant - result.fun, budget


def test_no_budget_no_placement() -> None:
    table = solve(random_expansion(4, 1, seed=0), COSTS)
    assert table.best(4 * 3 - 1) == []
    assert table.best(-5) == []
    assert [c.placement.letters for c in table.best(4 * 3)] == ["GGGG"]


def test_impossible_constraints_are_refused() -> None:
    expansion = random_expansion(4, 0, seed=0)
    with pytest.raises(PlacementError, match="5 times or never"):
        solve(expansion, COSTS, min_count=5)
    with pytest.raises(PlacementError, match="expected letters"):
        solve(expansion, {"F": 1, "G": 1}, allowed=["FS"] * 4)
    with pytest.raises(PlacementError, match="expected letters"):
        solve(expansion, COSTS, allowed=["F"] * 3)


@given(st.dictionaries(st.sampled_from(MIXERS), st.floats(0.001, 3), min_size=1), st.integers(1, 200))
def test_rounding_up_never_understates(relative: dict[str, float], resolution: int) -> None:
    for letter, cost in integer_costs(relative, resolution).items():
        assert relative[letter] * resolution <= cost + 1e-6
        assert cost < relative[letter] * resolution + 1


def test_whole_costs_stay_whole() -> None:
    assert integer_costs({"F": 1.0, "S": 0.57, "G": 0.29}, 100) == {"F": 100, "S": 57, "G": 29}
