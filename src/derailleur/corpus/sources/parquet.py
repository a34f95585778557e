"""Parquet files as sources: a row is a file, a row group is a unit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.batching import batches
from derailleur.corpus.sources.columns import columns_of, row_entry
from derailleur.corpus.sources.compression import RefusedError
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import Entry, Unit, refused
from derailleur.corpus.sources.files import file_fingerprint, num_bytes
from derailleur.corpus.sources.selection import Selection, printable

PARQUET = "parquet"

_BATCH_BYTES = 16 << 20
_MOST_ROWS = 1024

_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError)


@dataclass(frozen=True)
class ParquetSource:
    """The rows of one Parquet file.

    Attributes:
        name: also the repository's of rows that name none.
    """

    name: str
    path: Path
    config: SourceConfig

    def fingerprint(self) -> str:
        """SHA-256 over the file's path, size and time."""
        return file_fingerprint(self.path)

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """Runs of row groups; a damaged file is one entry with the reason.

        So that nothing of a damaged file is used, all its row groups are decoded here once; with `salvage`
        each is decoded when its turn comes, and left out if that fails.
        """
        try:
            with _opened(self.path) as file:
                columns = _columns(file)
                sized = [(group, _num_bytes(file, group, columns)) for group in range(file.num_row_groups)]
                rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
                self._refuse_bombs(sum(size for _, size in sized))
                if not self.config.salvage:
                    for group in range(file.num_row_groups):
                        _check(file, group, columns)
        except RefusedError as error:
            yield refused(self.name, _entry(self.name, self.path, error.verdict))
            return
        except _DAMAGE as error:
            yield refused(self.name, _damaged(self.name, self.path, "", error))
            return
        where = {"path": str(self.path), "repository": self.name}
        for groups, group_bytes in batches(sized, unit_bytes):
            num_rows = sum(rows[group] for group in groups)
            part = where | {"groups": groups, "row": sum(rows[: groups[0]])}
            yield Unit(self.name, PARQUET, group_bytes, num_rows, part)

    def _refuse_bombs(self, unpacked_bytes: int) -> None:
        most = self.config.limits.unpacked_bytes(num_bytes(self.path))
        if unpacked_bytes > most:
            raise RefusedError("bomb", f"unpacks to more than {most} bytes")


def read_parquet(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """Read the rows of a unit's row groups; one that is damaged gives one entry."""
    where = unit.payload
    path, table = Path(where["path"]), where["repository"]
    selection = Selection(config)
    try:
        with _opened(path) as file:
            columns = _columns(file)
            first = where["row"]
            for group in where["groups"]:
                try:
                    if config.salvage:
                        _check(file, group, columns)
                    for row, values in enumerate(_rows(file, group, columns), first):
                        origin = f"{printable(path.name)} row {row}"
                        yield row_entry(values, table=table, number=row, origin=origin, selection=selection)
                except _DAMAGE as error:
                    yield _damaged(table, path, f"row group {group}: ", error)
                first += file.metadata.row_group(group).num_rows
    except _DAMAGE as error:
        yield _damaged(table, path, "", error)


def _opened(path: Path) -> pq.ParquetFile:
    """No memory map: a file that is cut while it is read would be a signal, not an error.

    Texts stay parted into a dictionary and the numbers of its entries: a short file may hold a long text a
    million times.
    """
    with pq.ParquetFile(str(path)) as file:
        metadata, schema = file.metadata, file.schema_arrow
    texts = [name for name in columns_of(schema.names).values() if _is_text(schema.field(name).type)]
    return pq.ParquetFile(
        str(path),
        metadata=metadata,
        read_dictionary=texts,
        buffer_size=1 << 20,
        page_checksum_verification=True,
    )


def _columns(file: pq.ParquetFile) -> dict[str, str]:
    """Which column holds what; a ValueError if none holds contents."""
    schema = file.schema_arrow
    columns = columns_of(schema.names)
    if "content" not in columns:
        raise ValueError(f"no column 'content' among {', '.join(schema.names)}")
    kind = schema.field(columns["content"]).type
    if not _is_text(kind):
        raise ValueError(f"column '{columns['content']}' holds {kind}, expected text")
    return columns


def _check(file: pq.ParquetFile, group: int, columns: Mapping[str, str]) -> None:
    """Decode a row group."""
    for _ in _decoded(file, group, columns):
        pass


def _rows(file: pq.ParquetFile, group: int, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of a row group by what their columns mean."""
    for batch in _decoded(file, group, columns):
        values = [_values(batch.column(column)) for column in columns.values()]
        for row in zip(*values, strict=True):
            yield dict(zip(columns, row, strict=True))


def _decoded(file: pq.ParquetFile, group: int, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """A row group in batches of few bytes."""
    num_rows = max(1, file.metadata.row_group(group).num_rows)
    rows_of_a_batch = _BATCH_BYTES * num_rows // max(1, _num_bytes(file, group, columns))
    return file.iter_batches(
        max(1, min(_MOST_ROWS, rows_of_a_batch)),
        row_groups=[group],
        columns=list(columns.values()),
        use_threads=False,
    )


def _num_bytes(file: pq.ParquetFile, group: int, columns: Mapping[str, str]) -> int:
    """Decoded size of the columns that are read of a row group."""
    metadata = file.metadata.row_group(group)
    chunks = (metadata.column(number) for number in range(metadata.num_columns))
    wanted = set(columns.values())
    return sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.partition(".")[0] in wanted)


def _values(column: pa.Array) -> list[Any]:
    """Texts as they stand in the file, whether or not they are UTF-8; equal ones are one object."""
    if pa.types.is_dictionary(column.type):
        different = _values(column.dictionary)
        return [None if index is None else different[index] for index in column.indices.to_pylist()]
    return _as_bytes(column).to_pylist()


def _as_bytes(column: pa.Array) -> pa.Array:
    if _is_text(column.type):
        return column.cast(pa.large_binary())
    if pa.types.is_list(column.type) and _is_text(column.type.value_type):
        return column.cast(pa.list_(pa.large_binary()))
    return column


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    types = pa.types
    return any(
        test(kind)
        for test in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
            types.is_binary_view,
        )
    )


def _damaged(table: str, path: Path, where: str, error: Exception) -> Entry:
    what = str(error).partition("\n")[0]
    return _entry(table, path, Verdict("quarantined", "corrupt_parquet", f"{where}{what}"))


def _entry(table: str, path: Path, verdict: Verdict) -> Entry:
    name = printable(path.name)
    return Entry(table, name, num_bytes(path), None, verdict, origin=name)
