import itertools

import numpy as np

from derailleur.placement.design import propose, quality_design
from derailleur.placement.expansion import ClusterExpansion, with_reference
from derailleur.placement.placement import Placement
from derailleur.placement.search import solve
from derailleur.placement.surrogate import fit_surrogate

MIXERS = "FSKG"
COSTS = {"F": 100, "S": 40, "K": 20, "G": 10}


def truth(num_layers: int) -> ClusterExpansion:
    rng = np.random.default_rng(0)
    single = -np.array([0.05, 0.1, 0.2]) * np.exp(rng.normal(0, 1, size=(num_layers, 3)))
    pairs = 0.05 * rng.normal(size=(num_layers - 1, 3, 3))
    return ClusterExpansion(-1.0, with_reference(single, 1), (with_reference(pairs, 2),))


def test_proposals_are_new_seeded_and_spread_over_costs() -> None:
    expansion = truth(10)
    observed = list(quality_design(10, MIXERS, 30, np.random.default_rng(1)))
    surrogate = fit_surrogate(observed, list(expansion.score(observed)))
    proposals = propose(surrogate, COSTS, 12, np.random.default_rng(2))
    assert proposals == propose(surrogate, COSTS, 12, np.random.default_rng(2))
    assert len(set(proposals) - set(observed)) == len(proposals)
    assert 10 <= len(proposals) <= 12  # the smallest budgets hold few placements, which are known
    costs = [sum(COSTS[letter] for letter in placement) for placement in proposals]
    assert min(costs) < 200 < 500 < max(costs)
    pairs_only = propose(surrogate, COSTS, 12, np.random.default_rng(2), min_count=2)
    assert all(1 not in placement.counts().values() for placement in pairs_only)


def test_active_learning_leads_to_the_frontier() -> None:
    """Regret of the searched optimum, averaged over budgets: less than with as many random placements."""
    expansion = truth(12)
    optimum = solve(expansion, COSTS)
    budgets = range(150, 1200, 50)
    regrets = {}
    for kind in ("random", "active"):
        observed = list(quality_design(12, MIXERS, 64 if kind == "random" else 24, np.random.default_rng(3)))
        for number in range(5 if kind == "active" else 0):
            surrogate = fit_surrogate(observed, list(expansion.score(observed)))
            observed += propose(surrogate, COSTS, 8, np.random.default_rng(number))
        surrogate = fit_surrogate(observed, list(expansion.score(observed)))
        table = solve(surrogate.expansion(), COSTS)
        found = [table.best(budget)[0].placement for budget in budgets]
        best = [optimum.best(budget)[0].score for budget in budgets]
        regrets[kind] = float(np.mean(np.array(best) - expansion.score(found)))
    assert -1e-9 < regrets["active"] < 0.7 * regrets["random"]


def test_nothing_is_proposed_where_all_is_measured() -> None:
    everything = [Placement.of(letters) for letters in itertools.product(MIXERS, repeat=2)]
    surrogate = fit_surrogate(everything, list(truth(2).score(everything)))
    assert propose(surrogate, COSTS, 5, np.random.default_rng(0)) == []
