"""Words -> shingles -> MinHash -> LSH bands, compiled over byte buffers without an object per token.

A word is a run of `[A-Za-z0-9_]` and of bytes from 0x80 up: a name or a sentence in any script counts,
so that files that differ only in their non-ASCII text are not taken for copies. A shingle is the 64-bit
hash of `shingle_words` words in a row; a document is the set of its shingles.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.parallel import ordered_map
from derailleur.corpus.spool import Ragged, Spool
from derailleur.io import Progress

_CHUNK_BYTES = 4 << 20

_IS_WORD = np.array([chr(b).isalnum() or b == ord("_") if b < 0x80 else True for b in range(256)])

# FNV-1a, 64 bit (Fowler, Noll, Vo), for the bytes of a word
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
# the finaliser of MurmurHash3 (Appleby), which spreads every bit over all others
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_HALF = np.uint64(32)
# odd, from the golden ratio: the base of the polynomial that makes a shingle's hash depend on word order
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sketches:
    """What near-dedup knows of the documents.

    Attributes:
        shingles: [total] uint64, every document's sorted shingle set, memory-mapped.
        starts, stops: [documents] int64, where each set lies in `shingles`.
        band_keys: [documents, bands] uint64; equal keys in a band make two documents candidates.
    """

    shingles: NDArray[np.uint64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    band_keys: NDArray[np.uint64]

    def take(self, order: NDArray[np.int64]) -> "Sketches":
        """The same documents in another order."""
        return Sketches(self.shingles, self.starts[order], self.stops[order], self.band_keys[order])


@dataclass(frozen=True)
class Hashing:
    """The shape of the sketches and the random numbers behind them.

    Attributes:
        multipliers, increments: [permutations] uint64, of `(a * shingle + b) >> 32`, `a` odd
            (multiply-shift, Dietzfelbinger et al. 1997).
    """

    shingle_words: int
    num_bands: int
    rows_per_band: int
    multipliers: NDArray[np.uint64]
    increments: NDArray[np.uint64]

    @classmethod
    def seeded(cls, *, shingle_words: int, num_bands: int, rows_per_band: int, seed: int) -> "Hashing":
        """Draw the permutations; the raw PCG64 stream is the same in every version of numpy."""
        num_permutations = num_bands * rows_per_band
        raw = np.random.PCG64(seed).random_raw(2 * num_permutations).astype(np.uint64)
        multipliers, increments = raw[:num_permutations] | np.uint64(1), raw[num_permutations:]
        return cls(shingle_words, num_bands, rows_per_band, multipliers, increments)


def sketch(
    contents: Ragged, hashing: Hashing, scratch: Path, *, num_threads: int, progress: Progress
) -> Sketches:
    """Sketch every document.

    Args:
        contents: uint8 rows, UTF-8.
        scratch: a folder for the shingle sets.
    """
    band_keys = np.empty((len(contents), hashing.num_bands), np.uint64)
    with Spool(scratch / "shingles", np.uint64) as spool:
        chunks = ordered_map(
            lambda rows: _sketch_rows(contents, rows, hashing, band_keys),
            _chunks(contents.offsets),
            num_threads=num_threads,
        )
        done = 0
        for shingles, sizes in chunks:
            spool.extend(shingles, sizes)
            done += len(sizes)
            progress("near-dedup: sketch", done, len(contents))
        sets = spool.finish()
    return Sketches(sets.values, sets.offsets[:-1], sets.offsets[1:], band_keys)


def _chunks(offsets: NDArray[np.int64]) -> Iterator[range]:
    """Runs of rows of about `_CHUNK_BYTES`, at least one row each."""
    begin = 0
    while begin < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[begin] + _CHUNK_BYTES, side="right")) - 1
        end = max(end, begin + 1)
        yield range(begin, end)
        begin = end


def _sketch_rows(
    contents: Ragged, rows: range, hashing: Hashing, band_keys: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    offsets = contents.offsets[rows.start : rows.stop + 1]
    # a word needs a byte and a separator, so this many shingles is the most there can be
    shingles = np.empty((offsets[-1] - offsets[0] + len(rows)) // 2 + 1, np.uint64)
    sizes = np.empty(len(rows), np.int64)
    total = sketch_rows(
        contents.values,
        offsets,
        hashing.shingle_words,
        hashing.multipliers,
        hashing.increments,
        hashing.rows_per_band,
        shingles,
        sizes,
        band_keys[rows.start : rows.stop],
    )
    return shingles[:total], sizes


@compiled
def sketch_rows(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    shingle_words: int,
    multipliers: NDArray[np.uint64],
    increments: NDArray[np.uint64],
    rows_per_band: int,
    shingles: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    band_keys: NDArray[np.uint64],
) -> int:
    """Sketch rows of `data`; fills `shingles`, `sizes` and `band_keys`, returns the number of shingles."""
    total = 0
    signature = np.empty(len(multipliers), np.uint32)
    for row in range(len(sizes)):
        rest = shingles[total:]
        num_words = hash_words(data, offsets[row], offsets[row + 1], rest)
        size = sorted_unique(hash_shingles(rest, num_words, shingle_words))
        minhash(rest[:size], multipliers, increments, signature)
        hash_bands(signature, rows_per_band, band_keys[row])
        sizes[row] = size
        total += size
    return total


@compiled
def hash_words(data: NDArray[np.uint8], start: int, stop: int, words: NDArray[np.uint64]) -> int:
    """Write the 64-bit hash of each word of `data[start:stop]` to `words`; returns their number."""
    num_words = 0
    value = _FNV_OFFSET
    inside = False
    for position in range(start, stop):
        byte = data[position]
        if _IS_WORD[byte]:
            value = (value ^ np.uint64(byte)) * _FNV_PRIME
            inside = True
        elif inside:
            words[num_words] = value
            num_words += 1
            value = _FNV_OFFSET
            inside = False
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
def sorted_unique(values: NDArray[np.uint64]) -> int:
    """Sort in place and move the distinct values to the front; returns their number."""
    values.sort()
    size = 0
    for position in range(len(values)):
        if position == 0 or values[position] != values[position - 1]:
            values[size] = values[position]
            size += 1
    return size


@compiled
def minhash(
    shingles: NDArray[np.uint64],
    multipliers: NDArray[np.uint64],
    increments: NDArray[np.uint64],
    signature: NDArray[np.uint32],
) -> None:
    """Fill `signature` with the least value of each permutation over the set (Broder 1997)."""
    signature[:] = np.uint32(0xFFFFFFFF)
    for shingle in shingles:
        for index in range(len(signature)):
            value = np.uint32((multipliers[index] * shingle + increments[index]) >> _HALF)
            signature[index] = min(signature[index], value)


@compiled
def hash_bands(signature: NDArray[np.uint32], rows_per_band: int, band_keys: NDArray[np.uint64]) -> None:
    """Fill `band_keys` with one 64-bit key per band of `rows_per_band` signature values."""
    for band in range(len(band_keys)):
        value = np.uint64(0)
        for row in range(band * rows_per_band, (band + 1) * rows_per_band):
            value = mix(value ^ np.uint64(signature[row])) + _BASE
        band_keys[band] = value
