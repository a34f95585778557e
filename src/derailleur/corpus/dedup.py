"""Deduplication alone, of the rows of Parquet and JSONL files: `kept.parquet` and `clusters.parquet`.

Tasks that meet in files of a scratch folder: read (a task a file), rank (DuckDB, which sorts on disk),
the three of near-dedup, and write. None holds more than a shard or a batch of rows in memory.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from derailleur.corpus.database_errors import plain_errors
from derailleur.corpus.near_dedup import (
    Audit,
    NearDedupConfig,
    audit,
    join_partition,
    num_partitions,
    read_dropped,
    resolve,
    sketch_shard,
)
from derailleur.corpus.row_ranks import ROWS, RowRanks, rank_columns
from derailleur.corpus.rows import read_batches
from derailleur.corpus.spool import Ragged, Spool
from derailleur.corpus.workers import Workers, start_workers
from derailleur.errors import DataError
from derailleur.io import Progress, atomic_path, silent

VERSION = 2

KEPT = "kept.parquet"
CLUSTERS = "clusters.parquet"

_SHARD_BYTES = 32 << 20

_CLUSTERS_SCHEMA = pa.schema([("id", pa.string()), ("survivor", pa.string()), ("similarity", pa.float64())])


@plain_errors()
def dedup(
    config: NearDedupConfig,
    files: Sequence[Path],
    out: Path,
    *,
    progress: Progress = silent,
    num_workers: int | None = None,
) -> dict[str, Any]:
    """Drop exact and near-duplicates among the rows of `files`.

    Rows need `id` (unique) and `content`. Of rows that are alike the one with most `stars` survives, then
    the first by `repository`, `path` and `id`, as far as the rows have these. Which rows are kept does not
    depend on their order.

    Args:
        out: gets `kept.parquet`, the rows kept with all their columns in the order of the input, and
            `clusters.parquet`, one row a document: id, survivor, similarity (1 for a survivor itself;
            both null for a document dropped as too short).
        num_workers: processes; None takes the cores that this process may use.

    Returns:
        Counts for the manifest.

    Raises:
        DataError: naming the file and the row or column.
    """
    scratch = out / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    workers = start_workers(count=num_workers)
    try:
        schema, shards = _read_all(files, scratch, workers, progress)
        with RowRanks(scratch, files) as ranks:
            ranks.write([shard.ranks for shard in shards], [shard.num_rows for shard in shards])
            dropped = _near_dedup(config, shards, ranks.num_texts, scratch, workers, progress)
            results = _write_clusters(ranks.clusters(dropped), out / CLUSTERS, scratch / "is_kept")
        _write_kept(files, schema, scratch / "is_kept", out / KEPT, progress)
    finally:
        workers.close()
        shutil.rmtree(scratch)
    return results


@plain_errors()
def audit_files(
    configs: Mapping[str, NearDedupConfig],
    files: Sequence[Path],
    *,
    sample: int,
    seed: int,
    progress: Progress = silent,
    num_workers: int | None = None,
) -> dict[str, Audit]:
    """Run near-dedup on the rows of `files` with each configuration, and see how often it errs.

    Args:
        sample: documents that are compared with all others.

    Raises:
        DataError: as `dedup`.
    """
    workers = start_workers(count=num_workers)
    audits: dict[str, Audit] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(workers):
        scratch = Path(folder)
        _, shards = _read_all(files, scratch, workers, progress)
        with RowRanks(scratch, files) as ranks:
            ranks.write([shard.ranks for shard in shards], [shard.num_rows for shard in shards])
            num_texts = ranks.num_texts
        for name, config in configs.items():
            dropped = _near_dedup(config, shards, num_texts, scratch, workers, progress)
            progress(f"audit: {name}", 0, 1)
            sketches = [shard.sketch for shard in shards]
            audits[name] = audit(sketches, dropped, config, sample=sample, seed=seed)
            progress(f"audit: {name}", 1, 1)
    return audits


def _read_all(
    files: Sequence[Path], scratch: Path, workers: Workers, progress: Progress
) -> tuple[pa.Schema, list["_Shard"]]:
    tasks = [_ReadTask(number, path, scratch) for number, path in enumerate(files)]
    schema, shards = pa.schema([]), []
    for task, result in zip(tasks, workers.map(_read, tasks), strict=True):
        schema = _merged(schema, result.schema, task.path)
        shards += result.shards
        progress("read", task.number + 1, len(files), task.path.name)
    return schema, shards


@dataclass(frozen=True)
class _ReadTask:
    number: int
    path: Path
    scratch: Path


@dataclass(frozen=True)
class _Shard:
    """Some rows that follow each other in a file; `texts` is a spool that keeps its offsets."""

    texts: Path
    num_rows: int

    @property
    def ranks(self) -> Path:
        """[rows] int64: a text's rank, -1 for a copy of a better row's."""
        return self.texts.with_suffix(".ranks.npy")

    @property
    def sketch(self) -> Path:
        """What `sketch_shard` writes."""
        return self.texts.with_suffix(".sketch")


@dataclass(frozen=True)
class _Read:
    schema: pa.Schema
    shards: list[_Shard]


def _read(task: _ReadTask) -> _Read:
    """Spool the texts of a file in shards; write what decides their ranks to `rows-NNNNN.parquet`."""
    schema = pa.schema([])
    shards: list[_Shard] = []
    batches = read_batches(task.path)
    batch = next(batches, None)
    num_rows = 0
    with pq.ParquetWriter(task.scratch / f"rows-{task.number:05d}.parquet", ROWS) as writer:
        while batch is not None:
            texts = task.scratch / f"texts-{task.number:05d}-{len(shards):05d}"
            with Spool(texts, np.uint8) as spool:
                num_bytes = 0
                while batch is not None and num_bytes < _SHARD_BYTES:
                    schema = _merged(schema, batch.schema, task.path)
                    digests = []
                    for content in batch.column("content"):
                        data = memoryview(content.as_buffer())
                        digests.append(hashlib.sha256(data).digest())
                        spool.append(data)
                        num_bytes += len(data)
                    writer.write_table(rank_columns(batch, digests, task.number, num_rows, task.path))
                    num_rows += len(batch)
                    batch = next(batches, None)
                spool.finish(keep_offsets=True)
                shards.append(_Shard(texts, len(spool)))
    return _Read(schema, shards)


def _merged(schema: pa.Schema, other: pa.Schema, path: Path) -> pa.Schema:
    if schema == other:
        return schema
    try:
        return pa.unify_schemas([schema, other], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{path}: columns do not fit those before: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class _SketchTask:
    config: NearDedupConfig
    shard: _Shard


@dataclass(frozen=True)
class _JoinTask:
    sketches: tuple[Path, ...]
    partition: int
    num_partitions: int
    out: Path


def _near_dedup(
    config: NearDedupConfig,
    shards: Sequence[_Shard],
    num_texts: int,
    scratch: Path,
    workers: Workers,
    progress: Progress,
) -> NDArray[Any]:
    """The three tasks; returns the dropped texts, memory-mapped."""
    for done, _ in enumerate(workers.map(_sketch, [_SketchTask(config, shard) for shard in shards]), 1):
        progress("near-dedup: sketch", done, len(shards))
    sketches = tuple(shard.sketch for shard in shards)
    total = num_partitions(num_texts, config)
    joins = [
        _JoinTask(sketches, number, total, scratch / f"partition-{number:05d}") for number in range(total)
    ]
    for done, _ in enumerate(workers.map(_join, joins), 1):
        progress("near-dedup: join", done, total)
    dropped = scratch / "dropped"
    resolve(sketches, [join.out for join in joins], num_texts, config, dropped, progress=progress)
    return read_dropped(dropped)


def _sketch(task: _SketchTask) -> None:
    shard = task.shard
    sketch_shard(Ragged.mapped(shard.texts, np.uint8), np.load(shard.ranks), task.config, shard.sketch)


def _join(task: _JoinTask) -> None:
    join_partition(task.partition, task.sketches, task.out, num_partitions=task.num_partitions)


def _write_clusters(clusters: Iterable[pa.RecordBatch], out: Path, is_kept: Path) -> dict[str, Any]:
    """Write `clusters.parquet`, and a byte a row that says whether it stays; counts both."""
    dropped = Counter({"exact_duplicate": 0, "near_duplicate": 0})
    num_rows = num_kept = 0
    with (
        atomic_path(out) as temporary,
        pq.ParquetWriter(temporary, _CLUSTERS_SCHEMA, compression="zstd") as writer,
        is_kept.open("wb") as stream,
    ):
        for batch in clusters:
            writer.write_table(pa.table(batch.select(_CLUSTERS_SCHEMA.names)).cast(_CLUSTERS_SCHEMA))
            reasons = batch.column("reason")
            stream.write(reasons.is_null().to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
            num_rows, num_kept = num_rows + len(batch), num_kept + reasons.null_count
            dropped.update(reason for reason in reasons.to_pylist() if reason)
    assert num_rows == num_kept + dropped.total(), "the rows do not add up"
    return {"rows": num_rows, "kept": num_kept, "dropped": dict(sorted(dropped.items()))}


def _write_kept(
    files: Sequence[Path], schema: pa.Schema, is_kept: Path, out: Path, progress: Progress
) -> None:
    stays = np.memmap(is_kept, np.bool_, mode="r")
    first = 0
    with (
        atomic_path(out) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for number, path in enumerate(files, 1):
            for batch in read_batches(path):
                kept = pa.table(batch.filter(pa.array(np.asarray(stays[first : first + len(batch)]))))
                first += len(batch)
                tables = [schema.empty_table(), kept]
                writer.write_table(pa.concat_tables(tables, promote_options="permissive"))
            progress("write", number, len(files), path.name)
