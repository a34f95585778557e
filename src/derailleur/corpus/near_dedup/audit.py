"""How often near-dedup errs, by the exact similarities of a sample of documents with all others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derailleur.corpus.arrays import map_arrays
from derailleur.corpus.near_dedup.config import NearDedupConfig
from derailleur.corpus.near_dedup.exact_join import SimilarPairs, exact_join
from derailleur.corpus.near_dedup.resolve import NEAR_DUPLICATE, find_dropped
from derailleur.corpus.near_dedup.walk import similarities_of
from derailleur.corpus.spool import Ragged

BINS = tuple(round(0.5 + 0.05 * number, 2) for number in range(10))
"""The least similarity of each bin; the last one ends with 1."""


@dataclass(frozen=True)
class Audit:
    """What was found for the documents of a sample and everything that resembles them.

    Attributes:
        num_documents: in all.
        num_sampled: of those long enough to be compared.
        pairs_by_bin: pairs of a sampled document and any other, by similarity as in `BINS`.
        candidates_by_bin: those among them that share a band key.
        num_similar: pairs whose similarity reaches the threshold.
        num_missed: those among them of which both documents stayed.
        num_dropped: sampled documents dropped as near-duplicates.
        num_unlike: those among them whose similarity with their survivor is below the threshold.
    """

    num_documents: int
    num_sampled: int
    pairs_by_bin: tuple[int, ...]
    candidates_by_bin: tuple[int, ...]
    num_similar: int
    num_missed: int
    num_dropped: int
    num_unlike: int

    @property
    def false_negative_rate(self) -> float:
        """The share of similar pairs of which both documents stayed."""
        return self.num_missed / max(self.num_similar, 1)

    @property
    def false_positive_rate(self) -> float:
        """The share of dropped documents that are not alike enough to their survivor."""
        return self.num_unlike / max(self.num_dropped, 1)

    @property
    def recall_by_bin(self) -> tuple[float | None, ...]:
        """The share of pairs that share a band key; None for a bin without pairs."""
        bins = zip(self.candidates_by_bin, self.pairs_by_bin, strict=True)
        return tuple(met / pairs if pairs else None for met, pairs in bins)


def audit(
    sketches: Sequence[Path], dropped: NDArray[Any], config: NearDedupConfig, *, sample: int, seed: int
) -> Audit:
    """Compare what near-dedup did with the exact similarities.

    Holds all shingle sets in memory, about the size of the texts.

    Args:
        sketches: what `sketch_shard` wrote for every shard.
        dropped: what `read_dropped` gives.
        sample: documents of which all neighbours are sought.
    """
    shards = [map_arrays(path) for path in sketches]
    sets = _joined([Ragged(shard["shingles"], shard["offsets"]) for shard in shards])
    ranks = np.concatenate([shard["ranks"] for shard in shards])
    comparable = np.flatnonzero(np.diff(sets.offsets))
    comparable = comparable[np.argsort(ranks[comparable])]  # however the documents were cut into shards
    queries = np.random.default_rng(seed).permutation(comparable)[:sample]
    pairs = exact_join(sets, min(BINS[0], config.threshold), queries)
    bins = np.searchsorted(BINS, pairs.similarities + 1e-9, side="right") - 1
    met = _share_a_key(shards, pairs)
    places = find_dropped(dropped, ranks)
    similar = pairs.similarities >= config.threshold
    both_stay = (places[pairs.left] < 0) & (places[pairs.right] < 0)
    mine = dropped[places[queries][places[queries] >= 0]]
    mine = mine[mine["reason"] == NEAR_DUPLICATE]
    return Audit(
        num_documents=len(ranks),
        num_sampled=len(queries),
        pairs_by_bin=_count(bins),
        candidates_by_bin=_count(bins[met]),
        num_similar=int(similar.sum()),
        num_missed=int((similar & both_stay).sum()),
        num_dropped=len(mine),
        num_unlike=int((mine["similarity"] < config.threshold).sum()),
    )


def _count(bins: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(np.bincount(bins[bins >= 0], minlength=len(BINS)).tolist())


def _joined(parts: Sequence[Ragged]) -> Ragged:
    """The rows of all parts one after another."""
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    values = np.concatenate([part.values for part in parts])
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))


def _share_a_key(shards: Sequence[dict[str, NDArray[Any]]], pairs: SimilarPairs) -> NDArray[np.bool_]:
    """Whether the two documents of each pair are candidates: their sets of keys are not disjoint."""
    by_row = []
    for shard in shards:
        order = np.argsort(shard["rows"], kind="stable")  # a document's keys stay sorted
        counts = np.bincount(shard["rows"], minlength=len(shard["ranks"]))
        by_row.append(
            Ragged(shard["keys"][order], np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
        )
    keys = _joined(by_row)
    addresses = keys.values.ctypes.data + 8 * keys.offsets[:-1]
    sizes = np.diff(keys.offsets).astype(np.int32)
    return similarities_of(pairs.left, pairs.right, addresses, sizes, 0.0) > 0
