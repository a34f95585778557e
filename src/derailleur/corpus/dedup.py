"""Deduplication alone, of the rows of Parquet and JSONL files: `kept.parquet` and `clusters.parquet`."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from derailleur.corpus.near_dedup import NearDedupConfig, near_duplicates
from derailleur.corpus.parallel import available_threads
from derailleur.corpus.rows import read_batches
from derailleur.corpus.spool import Spool
from derailleur.errors import DataError
from derailleur.io import Progress, atomic_path, silent

VERSION = 1

KEPT = "kept.parquet"
CLUSTERS = "clusters.parquet"

_CLUSTERS_SCHEMA = pa.schema([("id", pa.string()), ("survivor", pa.string()), ("similarity", pa.float64())])


@dataclass
class _Rows:
    """What is remembered of the rows, in the order of the input.

    Attributes:
        ranks: what decides who survives: repository, path, id; the least is the best.
        texts: which distinct text each row has.
        schema: of all files' columns together.
    """

    ids: list[str] = field(default_factory=list)
    ranks: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))


def dedup(
    config: NearDedupConfig,
    files: Sequence[Path],
    out: Path,
    *,
    progress: Progress = silent,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Drop exact and near-duplicates among the rows of `files`.

    Rows need `id` (unique) and `content`; `repository` and `path` take part in the rank where they are
    there. Which rows are kept does not depend on their order.

    Args:
        out: gets `kept.parquet`, the rows kept with all their columns in the order of the input, and
            `clusters.parquet`, one row a document: id, survivor, similarity (1 for a survivor itself).

    Returns:
        Counts for the manifest.

    Raises:
        DataError: naming the file and the row or column.
    """
    scratch = out / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with Spool(scratch / "contents", np.uint8) as spool:
            rows = _read(files, spool, progress)
            contents = spool.finish()
        leaders = _leaders(rows)
        order = sorted(range(len(leaders)), key=lambda text: rows.ranks[leaders[text]])
        near = near_duplicates(
            contents,
            config,
            scratch,
            num_threads=num_threads or available_threads(),
            order=np.array(order, np.int64),
            progress=progress,
        )
    finally:
        shutil.rmtree(scratch)
    survivor_rows, similarities = np.empty(len(leaders), np.int64), np.empty(len(leaders))
    for position, text in enumerate(order):
        survivor_rows[text] = leaders[order[near.survivors[position]]]
        similarities[text] = near.similarities[position]
    survivors = survivor_rows[rows.texts]
    _write_clusters(rows, survivors, similarities, out)
    is_kept = survivors == np.arange(len(survivors))
    _write_kept(files, rows.schema, is_kept, out)
    num_kept, num_exact = int(is_kept.sum()), len(rows.ids) - len(leaders)
    return {
        "rows": len(rows.ids),
        "kept": num_kept,
        "dropped": {"exact_duplicate": num_exact, "near_duplicate": len(leaders) - num_kept},
    }


def _read(files: Sequence[Path], spool: Spool, progress: Progress) -> _Rows:
    rows = _Rows()
    text_of: dict[bytes, int] = {}
    seen: set[str] = set()
    for number, path in enumerate(files):
        progress("read", number, len(files), path.name)
        for batch in read_batches(path):
            rows.schema = _unified(rows.schema, batch.schema, path)
            ids = batch.column("id").to_pylist()
            for identifier, rank, content in zip(ids, _ranks(batch), batch.column("content"), strict=True):
                if identifier in seen:
                    raise DataError(f"{path}: id '{identifier}' appears twice; ids must be unique")
                seen.add(identifier)
                data = memoryview(content.as_buffer())
                text = text_of.setdefault(hashlib.sha256(data).digest(), len(text_of))
                if text == len(spool):
                    spool.append(data)
                rows.ids.append(identifier)
                rows.ranks.append(rank)
                rows.texts.append(text)
    progress("read", len(files), len(files))
    if not rows.ids:
        raise DataError(f"{', '.join(map(str, files))}: no rows")
    return rows


def _unified(schema: pa.Schema, other: pa.Schema, path: Path) -> pa.Schema:
    if schema == other:
        return schema
    try:
        return pa.unify_schemas([schema, other], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{path}: columns do not fit those before: {str(error).splitlines()[0]}") from None


def _ranks(batch: pa.RecordBatch) -> list[tuple[str, str, str]]:
    empty = [""] * len(batch)
    columns = [
        batch.column(name).to_pylist() if name in batch.schema.names else empty
        for name in ("repository", "path", "id")
    ]
    return [(str(r or ""), str(p or ""), i) for r, p, i in zip(*columns, strict=True)]


def _leaders(rows: _Rows) -> list[int]:
    """The best-ranked row of each distinct text."""
    leaders: dict[int, int] = {}
    for row, text in enumerate(rows.texts):
        best = leaders.setdefault(text, row)
        if rows.ranks[row] < rows.ranks[best]:
            leaders[text] = row
    return [leaders[text] for text in range(len(leaders))]


def _write_clusters(
    rows: _Rows, survivors: NDArray[np.int64], similarities: NDArray[np.float64], out: Path
) -> None:
    columns = {
        "id": rows.ids,
        "survivor": [rows.ids[row] for row in survivors],
        "similarity": similarities[rows.texts],
    }
    with atomic_path(out / CLUSTERS) as temporary:
        pq.write_table(pa.table(columns, schema=_CLUSTERS_SCHEMA), temporary, compression="zstd")


def _write_kept(files: Sequence[Path], schema: pa.Schema, is_kept: NDArray[np.bool_], out: Path) -> None:
    first = 0
    with (
        atomic_path(out / KEPT) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for path in files:
            for batch in read_batches(path):
                kept = pa.table(batch.filter(pa.array(is_kept[first : first + len(batch)])))
                first += len(batch)
                tables = [schema.empty_table(), kept]
                writer.write_table(pa.concat_tables(tables, promote_options="permissive"))
