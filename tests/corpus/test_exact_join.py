"""The exact join against all pairs."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.near_dedup import exact_join
from derailleur.corpus.spool import Ragged

ELEMENTS = st.integers(0, 25).map(lambda number: number * 0x9E3779B97F4A7C15 % 2**64)


def ragged(sets: list[set[int]]) -> Ragged:
    values = np.array([value for members in sets for value in sorted(members)], np.uint64)
    return Ragged(values, np.cumsum([0, *map(len, sets)]))


@settings(deadline=None)
@given(
    sets=st.lists(st.sets(ELEMENTS, max_size=12), max_size=25),
    threshold=st.sampled_from([0.1, 0.5, 2 / 3, 0.7, 0.85, 1.0]),
    data=st.data(),
)
def test_the_join_finds_every_pair(sets: list[set[int]], threshold: float, data: st.DataObject) -> None:
    queries = None
    wanted = set(range(len(sets)))
    if sets and data.draw(st.booleans()):
        wanted = data.draw(st.sets(st.integers(0, len(sets) - 1)))
        queries = np.array(sorted(wanted), np.int64)
    expected = {}
    for left, right in combinations(range(len(sets)), 2):
        union = sets[left] | sets[right]
        similarity = len(sets[left] & sets[right]) / len(union) if union else 0.0
        if similarity >= threshold and wanted & {left, right}:
            expected[left, right] = similarity
    pairs = exact_join(ragged(sets), threshold, queries)
    found = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.similarities.tolist(), strict=True)
    assert [((left, right), similarity) for left, right, similarity in found] == sorted(expected.items())
