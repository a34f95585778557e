"""The first task: a shard's fingerprints, hashes of runs of `min_bytes` bytes that winnowing selects."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.arrays import write_arrays
from derailleur.corpus.key_ranges import sort_pairs
from derailleur.corpus.spool import Ragged
from derailleur.corpus.substrings.config import SubstringConfig

POSITION_BITS = np.uint64(32)
"""A place is one number: that of the document, then in so many bits the offset in it."""

# odd, from the golden ratio: the base of the rolling polynomial (Karp and Rabin 1987)
_BASE = np.uint64(0x9E3779B97F4A7C15)
# the finaliser of MurmurHash3 (Appleby): the polynomial's low bits alone know too little of early bytes
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
# odd, so that nothing falls together: what winnowing selects is small, and ranges of keys must be alike full
_SPREAD = np.uint64(0xD6E8FEB86659FD93)


def fingerprint_shard(
    contents: Ragged, is_kept: NDArray[np.bool_], first_document: int, config: SubstringConfig, out: Path
) -> None:
    """Select the fingerprints of a shard's kept documents.

    Args:
        contents: uint8 rows.
        is_kept: [rows] which of them take part.
        first_document: the number of row 0; documents are numbered through all shards, kept or not.
        out: the file to write, of these arrays: `keys` uint64, sorted, the fingerprints; and `places`
            uint64, where each begins; ascending among equal keys.
    """
    keys, places = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for row in np.flatnonzero(is_kept).tolist():
        hashes, positions = winnow(contents[row], config.min_bytes, config.window)
        keys.append(hashes * _SPREAD)
        places.append(np.uint64(first_document + row) << POSITION_BITS | positions)
    sorted_keys, sorted_places = sort_pairs(np.concatenate(keys), np.concatenate(places), 0)
    write_arrays(out, {"keys": sorted_keys, "places": sorted_places})


@compiled
def winnow(
    data: NDArray[np.uint8], min_bytes: int, window: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Select the least hash of every `window` hashes in a row (robust winnowing, section 4.1 of the paper).

    Of equal ones the last is selected, but none anew while the one selected before is still in the
    window: a long blank run has one fingerprint a window, not one a byte.

    Returns:
        hashes of `min_bytes` bytes, and where these begin.
    """
    num_hashes = max(len(data) - min_bytes + 1, 0)
    hashes = np.empty(num_hashes, np.uint64)
    roll(data, min_bytes, hashes)
    selected = np.empty(num_hashes, np.uint64)
    window = max(min(window, num_hashes), 1)  # a document short of a window is one
    count = 0
    least = -1
    for last in range(window - 1, num_hashes):
        if least > last - window:
            if hashes[last] >= hashes[least]:
                continue
            least = last
        else:
            least = last - window + 1
            for index in range(least + 1, last + 1):
                if hashes[index] <= hashes[least]:
                    least = index
        selected[count] = least
        count += 1
    positions = selected[:count].copy()
    keys = np.empty(count, np.uint64)
    for index in range(count):
        keys[index] = hashes[positions[index]]
    return keys, positions


@compiled
def roll(data: NDArray[np.uint8], size: int, hashes: NDArray[np.uint64]) -> None:
    """Fill `hashes` with that of every `size` bytes in a row."""
    power = np.uint64(1)
    for _ in range(size):
        power *= _BASE
    value = np.uint64(0)
    for index in range(len(data)):
        value = value * _BASE + np.uint64(data[index]) + np.uint64(1)
        if index >= size:
            value -= power * (np.uint64(data[index - size]) + np.uint64(1))
        if index >= size - 1:
            mixed = (value ^ (value >> _SHIFT)) * _MIX_1
            mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_2
            hashes[index - size + 1] = mixed ^ (mixed >> _SHIFT)
