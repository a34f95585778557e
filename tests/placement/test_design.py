from collections import Counter
from math import comb

import numpy as np
import pytest

from derailleur.placement.design import (
    random_placement,
    random_placements,
    single_swaps,
    uniform_placements,
)
from derailleur.placement.placement import Placement

MIXERS = "FSKG"


def test_uniform_and_swaps() -> None:
    assert [p.letters for p in uniform_placements(3, "FSG")] == ["FFF", "SSS", "GGG"]
    assert [p.letters for p in single_swaps(2, "FSG")] == ["SF", "GF", "FS", "FG"]
    assert len(set(single_swaps(8, MIXERS))) == 24


def test_every_composition_is_equally_likely() -> None:
    rng = np.random.default_rng(0)
    draws = 12_000
    seen = Counter("".join(sorted(random_placement(3, MIXERS, rng))) for _ in range(draws))
    assert len(seen) == comb(3 + 3, 3)
    expected = draws / len(seen)
    chi_squared = sum((count - expected) ** 2 / expected for count in seen.values())
    assert chi_squared < 43.8  # 99.9 % of chi-squared with 19 degrees of freedom


def test_layers_are_shuffled() -> None:
    rng = np.random.default_rng(1)
    mixed = [p for p in (random_placement(2, "FG", rng) for _ in range(600)) if len(set(p.letters)) == 2]
    first = Counter(placement[0] for placement in mixed)
    assert abs(first["F"] - first["G"]) < 4 * len(mixed) ** 0.5


def test_random_placements_differ_and_are_seeded() -> None:
    excluded = uniform_placements(8, MIXERS)
    first = random_placements(40, 8, MIXERS, np.random.default_rng(2), exclude=excluded)
    again = random_placements(40, 8, MIXERS, np.random.default_rng(2), exclude=excluded)
    assert first == again
    assert len(set(first) | set(excluded)) == 44


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (13, 12), (1000, 12)])
def test_random_placements_end_when_there_are_no_more(count: int, expected: int) -> None:
    excluded = uniform_placements(2, MIXERS)
    found = random_placements(count, 2, MIXERS, np.random.default_rng(3), exclude=excluded)
    assert len(found) == len(set(found) - set(excluded)) == expected


def test_excluded_placements_of_other_mixers_do_not_count() -> None:
    found = random_placements(
        9, 2, "FG", np.random.default_rng(4), exclude=[Placement("SS"), Placement("FF")]
    )
    assert sorted(p.letters for p in found) == ["FG", "GF", "GG"]
