import itertools

import numpy as np
import pytest

from derailleur.errors import PlacementError
from derailleur.placement.expansion import ClusterExpansion, indicators, pair_indicators, with_reference
from derailleur.placement.placement import MIXERS, Placement


def naive_score(expansion: ClusterExpansion, placement: Placement) -> float:
    codes = [MIXERS.index(letter) for letter in placement]
    total = expansion.constant + sum(expansion.single[layer, code] for layer, code in enumerate(codes))
    for distance, pair in enumerate(expansion.pairs, start=1):
        for layer in range(len(codes) - distance):
            total += pair[layer, codes[layer], codes[layer + distance]]
    return total


@pytest.mark.parametrize("max_range", range(4))
def test_score_is_the_sum_of_its_terms(max_range: int) -> None:
    rng = np.random.default_rng(max_range)
    expansion = ClusterExpansion(
        -1.5,
        rng.normal(size=(5, len(MIXERS))),
        tuple(
            rng.normal(size=(5 - distance, len(MIXERS), len(MIXERS))) for distance in range(1, max_range + 1)
        ),
    )
    placements = [Placement.of(rng.choice(list(MIXERS), 5)) for _ in range(20)]
    expected = [naive_score(expansion, placement) for placement in placements]
    np.testing.assert_allclose(expansion.score(placements), expected, atol=1e-12)
    assert (expansion.num_layers, expansion.range) == (5, max_range)


def test_full_attention_is_the_reference() -> None:
    single = indicators([Placement("FFF"), Placement("FSG")], 3)
    assert single[0].sum() == 0
    assert [tuple(np.argwhere(single[1])[i]) for i in range(2)] == [(1, 0), (2, 2)]
    pairs = pair_indicators(single, 1)
    assert pairs[0].sum() == 0
    assert np.argwhere(pairs[1]).tolist() == [[1, 0, 2]]


def test_with_reference_puts_zeros_in_front_of_mixer_axes() -> None:
    padded = with_reference(np.ones((2, 3, 3)), 2)
    assert padded.shape == (2, 4, 4)
    for layer, first, second in itertools.product(range(2), range(4), range(4)):
        assert padded[layer, first, second] == float(first > 0 and second > 0)


def test_the_number_of_layers_is_checked() -> None:
    with pytest.raises(PlacementError, match="'FF': expected 3 layers"):
        indicators([Placement("FFF"), Placement("FF")], 3)
