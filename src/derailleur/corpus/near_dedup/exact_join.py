"""All pairs of documents that are alike, without a chance of missing one: what near-dedup is audited by.

Prefix filter (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007): with the elements of all
sets in one order, two sets of Jaccard similarity t or more share one among the first n - ceil(t n) + 1
elements of each. Rare elements come first, so that few other sets have them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.near_dedup.walk import similarities_of
from derailleur.corpus.spool import Ragged

_COUNTERS = 1 << 22
_CHUNK_ROWS = 1024
_HASH_BITS = np.uint64(40)
_HASH_MASK = np.uint64((1 << 40) - 1)


@dataclass(frozen=True)
class SimilarPairs:
    """Pairs of documents, sorted, `left < right`.

    Attributes:
        left, right: [pairs] int64, rows of the sets.
        similarities: [pairs] float64, exact.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarities: NDArray[np.float64]


def exact_join(sets: Ragged, threshold: float, queries: NDArray[np.int64] | None = None) -> SimilarPairs:
    """Find every pair of sets whose Jaccard similarity reaches a threshold.

    Memory: about 8 + 16 (1 - threshold) bytes an element of the sets that are queries.

    Args:
        sets: rows of distinct uint64, each sorted.
        queries: the rows of which all neighbours are wanted; None means all.
    """
    if queries is None:
        queries = np.arange(len(sets))
    queries = np.unique(queries)
    sizes = np.diff(sets.offsets).astype(np.int32)
    addresses = sets.values.ctypes.data + 8 * sets.offsets[:-1]
    frequencies = count_elements(sets.values, _COUNTERS)
    keys, owners = _index(sets, queries, frequencies, threshold)
    is_query = np.zeros(len(sets), np.bool_)
    is_query[queries] = True
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for first in range(0, len(sets), _CHUNK_ROWS):
        stop = min(first + _CHUNK_ROWS, len(sets))
        pairs = candidate_pairs(
            first, stop, sets.values, sets.offsets, frequencies, keys, owners, is_query, threshold
        )
        left, right = pairs.min(axis=1), pairs.max(axis=1)
        similarities = similarities_of(left, right, addresses, sizes, threshold)
        alike = similarities >= threshold
        found.append((left[alike], right[alike], similarities[alike]))
    left, right, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((right, left))
    return SimilarPairs(left[order], right[order], similarities[order])


@compiled
def count_elements(values: NDArray[np.uint64], num_counters: int) -> NDArray[np.int32]:
    """How many sets have each element, or any other that falls on the same counter."""
    counters = np.zeros(num_counters, np.int32)
    for value in values:
        counters[value % np.uint64(num_counters)] += 1
    return counters


def _index(
    sets: Ragged, queries: NDArray[np.int64], frequencies: NDArray[np.int32], threshold: float
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The keys of the queries' prefixes, sorted, and whose they are."""
    keys, owners = query_prefixes(queries, sets.values, sets.offsets, frequencies, threshold)
    order = np.argsort(keys, kind="stable")
    return keys[order], owners[order]


@compiled
def query_prefixes(
    queries: NDArray[np.int64],
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    frequencies: NDArray[np.int32],
    threshold: float,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The prefix keys of all queries, one after another, and whose they are."""
    total = 0
    for query in queries:
        total += _prefix_length(offsets[query + 1] - offsets[query], threshold)
    keys, owners = np.empty(total, np.uint64), np.empty(total, np.int64)
    end = 0
    for query in queries:
        prefix = _prefix(values[offsets[query] : offsets[query + 1]], frequencies, threshold)
        keys[end : end + len(prefix)] = prefix
        owners[end : end + len(prefix)] = query
        end += len(prefix)
    return keys[:end], owners[:end]


@compiled
def candidate_pairs(
    first: int,
    stop: int,
    values: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    frequencies: NDArray[np.int32],
    keys: NDArray[np.uint64],
    owners: NDArray[np.int64],
    is_query: NDArray[np.bool_],
    threshold: float,
) -> NDArray[np.int64]:
    """[pairs, 2] of rows `first` to `stop - 1` and the queries whose prefix shares an element with theirs."""
    pairs = np.empty((1024, 2), np.int64)
    num_pairs = 0
    last_met = np.full(len(offsets) - 1, -1, np.int32)
    for row in range(first, stop):
        for key in _prefix(values[offsets[row] : offsets[row + 1]], frequencies, threshold):
            place = np.searchsorted(keys, key)
            while place < len(keys) and keys[place] == key:
                query = owners[place]
                place += 1
                if query == row or last_met[query] == row or (is_query[row] and query > row):
                    continue
                last_met[query] = row
                if num_pairs == len(pairs):
                    longer = np.empty((2 * num_pairs, 2), np.int64)
                    longer[:num_pairs] = pairs
                    pairs = longer
                pairs[num_pairs, 0], pairs[num_pairs, 1] = query, row
                num_pairs += 1
    return pairs[:num_pairs]


@compiled
def _prefix_length(size: int, threshold: float) -> int:
    return min(size, size - int(np.ceil(threshold * size - 1e-9)) + 1)


@compiled
def _prefix(
    elements: NDArray[np.uint64], frequencies: NDArray[np.int32], threshold: float
) -> NDArray[np.uint64]:
    """The keys of the first elements of a set: the rarest, without those that no other set can have.

    A key is a frequency and 40 bits of the element; that a few elements share one does no harm.
    """
    keys = np.empty(len(elements), np.uint64)
    for index, element in enumerate(elements):
        frequency = frequencies[element % np.uint64(len(frequencies))]
        keys[index] = (np.uint64(frequency) << _HASH_BITS) | (element & _HASH_MASK)
    keys.sort()
    prefix = keys[: _prefix_length(len(keys), threshold)]
    return prefix[np.searchsorted(prefix, np.uint64(2) << _HASH_BITS) :]
