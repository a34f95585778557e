"""Which placements are measured: the experimental design, seeded and free of any model.

Quality: all uniform placements, every swap of one layer of all-FA, and random ones whose *composition* is
uniform (stars and bars, then a shuffle), so that extremes are as common as even mixtures. Speed: the
uniform ones fix every mixer's cost; a few mixed ones test that costs add up, some of them held out.
"""

from collections.abc import Collection, Sequence

import numpy as np

from derailleur.placement.placement import Placement


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
