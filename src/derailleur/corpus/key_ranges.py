"""Keys that are hashes: parted into ranges that are alike full, and sorted with what belongs to each."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

Value = TypeVar("Value", bound=np.integer)


def num_ranges(num_bytes: int, range_bytes: int) -> int:
    """How many ranges to part so much into, a power of two, so that one takes at most `range_bytes`."""
    return 1 << max(-(-num_bytes // range_bytes) - 1, 0).bit_length()


def key_range(keys: NDArray[np.uint64], number: int, *, num_ranges: int) -> slice:
    """Where in sorted keys those of one range are."""
    width = (1 << 64) // num_ranges
    first, last = np.uint64(number * width), np.uint64((number + 1) * width - 1)
    return slice(np.searchsorted(keys, first, side="left"), np.searchsorted(keys, last, side="right"))


@compiled
def sort_pairs(
    keys: NDArray[np.uint64], values: NDArray[Value], fixed_bits: int
) -> tuple[NDArray[np.uint64], NDArray[Value]]:
    """Sort pairs by key; pairs of one key keep their order.

    Hashes are spread evenly, so their highest bits alone put each almost where it belongs, and a last
    insertion sort moves hardly anything.

    Args:
        fixed_bits: so many of the highest bits are the same in all keys.
    """
    bits = 1
    while (1 << bits) < len(keys):
        bits += 1
    left, right = np.uint64(fixed_bits), np.uint64(64 - bits)
    ends = np.zeros((1 << bits) + 1, np.int64)
    for key in keys:
        ends[((key << left) >> right) + np.uint64(1)] += 1
    for bucket in range(1, len(ends)):
        ends[bucket] += ends[bucket - 1]
    sorted_keys, sorted_values = np.empty_like(keys), np.empty_like(values)
    for index in range(len(keys)):
        bucket = (keys[index] << left) >> right
        sorted_keys[ends[bucket]] = keys[index]
        sorted_values[ends[bucket]] = values[index]
        ends[bucket] += 1
    for index in range(1, len(keys)):
        key, value = sorted_keys[index], sorted_values[index]
        place = index
        while place > 0 and sorted_keys[place - 1] > key:
            sorted_keys[place] = sorted_keys[place - 1]
            sorted_values[place] = sorted_values[place - 1]
            place -= 1
        sorted_keys[place] = key
        sorted_values[place] = value
    return sorted_keys, sorted_values
