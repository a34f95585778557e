"""All tasks of near-dedup one after another, for documents that are at hand."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derailleur.corpus.near_dedup.config import NearDedupConfig
from derailleur.corpus.near_dedup.join import join_partition, num_partitions
from derailleur.corpus.near_dedup.resolve import read_dropped, resolve
from derailleur.corpus.near_dedup.sketch import sketch_shard
from derailleur.corpus.spool import Ragged


@dataclass(frozen=True)
class NearDuplicates:
    """The outcome for documents in rank order.

    Attributes:
        survivors: [documents] int64, the kept document that a dropped one duplicates; a kept one's own
            index; -1 for one dropped as too short.
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


def near_duplicates(contents: Ragged, config: NearDedupConfig, scratch: Path) -> NearDuplicates:
    """Find the near-duplicates among documents.

    Args:
        contents: uint8 rows, UTF-8, by rank, the best first; without exact duplicates.
        scratch: a folder for temporary files.
    """
    sketches = [scratch / "sketch"]
    sketch_shard(contents, np.arange(len(contents)), config, sketches[0])
    total = num_partitions(len(contents), config)
    partitions = [scratch / f"partition-{number}" for number in range(total)]
    for number, path in enumerate(partitions):
        join_partition(number, sketches, path, num_partitions=total)
    counts = resolve(sketches, partitions, len(contents), config, scratch / "dropped")
    dropped = read_dropped(scratch / "dropped")
    survivors, similarities = np.arange(len(contents)), np.ones(len(contents))
    survivors[dropped["rank"]] = dropped["survivor"]
    similarities[dropped["rank"]] = dropped["similarity"]
    return NearDuplicates(
        survivors, similarities, counts.num_candidates, counts.num_verified, counts.num_capped
    )
