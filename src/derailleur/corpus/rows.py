"""Reads rows with `id` and `content` from Parquet and JSONL files, in batches."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.errors import DataError

_BATCH_ROWS = 256
_BATCH_BYTES = 64 << 20

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""JSONL may be compressed, by its last suffix."""


def is_parquet(path: Path) -> bool:
    """Whether a file is read as Parquet, by its name."""
    return path.suffix == ".parquet"


def is_jsonl(path: Path) -> bool:
    """Whether a file is read as JSON lines, by its name."""
    return (path.with_suffix("") if path.suffix in COMPRESSIONS else path).suffix == ".jsonl"


def check_file(path: Path) -> None:
    """Raise a DataError unless `path` is a file."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if not path.is_file():
        raise DataError(f"{path}: expected a file")


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a Parquet or JSONL file; `id` and `content` become strings, all else stays.

    Raises:
        DataError: naming the file and the row.
    """
    check_file(path)
    if is_parquet(path):
        yield from _read_parquet(path)
    elif is_jsonl(path):
        yield from _read_jsonl_batches(path)
    else:
        raise DataError(f"{path}: expected a .parquet or .jsonl file")


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Stream the rows of a JSONL file, each with an `id`, a string or an integer, and a string `content`.

    Raises:
        DataError: naming the file and the line.
    """
    for _, row in read_numbered_jsonl(path):
        yield row


def read_numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same rows, each with the number of its line, from 1."""
    check_file(path)
    number = 0
    try:
        with pa.input_stream(path, compression=COMPRESSIONS.get(path.suffix)) as stream:
            for number, line in enumerate(io.BufferedReader(stream), 1):
                if line.strip():
                    yield number, _checked_row(json.loads(line), f"{path}:{number}")
    except UnicodeDecodeError:
        raise DataError(f"{path}:{number}: not UTF-8") from None
    except (ValueError, RecursionError) as error:  # also of numbers too long, and of endless nesting
        raise DataError(f"{path}:{number}: not JSON: {getattr(error, 'msg', error)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _checked_row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with 'id' and 'content', got {type(row).__name__}")
    for key in ("id", "content"):
        if key not in row:
            raise DataError(f"{where}: no key '{key}'")
    for key, kinds in (("id", (str, int)), ("content", (str,))):
        if not isinstance(row[key], kinds):
            raise DataError(f"{where}: '{key}' must be a string, got {type(row[key]).__name__}")
        try:
            str(row[key]).encode()
        except UnicodeEncodeError:
            raise DataError(f"{where}: '{key}' holds half a surrogate pair") from None
    return row


def _read_jsonl_batches(path: Path) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    size = 0
    for row in read_jsonl(path):
        rows.append(row)
        size += len(row["content"])
        if len(rows) == _BATCH_ROWS or size >= _BATCH_BYTES:
            yield _from_rows(rows, path)
            rows, size = [], 0
    if rows:
        yield _from_rows(rows, path)


def _from_rows(rows: list[dict[str, Any]], path: Path) -> pa.RecordBatch:
    names = dict.fromkeys(key for row in rows for key in row)
    columns: dict[bytes, pa.Array] = {}  # a name may hold half a surrogate pair, too
    for row in rows:
        row["id"] = str(row["id"])
    for name in names:
        try:
            columns[name.encode()] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            what = str(error).splitlines()[0]
            raise DataError(f"{path}: key {name!r} does not make a column: {what}") from None
    return _with_strings(pa.RecordBatch.from_arrays(list(columns.values()), list(columns)))


def _read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in ("id", "content"):
                if (times := names.count(name)) != 1:
                    found = "no" if times == 0 else f"{times} times"
                    raise DataError(f"{path}: {found} column '{name}'; it has {', '.join(names)}")
            first = 0
            for batch in file.iter_batches(_batch_rows(file.metadata)):
                for name in ("id", "content"):
                    if nulls := batch.column(name).null_count:
                        raise DataError(f"{path}: {nulls} nulls in column '{name}' from row {first} on")
                yield _with_strings(batch)
                first += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _batch_rows(table: pq.FileMetaData) -> int:
    """So many rows that a batch is of a bounded size, if the rows are much alike in theirs."""
    num_bytes = sum(table.row_group(number).total_byte_size for number in range(table.num_row_groups))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * table.num_rows // max(num_bytes, 1)))


def _with_strings(batch: pa.RecordBatch) -> pa.RecordBatch:
    for name, kind in (("id", pa.string()), ("content", pa.large_string())):
        batch = batch.set_column(batch.schema.get_field_index(name), name, batch.column(name).cast(kind))
    return batch
