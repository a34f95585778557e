"""Words -> shingles -> signature -> LSH band keys, compiled over byte buffers without an object per token.

A word is a run of `[A-Za-z0-9_]` and, unless only ASCII counts, of bytes from 0x80 up: a name or a
sentence in any script counts, so that files that differ only in their non-ASCII text are not taken for
copies. A shingle is the 64-bit hash of `shingle_words` words in a row; a document is the set of its
shingles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

_ASCII_WORD = np.array([byte < 0x80 and (chr(byte).isalnum() or byte == ord("_")) for byte in range(256)])
_IS_WORD = {"ascii": _ASCII_WORD, "unicode": _ASCII_WORD | (np.arange(256) >= 0x80)}

# FNV-1a, 64 bit (Fowler, Noll, Vo), for the bytes of a word
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
# the finaliser of MurmurHash3 (Appleby), which spreads every bit over all others
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_HALF = np.uint64(32)
_VALUE_SHIFT = np.uint64(24)  # leaves out the eight highest bits, which choose the slot
_VALUE_MASK = np.uint64(0xFFFFFFFF)
# odd, from the golden ratio: the base of the polynomial that makes a shingle's hash depend on word order
_BASE = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class Hashing:
    """The shape of the sketches and the random numbers behind them.

    Attributes:
        is_word: [256] bool, which bytes make words.
        min_words: documents of fewer words get an empty set.
        multipliers, increments: [slots] uint64, one pair a round of the signature: `a * shingle + b`,
            `a` odd (multiply-shift, Dietzfelbinger et al. 1997).
    """

    is_word: NDArray[np.bool_]
    shingle_words: int
    min_words: int
    num_bands: int
    rows_per_band: int
    multipliers: NDArray[np.uint64]
    increments: NDArray[np.uint64]

    @classmethod
    def seeded(
        cls,
        *,
        shingle_words: int,
        num_bands: int,
        rows_per_band: int,
        seed: int,
        min_words: int = 0,
        word_characters: str = "unicode",
    ) -> "Hashing":
        """Draw the random numbers; the raw PCG64 stream is the same in every version of numpy."""
        num_slots = num_bands * rows_per_band
        raw = np.random.PCG64(seed).random_raw(2 * num_slots).astype(np.uint64)
        return cls(
            is_word=_IS_WORD[word_characters],
            shingle_words=shingle_words,
            min_words=min_words,
            num_bands=num_bands,
            rows_per_band=rows_per_band,
            multipliers=raw[:num_slots] | np.uint64(1),
            increments=raw[num_slots:],
        )


@dataclass(frozen=True)
class Sketches:
    """What near-dedup knows of some documents.

    Attributes:
        shingles: [total] uint64, every document's sorted shingle set, one after another.
        sizes: [documents] int64, 0 for a document too short to be compared.
        band_keys: [documents, bands] uint64, meaningless where the size is 0; documents that share one
            are candidates. A key stands for its band too: no two bands share any.
    """

    shingles: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    band_keys: NDArray[np.uint64]


def sketch(
    values: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64], hashing: Hashing
) -> Sketches:
    """Sketch the documents `values[starts[i] : stops[i]]`, UTF-8."""
    # a word needs a byte and a separator, so this many words is the most there can be
    shingles = np.empty(np.sum(stops - starts + 1) // 2 + 1, np.uint64)
    sizes = np.empty(len(starts), np.int64)
    band_keys = np.empty((len(starts), hashing.num_bands), np.uint64)
    total = sketch_rows(
        values,
        starts,
        stops,
        hashing.is_word,
        hashing.shingle_words,
        hashing.min_words,
        hashing.multipliers,
        hashing.increments,
        hashing.rows_per_band,
        shingles,
        sizes,
        band_keys,
    )
    return Sketches(shingles[:total].copy(), sizes, band_keys)  # a copy: the room was for much more


@compiled
def sketch_rows(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    is_word: NDArray[np.bool_],
    shingle_words: int,
    min_words: int,
    multipliers: NDArray[np.uint64],
    increments: NDArray[np.uint64],
    rows_per_band: int,
    shingles: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    band_keys: NDArray[np.uint64],
) -> int:
    """Sketch rows of `data`; fills `shingles`, `sizes` and `band_keys`, returns the number of shingles."""
    total = 0
    signature = np.empty(len(multipliers), np.uint64)
    scratch = np.empty(0, np.uint64)
    for row in range(len(sizes)):
        rest = shingles[total:]
        num_words = hash_words(data[starts[row] : stops[row]], is_word, rest)
        size = 0
        if num_words >= min_words:
            found = hash_shingles(rest, num_words, shingle_words)
            if len(found) > len(scratch):
                scratch = np.empty(2 * len(found), np.uint64)
            size = sorted_unique(found, scratch)
        if size:
            sign(rest[:size], multipliers, increments, signature)
            hash_bands(signature, rows_per_band, band_keys[row])
        sizes[row] = size
        total += size
    return total


@compiled
def hash_words(text: NDArray[np.uint8], is_word: NDArray[np.bool_], words: NDArray[np.uint64]) -> int:
    """Write the 64-bit hash of each word of `text` to `words`; returns their number.

    Without a branch: where a word ends is the one thing in code that a processor cannot foresee.
    """
    num_words = 0
    value = _FNV_OFFSET
    inside = False
    for byte in text:
        belongs = is_word[byte]
        words[num_words] = value  # kept only if the word ends here
        num_words += inside & (not belongs)
        value = (value ^ np.uint64(byte)) * _FNV_PRIME if belongs else _FNV_OFFSET
        inside = belongs
    if inside:
        words[num_words] = value
        num_words += 1
    return num_words


@compiled
def hash_shingles(words: NDArray[np.uint64], num_words: int, shingle_words: int) -> NDArray[np.uint64]:
    """Replace word hashes by shingle hashes in place; returns the part that holds them."""
    num_shingles = max(num_words - shingle_words + 1, 0)
    for first in range(num_shingles):
        value = np.uint64(0)
        for word in range(first, first + shingle_words):
            value = value * _BASE + words[word]
        words[first] = mix(value)  # no later shingle needs this word
    return words[:num_shingles]


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Spread a 64-bit value over all its bits."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)


@compiled
def sorted_unique(values: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> int:
    """Sort in place and move the distinct values to the front; returns their number.

    Hashes are spread evenly, so their highest bits alone put each almost where it belongs, and a last
    insertion sort moves hardly anything: linear, where comparing would cost n log n.

    Args:
        scratch: at least as long as `values`.
    """
    bits = 1
    while (1 << bits) < len(values):
        bits += 1
    shift = np.uint64(64 - bits)
    ends = np.zeros((1 << bits) + 1, np.int32)
    for value in values:
        ends[(value >> shift) + np.uint64(1)] += 1
    for bucket in range(1, len(ends)):
        ends[bucket] += ends[bucket - 1]
    for value in values:
        bucket = value >> shift
        scratch[ends[bucket]] = value
        ends[bucket] += 1
    size = 0
    for position in range(len(values)):
        value = scratch[position]
        place = size
        while place > 0 and values[place - 1] > value:
            place -= 1
        if place > 0 and values[place - 1] == value:
            continue
        for moved in range(size, place, -1):
            values[moved] = values[moved - 1]
        values[place] = value
        size += 1
    return size


@compiled
def sign(
    shingles: NDArray[np.uint64],
    multipliers: NDArray[np.uint64],
    increments: NDArray[np.uint64],
    signature: NDArray[np.uint64],
) -> None:
    """Fill `signature` with a Fast Similarity Sketch (Dahlgaard, Knudsen and Thorup 2017, algorithm 1).

    Slots of two sets agree with a probability of their Jaccard similarity, as with as many MinHash
    permutations. In a round every shingle is thrown into one slot, which keeps the least; a value of an
    earlier round is less than any of a later one. The slots of a set of n are full after about
    t ln(t) / n rounds; what is left after t rounds gets the least shingle of a round of its own.
    """
    num_slots = len(signature)
    signature[:] = _EMPTY
    num_empty = num_slots
    for turn in range(2 * num_slots):
        this = turn % num_slots
        for shingle in shingles:
            hashed = multipliers[this] * shingle + increments[this]
            slot = np.int64(((hashed >> _HALF) * np.uint64(num_slots)) >> _HALF) if turn < num_slots else this
            value = (np.uint64(turn) << _HALF) | ((hashed >> _VALUE_SHIFT) & _VALUE_MASK)
            num_empty -= signature[slot] == _EMPTY
            signature[slot] = min(signature[slot], value)
        if num_empty == 0:
            break


@compiled
def hash_bands(signature: NDArray[np.uint64], rows_per_band: int, band_keys: NDArray[np.uint64]) -> None:
    """Fill `band_keys` with one 64-bit key per band of `rows_per_band` slots."""
    for band in range(len(band_keys)):
        value = np.uint64(band)
        for row in range(band * rows_per_band, (band + 1) * rows_per_band):
            value = mix(value ^ signature[row]) + _BASE
        band_keys[band] = value
