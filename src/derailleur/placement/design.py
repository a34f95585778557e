"""Which placements are measured: the experimental design, seeded and free of any model.

Quality: all uniform placements, every swap of one layer of all-FA, and random ones whose *composition* is
uniform (stars and bars, then a shuffle), so that extremes are as common as even mixtures. Speed: the
uniform ones fix every mixer's cost; a few mixed ones test that costs add up, some of them held out.
Then come rounds of active learning, which look where the frontier may be.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from derailleur.placement.placement import Placement
from derailleur.placement.search import solve
from derailleur.placement.surrogate import Surrogate

_RUNNERS_UP = 4
"""How many of a sample's best are looked at for one that was not measured yet."""


def uniform_placements(num_layers: int, mixers: Sequence[str]) -> list[Placement]:
    """The same mixer in every layer, one placement per mixer."""
    return [Placement.uniform(letter, num_layers) for letter in mixers]


def single_swaps(num_layers: int, mixers: Sequence[str]) -> list[Placement]:
    """All-FA with one layer changed, for every layer and other mixer."""
    full = "F" * num_layers
    return [
        Placement(full[:layer] + letter + full[layer + 1 :])
        for layer in range(num_layers)
        for letter in mixers
        if letter != "F"
    ]


def random_placement(num_layers: int, mixers: Sequence[str], rng: np.random.Generator) -> Placement:
    """One placement whose composition is uniform over all compositions, its layers shuffled.

    Stars and bars: `mixers - 1` bars among `num_layers + mixers - 1` places part the layers.
    """
    places = num_layers + len(mixers) - 1
    bars = np.sort(rng.choice(places, len(mixers) - 1, replace=False))
    counts = np.diff([-1, *bars, places]) - 1
    return Placement.of(rng.permutation(np.repeat(list(mixers), counts)))


def random_placements(
    count: int,
    num_layers: int,
    mixers: Sequence[str],
    rng: np.random.Generator,
    *,
    exclude: Collection[Placement] = (),
) -> list[Placement]:
    """Different random placements outside `exclude`; fewer than `count` where there are no more."""
    known = set(exclude)
    available = len(mixers) ** num_layers - sum(set(p.letters) <= set(mixers) for p in known)
    found: list[Placement] = []
    while len(found) < min(count, available):
        placement = random_placement(num_layers, mixers, rng)
        if placement not in known:
            known.add(placement)
            found.append(placement)
    return found


def quality_design(
    num_layers: int, mixers: Sequence[str], num_random: int, rng: np.random.Generator
) -> dict[Placement, str]:
    """The placements whose quality is measured before any surrogate is there, each with its origin."""
    design = dict.fromkeys(uniform_placements(num_layers, mixers), "uniform")
    for placement in single_swaps(num_layers, mixers):
        design.setdefault(placement, "swap")
    mixed = random_placements(num_random, num_layers, mixers, rng, exclude=design)
    return design | dict.fromkeys(mixed, "random")


def timing_design(
    num_layers: int, mixers: Sequence[str], num_mixed: int, num_heldout: int, rng: np.random.Generator
) -> dict[Placement, str]:
    """The placements that are timed, each with its use: `fit` the cost model, or `heldout` to judge it."""
    uniform = uniform_placements(num_layers, mixers)
    mixed = random_placements(num_mixed + num_heldout, num_layers, mixers, rng, exclude=uniform)
    uses = ["fit"] * (len(uniform) + num_mixed) + ["heldout"] * num_heldout
    return dict(zip([*uniform, *mixed], uses, strict=False))


def propose(
    surrogate: Surrogate,
    costs: Mapping[str, int],
    count: int,
    rng: np.random.Generator,
    *,
    min_count: int = 1,
) -> list[Placement]:
    """Placements worth measuring next: winners of Thompson samples, at budgets spread over all speeds.

    Each sample of the posterior is searched exactly; its best placement that was not measured yet is
    proposed. What may be on the frontier is thus proposed as often as it is likely to be on it.
    """
    lowest, highest = (np.log(f(costs.values()) * surrogate.num_layers) for f in (min, max))
    known = set(surrogate.placements)
    proposals: list[Placement] = []
    for stratum in range(count):
        budget = np.exp(lowest + (highest - lowest) * (stratum + rng.random()) / count)
        table = solve(surrogate.sample(rng), costs, keep=_RUNNERS_UP, min_count=min_count)
        fresh = [c.placement for c in table.best(int(budget), _RUNNERS_UP) if c.placement not in known]
        known.update(fresh[:1])
        proposals.extend(fresh[:1])
    return proposals
