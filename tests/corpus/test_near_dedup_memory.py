"""What `resolve` and `join_partition` hold in memory while the documents become many."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from derailleur.corpus.arrays import write_arrays
from derailleur.corpus.near_dedup import NearDedupConfig, join_partition, num_partitions, resolve

_BANDS = 4


def synthetic_sketch(path: Path, first: int, num_documents: int) -> None:
    """A shard of documents of three shingles, of which every second one resembles the one before."""
    ranks = np.arange(first, first + num_documents)
    family = (ranks // 2).astype(np.uint64)
    shingles = np.sort(family[:, None] * np.uint64(3) + np.arange(3, dtype=np.uint64), axis=1)
    bands = np.arange(1, _BANDS + 1, dtype=np.uint64)
    keys = ((family[:, None] * np.uint64(_BANDS) + bands) * np.uint64(0x9E3779B97F4A7C15)).ravel()
    rows = np.repeat(np.arange(num_documents, dtype=np.uint32), _BANDS)
    order = np.argsort(keys, kind="stable")
    write_arrays(
        path,
        {
            "ranks": ranks,
            "offsets": np.arange(num_documents + 1) * 3,
            "shingles": shingles.ravel(),
            "keys": keys[order],
            "rows": rows[order],
        },
    )


def peak_bytes(num_documents: int, config: NearDedupConfig, folder: Path) -> tuple[int, int]:
    """The most that numpy and Python hold at once in the joins, and in `resolve`."""
    folder.mkdir()
    shard = 20_000
    sketches = []
    for first in range(0, num_documents, shard):
        sketches.append(folder / f"sketch-{first}")
        synthetic_sketch(sketches[-1], first, shard)
    total = num_partitions(num_documents, config)
    partitions = [folder / f"partition-{number}" for number in range(total)]
    tracemalloc.start()
    for number, path in enumerate(partitions):
        join_partition(number, sketches, path, num_partitions=total)
    join_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    counts = resolve(sketches, partitions, num_documents, config, folder / "dropped")
    resolve_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.num_near_duplicates == num_documents // 2
    return join_peak, resolve_peak


@pytest.mark.parametrize("rule", ["verified", "extremes", "components"])
def test_resolve_holds_a_few_bytes_a_document(tmp_path: Path, rule: str) -> None:
    config = NearDedupConfig(num_bands=_BANDS, rule=rule)  # type: ignore[arg-type]
    few, many = (peak_bytes(size, config, tmp_path / f"{size}")[1] for size in (60_000, 360_000))
    assert (many - few) / 300_000 <= 16


def test_a_partition_takes_no_more_when_there_are_more_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derailleur.corpus.near_dedup.join._PARTITION_BYTES", 4 << 20)
    config = NearDedupConfig(num_bands=_BANDS)
    few, many = (peak_bytes(size, config, tmp_path / f"{size}")[0] for size in (100_000, 400_000))
    assert many <= 1.2 * few
