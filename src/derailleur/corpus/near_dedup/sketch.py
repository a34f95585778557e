"""The first task of near-dedup: the shingle sets and band keys of one shard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derailleur.corpus.arrays import write_arrays
from derailleur.corpus.key_ranges import sort_pairs
from derailleur.corpus.minhash import sketch
from derailleur.corpus.near_dedup.config import NearDedupConfig
from derailleur.corpus.spool import Ragged

_CHUNK_BYTES = 4 << 20


def sketch_shard(contents: Ragged, ranks: NDArray[np.int64], config: NearDedupConfig, out: Path) -> None:
    """Sketch the documents of a shard.

    Args:
        contents: uint8 rows, UTF-8.
        ranks: [rows] the rank of each document among those of all shards, 0 the best; -1 for a row that
            takes no part.
        out: the file to write, of these arrays: `ranks` [documents] int64; `offsets` [documents + 1] int64
            into `shingles` uint64, the sorted sets one after another; `keys` uint64, the band keys of all
            documents that have shingles, sorted; and `rows` uint32, the document that has each key.
    """
    hashing = config.hashing()
    sizes, shingles = [np.zeros(1, np.int64)], [np.empty(0, np.uint64)]
    keys = [np.empty((0, config.num_bands), np.uint64)]
    for rows in _chunks(contents.offsets, np.flatnonzero(ranks >= 0)):
        sketches = sketch(contents.values, contents.offsets[rows], contents.offsets[rows + 1], hashing)
        sizes.append(sketches.sizes)
        shingles.append(sketches.shingles)
        keys.append(sketches.band_keys)
    offsets = np.cumsum(np.concatenate(sizes))
    with_keys = np.flatnonzero(np.diff(offsets))
    sorted_keys, sorted_rows = sort_pairs(
        np.concatenate(keys)[with_keys].ravel(), np.repeat(with_keys.astype(np.uint32), config.num_bands), 0
    )
    arrays: dict[str, NDArray[Any]] = {
        "ranks": ranks[ranks >= 0],
        "offsets": offsets,
        "shingles": np.concatenate(shingles),
        "keys": sorted_keys,
        "rows": sorted_rows,
    }
    write_arrays(out, arrays)


def _chunks(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows in runs of about `_CHUNK_BYTES`, at least one row each."""
    ends = np.cumsum(offsets[rows + 1] - offsets[rows])
    begin = 0
    while begin < len(rows):
        limit = _CHUNK_BYTES + (ends[begin - 1] if begin else 0)
        end = max(int(np.searchsorted(ends, limit, side="right")), begin + 1)
        yield rows[begin:end]
        begin = end
