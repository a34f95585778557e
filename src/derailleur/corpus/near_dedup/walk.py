"""The walk by rank: each document is compared with the kept documents in its buckets."""

from typing import Any

import numpy as np
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from derailleur.compiled import compiled, pointer


@compiled
def walk(
    first: int,
    rows: NDArray[np.int64],
    buckets: NDArray[np.int64],
    kept: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int32],
    shared_buckets: NDArray[np.uint16],
    threshold: float,
    max_candidates: int,
    survivors: NDArray[np.int64],
    similarities: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Decide about a block of documents that follow each other in rank.

    Only kept documents enter buckets. A thousand copies of one licence therefore cost a thousand
    comparisons, not half a million; what is left are kept documents that resemble each other too little.

    Args:
        first, rows, buckets: the block, as in `Block`.
        kept: a bucket's room holds the number of its kept documents, then their ranks.
        addresses, sizes: [documents] where in memory the sorted shingle set of each rank lies.
        shared_buckets: [documents] zeros, left as zeros.
        survivors, similarities: [block] to fill: the kept document that a dropped one duplicates and
            their Jaccard similarity; a kept one's own rank and 1.
        counts: candidates, verified pairs, documents with too many candidates; added to.
    """
    candidates = np.empty(64, np.int64)
    for row in range(len(survivors)):
        document = first + row
        mine = buckets[rows[row] : rows[row + 1]]
        candidates, num_candidates = _meet(mine, kept, shared_buckets, candidates)
        counts[0] += num_candidates
        counts[2] += num_candidates > max_candidates
        survivors[row], similarities[row] = document, 1.0
        for other in _most_promising(candidates[:num_candidates], shared_buckets, max_candidates):
            counts[1] += 1
            similarity = jaccard(
                _shingles(addresses[document], sizes[document]),
                _shingles(addresses[other], sizes[other]),
                threshold,
            )
            if similarity >= threshold:
                survivors[row], similarities[row] = other, similarity
                break
        if survivors[row] == document:
            for bucket in mine:
                kept[bucket] += 1
                kept[bucket + kept[bucket]] = document


@compiled
def _shingles(address: int, size: int) -> Any:
    return carray(pointer(address), size, np.uint64)


@compiled
def _meet(
    buckets: NDArray[np.int64],
    kept: NDArray[np.int64],
    shared_buckets: NDArray[np.uint16],
    candidates: NDArray[np.int64],
) -> tuple[NDArray[np.int64], int]:
    """The kept documents in a document's buckets, and how many they are.

    Counts in `shared_buckets` how often each is met; `candidates` is replaced where it is too short.
    """
    num_candidates = 0
    for bucket in buckets:
        for other in kept[bucket + 1 : bucket + 1 + kept[bucket]]:
            if shared_buckets[other] == 0:
                if num_candidates == len(candidates):
                    longer = np.empty(2 * num_candidates, np.int64)
                    longer[:num_candidates] = candidates
                    candidates = longer
                candidates[num_candidates] = other
                num_candidates += 1
            shared_buckets[other] += np.uint16(1)
    return candidates, num_candidates


@compiled
def _most_promising(
    met: NDArray[np.int64], shared_buckets: NDArray[np.uint16], limit: int
) -> NDArray[np.int64]:
    """The candidates by rank; of too many, those that share most buckets. Clears `shared_buckets`."""
    num_documents = len(shared_buckets)
    chosen = met.copy()
    for index, other in enumerate(met):
        if len(met) > limit:  # one number that sorts by buckets shared, then by rank
            chosen[index] = other - np.int64(shared_buckets[other]) * num_documents
        shared_buckets[other] = 0
    if len(met) > limit:
        chosen.sort()
        chosen = chosen[:limit] % num_documents
    chosen.sort()
    return chosen


@compiled
def similarities_of(
    documents: NDArray[np.int64],
    others: NDArray[np.int64],
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int32],
    threshold: float,
) -> NDArray[np.float64]:
    """The exact similarity of each document with another, 0 where it does not reach the threshold."""
    similarities = np.empty(len(documents), np.float64)
    for index in range(len(documents)):
        document, other = documents[index], others[index]
        similarities[index] = jaccard(
            _shingles(addresses[document], sizes[document]),
            _shingles(addresses[other], sizes[other]),
            threshold,
        )
    return similarities


@compiled
def jaccard(left: NDArray[np.uint64], right: NDArray[np.uint64], threshold: float) -> float:
    """Exact Jaccard similarity of two sorted sets; 0 as soon as it cannot reach the threshold."""
    # |A and B| >= t |A or B| leaves room for at most this many elements in only one of the sets
    total = len(left) + len(right)
    budget = total * (1 - threshold) / (1 + threshold) + 1e-6
    if total == 0 or abs(len(left) - len(right)) > budget:
        return 0.0
    i = j = common = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            common += 1
            i += 1
            j += 1
        else:
            if left[i] < right[j]:
                i += 1
            else:
                j += 1
            if i + j - 2 * common > budget:
                return 0.0
    return common / (total - common)
