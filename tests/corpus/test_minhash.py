"""The compiled sketches against plain Python, and their estimate against the true similarity."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus import minhash as kernels
from derailleur.corpus.minhash import Hashing, Sketches, sketch

MASK = 2**64 - 1
HASHING = Hashing.seeded(shingle_words=5, num_bands=42, rows_per_band=6, seed=0)


def words_twin(content: bytes) -> list[int]:
    words = []
    for word in re.findall(rb"[A-Za-z0-9_\x80-\xff]+", content):
        value = 0xCBF29CE484222325
        for byte in word:
            value = (value ^ byte) * 0x100000001B3 & MASK
        words.append(value)
    return words


def mix_twin(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def shingles_twin(content: bytes, size: int) -> list[int]:
    words = words_twin(content)
    shingles = set()
    for first in range(len(words) - size + 1):
        value = 0
        for word in words[first : first + size]:
            value = (value * 0x9E3779B97F4A7C15 + word) & MASK
        shingles.add(mix_twin(value))
    return sorted(shingles)


def signature_twin(shingles: list[int], hashing: Hashing) -> list[tuple[int, int]]:
    """(round, value) of every slot: rounds go on until no slot is empty."""
    num_slots = len(hashing.multipliers)
    slots: dict[int, tuple[int, int]] = {}
    for turn in range(2 * num_slots):
        a, b = int(hashing.multipliers[turn % num_slots]), int(hashing.increments[turn % num_slots])
        for shingle in shingles:
            hashed = (a * shingle + b) & MASK
            slot = (hashed >> 32) * num_slots >> 32 if turn < num_slots else turn - num_slots
            value = (turn, hashed >> 24 & 0xFFFFFFFF)
            slots[slot] = min(slots.get(slot, value), value)
        if len(slots) == num_slots:
            break
    return [slots[slot] for slot in range(num_slots)]


def bands_twin(shingles: list[int], hashing: Hashing) -> list[int]:
    signature = signature_twin(shingles, hashing)
    keys = []
    for band in range(hashing.num_bands):
        value = band
        for turn, least in signature[band * hashing.rows_per_band :][: hashing.rows_per_band]:
            value = (mix_twin(value ^ (turn << 32 | least)) + 0x9E3779B97F4A7C15) & MASK
        keys.append(value)
    return keys


def sketched(contents: list[bytes], hashing: Hashing) -> tuple[Sketches, list[list[int]]]:
    """The sketches, and each document's set."""
    offsets = np.cumsum([0, *map(len, contents)])
    result = sketch(np.frombuffer(b"".join(contents), np.uint8), offsets[:-1], offsets[1:], hashing)
    return result, [part.tolist() for part in np.split(result.shingles, np.cumsum(result.sizes)[:-1])]


CODE = st.text(st.sampled_from("ab_1 .(\n\té漢\0"), max_size=60).map(str.encode)


@settings(deadline=None, max_examples=60)
@given(
    contents=st.lists(CODE, min_size=1, max_size=4),
    size=st.integers(1, 6),
    min_words=st.integers(0, 8),
    seed=st.integers(0, 3),
)
def test_sketches_equal_plain_python(contents: list[bytes], size: int, min_words: int, seed: int) -> None:
    hashing = Hashing.seeded(shingle_words=size, num_bands=3, rows_per_band=2, seed=seed, min_words=min_words)
    result, sets = sketched(contents, hashing)
    for row, content in enumerate(contents):
        long_enough = len(words_twin(content)) >= min_words
        expected = shingles_twin(content, size) if long_enough else []
        assert sets[row] == expected
        if expected:
            assert result.band_keys[row].tolist() == bands_twin(expected, hashing)


def test_words_at_the_edges() -> None:
    """A document's words neither touch its neighbours' nor fall off its end."""
    contents = [b"a b c d e", b"f", b"", b"\n", b"g h i j k "]
    _, sets = sketched(contents, HASHING)
    assert sets == [shingles_twin(contents[0], 5), [], [], [], shingles_twin(contents[4], 5)]


def test_the_order_of_words_counts() -> None:
    _, sets = sketched([b"a b c d e", b"b a c d e"], HASHING)
    assert sets[0] != sets[1]


def test_non_ascii_words_count_unless_only_ascii_does() -> None:
    contents = ["eins zwei drei vier fünf".encode(), b"eins zwei drei vier f nf"]
    _, sets = sketched(contents, HASHING)
    assert set(sets[0]).isdisjoint(sets[1])
    ascii_only = Hashing.seeded(
        shingle_words=5, num_bands=1, rows_per_band=1, seed=0, word_characters="ascii"
    )
    _, sets = sketched(contents, ascii_only)
    assert sets[0] == sets[1]


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63, 2**64 - 1]), max_size=200))
def test_sorting_hashes(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    size = kernels.sorted_unique(array, np.empty_like(array))
    assert array[:size].tolist() == sorted(set(values))


@settings(deadline=None, max_examples=25)
@given(
    shared=st.integers(0, 300),
    only_left=st.integers(0, 300),
    only_right=st.integers(0, 300),
    seed=st.integers(0, 99),
)
def test_the_estimate_is_close_to_the_similarity(
    shared: int, only_left: int, only_right: int, seed: int
) -> None:
    total = shared + only_left + only_right
    if not (shared + only_left and shared + only_right):
        return
    values = np.random.default_rng(seed).integers(0, 2**63, total).astype(np.uint64)
    signatures = []
    for members in (values[: shared + only_left], np.r_[values[:shared], values[shared + only_left :]]):
        signature = np.empty(len(HASHING.multipliers), np.uint64)
        kernels.sign(members, HASHING.multipliers, HASHING.increments, signature)
        signatures.append(signature)
    similarity = shared / total
    deviation = np.sqrt(similarity * (1 - similarity) / 252)
    assert abs(np.mean(signatures[0] == signatures[1]) - similarity) <= 5 * deviation + 1e-9


def test_candidates_are_as_likely_as_the_formula_says() -> None:
    """A share of 1 - (1 - s^6)^42 of the pairs of similarity s meets in a band."""
    generator = np.random.default_rng(0)
    for similarity in (0.3, 0.5, 0.7):
        size = 200
        shared = round(2 * size * similarity / (1 + similarity))
        met = 0
        for _ in range(300):
            values = generator.integers(0, 2**63, 2 * size - shared).astype(np.uint64)
            keys = []
            for members in (values[:size], values[size - shared :]):
                signature = np.empty(252, np.uint64)
                kernels.sign(members, HASHING.multipliers, HASHING.increments, signature)
                keys.append(np.empty(42, np.uint64))
                kernels.hash_bands(signature, 6, keys[-1])
            met += bool(np.any(keys[0] == keys[1]))
        true_similarity = shared / (2 * size - shared)
        expected = 1 - (1 - true_similarity**6) ** 42
        assert abs(met / 300 - expected) < 5 * np.sqrt(expected * (1 - expected) / 300) + 0.01


def test_permutations_are_the_same_everywhere() -> None:
    """Pinned: a change would silently change which files are kept."""
    hashing = Hashing.seeded(shingle_words=5, num_bands=2, rows_per_band=3, seed=0)
    assert all(int(a) % 2 == 1 for a in hashing.multipliers)
    assert [hex(int(a)) for a in hashing.multipliers[:2]] == ["0xa30febcfd9c2825f", "0x4510bdf882d9d721"]
