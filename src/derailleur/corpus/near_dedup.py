"""Near-duplicates: MinHash candidates, verified by exact Jaccard, resolved in the order of rank.

A document is dropped only if its Jaccard similarity with a *kept* document reaches the threshold, so
that nothing vanishes through a chain of documents that resemble each other pair by pair.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from derailleur.compiled import compiled
from derailleur.config import Config
from derailleur.corpus.minhash import Hashing, Sketches, sketch
from derailleur.corpus.spool import Ragged
from derailleur.io import Progress, silent


class NearDedupConfig(Config):
    """How alike two documents must be, and how candidates are found.

    With b bands of r rows a pair of similarity s becomes a candidate with probability 1 - (1 - s^r)^b:
    99.5 % at 0.70 with the defaults.
    """

    threshold: float = Field(0.7, gt=0, le=1, description="Jaccard similarity that makes a duplicate")
    shingle_words: int = Field(5, ge=1, description="words in a shingle")
    num_bands: int = Field(42, ge=1, description="LSH bands")
    rows_per_band: int = Field(6, ge=1, description="MinHash values in a band")
    max_candidates: int = Field(
        1000, ge=1, description="most candidates verified per document, those that share most bands first"
    )
    seed: int = Field(0, ge=0, description="seed of the permutations")


@dataclass(frozen=True)
class NearDuplicates:
    """The outcome for documents in rank order.

    Attributes:
        survivors: [documents] int64, the kept document that a dropped one duplicates; a kept one's own index.
        similarities: [documents] float64, exact Jaccard with the survivor; 1 for a kept one.
        num_candidates: pairs that met in a band while one of them was kept.
        num_verified: pairs whose exact similarity was computed.
        num_capped: documents with more than `max_candidates` candidates.
    """

    survivors: NDArray[np.int64]
    similarities: NDArray[np.float64]
    num_candidates: int
    num_verified: int
    num_capped: int

    def is_kept(self, index: int) -> bool:
        """Whether document `index` survives."""
        return bool(self.survivors[index] == index)


def near_duplicates(
    contents: Ragged,
    config: NearDedupConfig,
    scratch: Path,
    *,
    num_threads: int,
    order: NDArray[np.int64] | None = None,
    progress: Progress = silent,
) -> NearDuplicates:
    """Find the near-duplicates among documents; the same for every number of threads.

    Args:
        contents: uint8 rows, UTF-8, without exact duplicates.
        scratch: a folder for temporary files.
        order: the rows by rank, the best first; None if they are in that order. Indices of the
            result are positions in this order.
    """
    hashing = Hashing.seeded(
        shingle_words=config.shingle_words,
        num_bands=config.num_bands,
        rows_per_band=config.rows_per_band,
        seed=config.seed,
    )
    sketches = sketch(contents, hashing, scratch, num_threads=num_threads, progress=progress)
    if order is not None:
        sketches = sketches.take(order)
    progress("near-dedup: compare", 0, len(contents))
    result = resolve(sketches, config)
    progress("near-dedup: compare", len(contents), len(contents))
    return result


def resolve(sketches: Sketches, config: NearDedupConfig) -> NearDuplicates:
    """Decide, in rank order, which documents duplicate a kept one."""
    buckets, num_buckets = _buckets(sketches)
    survivors, similarities, counts = assign_survivors(
        sketches.shingles,
        sketches.starts,
        sketches.stops,
        buckets,
        num_buckets,
        config.threshold,
        config.max_candidates,
    )
    num_candidates, num_verified, num_capped = counts.tolist()
    return NearDuplicates(survivors, similarities, num_candidates, num_verified, num_capped)


def _buckets(sketches: Sketches) -> tuple[NDArray[np.int32], int]:
    """Number the band keys that at least two documents share.

    Returns:
        [documents, bands] int32, -1 where a document is alone or too short for a shingle; and how many.
    """
    comparable = np.flatnonzero(sketches.stops > sketches.starts)
    buckets: NDArray[np.int32] = np.full(sketches.band_keys.shape, -1, np.int32)
    num_buckets = 0
    for band in range(buckets.shape[1]):
        _, members, sizes = np.unique(
            sketches.band_keys[comparable, band], return_inverse=True, return_counts=True
        )
        shared = sizes > 1
        numbers = np.where(shared, num_buckets + np.cumsum(shared) - 1, -1)
        buckets[comparable, band] = numbers[members]
        num_buckets += int(shared.sum())
    return buckets, num_buckets


@compiled
def assign_survivors(
    shingles: NDArray[np.uint64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    buckets: NDArray[np.int32],
    num_buckets: int,
    threshold: float,
    max_candidates: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Walk the documents by rank; each is compared with the kept documents in its buckets.

    Only kept documents enter buckets. A thousand copies of one licence therefore cost a thousand
    comparisons, not half a million; what is left are kept documents that resemble each other too little.

    Returns:
        survivors, similarities, and the three counts of `NearDuplicates`.
    """
    num_documents, num_bands = buckets.shape
    heads = np.full(num_buckets, -1, np.int32)  # the last kept document of a bucket
    previous = np.full((num_documents, num_bands), -1, np.int32)  # the kept one before it, per band
    shared_bands = np.zeros(num_documents, np.int64)
    candidates = np.empty(num_documents, np.int64)
    survivors = np.arange(num_documents)
    similarities = np.ones(num_documents)
    counts = np.zeros(3, np.int64)
    for document in range(num_documents):
        met = _meet(buckets[document], heads, previous, shared_bands, candidates)
        counts[0] += len(met)
        counts[2] += len(met) > max_candidates
        for other in _most_promising(met, shared_bands, max_candidates):
            counts[1] += 1
            similarity = jaccard(
                shingles[starts[document] : stops[document]],
                shingles[starts[other] : stops[other]],
                threshold,
            )
            if similarity >= threshold:
                survivors[document] = other
                similarities[document] = similarity
                break
        if survivors[document] == document:
            for band in range(num_bands):
                bucket = buckets[document, band]
                if bucket >= 0:
                    previous[document, band] = heads[bucket]
                    heads[bucket] = document
    return survivors, similarities, counts


@compiled
def _meet(
    buckets: NDArray[np.int32],
    heads: NDArray[np.int32],
    previous: NDArray[np.int32],
    shared_bands: NDArray[np.int64],
    candidates: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The kept documents in a document's buckets; counts in `shared_bands` how often each is met."""
    num_candidates = 0
    for band in range(len(buckets)):
        other = heads[buckets[band]] if buckets[band] >= 0 else -1
        while other >= 0:
            if shared_bands[other] == 0:
                candidates[num_candidates] = other
                num_candidates += 1
            shared_bands[other] += 1
            other = previous[other, band]
    return candidates[:num_candidates]


@compiled
def _most_promising(met: NDArray[np.int64], shared_bands: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """The candidates by rank; of too many, only those that share most bands. Clears `shared_bands`."""
    num_documents = len(shared_bands)
    chosen = met.copy()
    for index, other in enumerate(met):
        if len(met) > limit:  # one number that sorts by bands shared, then by rank
            chosen[index] = other - shared_bands[other] * num_documents
        shared_bands[other] = 0
    if len(met) > limit:
        chosen.sort()
        chosen = chosen[:limit] % num_documents
    chosen.sort()
    return chosen


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
