"""Near-dedup against an exact join of all pairs, on corpora with planted near-duplicates."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.near_dedup import NearDedupConfig, NearDuplicates, near_duplicates
from derailleur.corpus.near_dedup.walk import jaccard
from derailleur.corpus.spool import Ragged

CONFIG = NearDedupConfig()


def ragged(contents: list[str]) -> Ragged:
    encoded = [content.encode() for content in contents]
    return Ragged(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]))


def deduplicate(contents: list[str], folder: Path, **keys: int) -> NearDuplicates:
    return near_duplicates(ragged(contents), CONFIG.model_copy(update=keys), folder)


def shingle_set(content: str) -> set[tuple[str, ...]]:
    words = content.split()
    return {tuple(words[first : first + 5]) for first in range(len(words) - 4)}


def similarity(left: set, right: set) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def corpus(seed: int, *, num_families: int = 60) -> list[str]:
    """Families of texts that differ in 0 to 4 % of their words; some with a licence in front."""
    generator = np.random.default_rng(seed)
    licence = " ".join(f"licence{n}" for n in range(40))
    texts = []
    for family in range(num_families):
        base = [f"w{n}" for n in generator.integers(0, 500, generator.integers(5, 300))]
        for _ in range(generator.integers(1, 14)):
            words = list(base)
            for position in np.flatnonzero(generator.random(len(words)) < generator.uniform(0, 0.04)):
                words[position] = f"x{generator.integers(10**6)}"
            texts.append((licence + " " if family % 4 == 0 else "") + " ".join(words))
    generator.shuffle(texts)
    return list(dict.fromkeys(texts))


@pytest.mark.parametrize("seed", range(3))
def test_against_the_exact_join_of_all_pairs(seed: int, tmp_path: Path) -> None:
    texts = corpus(seed)
    result = deduplicate(texts, tmp_path)
    sets = [shingle_set(text) for text in texts]
    kept = [index for index in range(len(texts)) if result.is_kept(index)]
    similar = [(a, b) for a, b in combinations(range(len(texts)), 2) if similarity(sets[a], sets[b]) >= 0.7]
    assert len(similar) > 300, "the corpus tests something"
    missed = [pair for pair in similar if pair[0] in kept and pair[1] in kept]
    assert len(missed) <= 0.01 * len(similar)
    for index in set(range(len(texts))) - set(kept):
        survivor = int(result.survivors[index])
        assert result.is_kept(survivor)
        assert survivor < index, "the better rank survives"
        assert result.similarities[index] == similarity(sets[index], sets[survivor]) >= 0.7
    assert all(result.similarities[index] == 1 for index in kept)
    assert len(kept) < 0.8 * len(texts)


def test_a_chain_does_not_pull_in_what_is_unlike_the_survivor(tmp_path: Path) -> None:
    """b resembles a, c resembles b, c does not resemble a: only b goes."""
    words = [f"w{n}" for n in range(400)]
    a, b, c = words[:340], words[30:370], words[60:400]
    sets = [shingle_set(" ".join(text)) for text in (a, b, c)]
    assert similarity(sets[0], sets[1]) > 0.7 < similarity(sets[1], sets[2])
    assert similarity(sets[0], sets[2]) < 0.7
    result = deduplicate([" ".join(text) for text in (a, b, c)], tmp_path)
    assert result.survivors.tolist() == [0, 0, 2]


def test_of_several_survivors_the_best_ranked_is_named(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(400)]
    a, c, b = words[:340], words[60:400], words[30:370]
    result = deduplicate([" ".join(text) for text in (a, c, b)], tmp_path)
    assert result.survivors.tolist() == [0, 1, 0]


def test_texts_too_short_for_a_shingle_are_all_kept(tmp_path: Path) -> None:
    result = deduplicate(["a b c d", "a b c d .", "", "a b c d e", "a b c d e !"], tmp_path)
    assert result.survivors.tolist() == [0, 1, 2, 3, 3]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    assert len(deduplicate([], tmp_path).survivors) == 0
    assert deduplicate(["", "a"], tmp_path).survivors.tolist() == [0, 1]


def test_thousands_of_copies_cost_one_comparison_each(tmp_path: Path) -> None:
    base = [f"w{n}" for n in range(200)]
    copies = [" ".join([*base, f"year{number}"]) for number in range(3000)]
    result = deduplicate(copies, tmp_path)
    assert not result.survivors.any()
    assert result.num_verified == len(copies) - 1


@given(
    left=st.sets(st.integers(0, 30), max_size=20),
    right=st.sets(st.integers(0, 30), max_size=20),
    threshold=st.sampled_from([0.1, 0.5, 0.7, 1.0]),
)
def test_jaccard_is_exact_from_the_threshold_on(left: set[int], right: set[int], threshold: float) -> None:
    exact = similarity(left, right)
    got = jaccard(np.array(sorted(left), np.uint64), np.array(sorted(right), np.uint64), threshold)
    assert got == exact if exact >= threshold else got < threshold
