"""The ledger: what is known of every file seen. It grows from task to task.

Nothing leaves the corpus in silence, and nothing stays in it whose licence and place are not written down.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.io import atomic_path

LEDGERS = "ledger-*.parquet"


Action = Literal["kept", "dropped", "quarantined"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file.

    Attributes:
        action: dropped files were understood and not wanted; quarantined ones could not be understood.
        reason: a short name to count by, e.g. `near_duplicate`; empty for kept files.
        detail: the survivor of a duplicate, or the value that was measured.
    """

    action: Action
    reason: str = ""
    detail: str = ""


KEPT = Verdict("kept")


class Says(StrEnum):
    """How a file says something of the licence of others."""

    NOTHING = ""
    LICENCE_FILE = "licence_file"
    DESCRIPTION = "description"
    SIDE_FILE = "side_file"


@dataclass(slots=True)
class FileRecord:
    """What is known of one file; filled in from task to task.

    Attributes:
        num_bytes: raw size.
        source: which of the sources it came from.
        origin: where exactly: the member of an archive, the row of a table, a blob.
        revision: commit of a git repository.
        sha256: of the raw bytes; None where they were not read.
        encoding: that the raw bytes were in.
        says, said_licences, similarity: what this file, a LICENSE or the like, says of others.
        header_licences: what its own head states, SPDX expressions that all apply.
        row_licences: what the row of the source's table states.
        licences: the settled licences of this file.
        licence_source: what says so, and where.
        text: its row among the texts of its shard; None where there is none.
        verdict: None as long as nothing spoke against it.
    """

    repository: str
    path: str
    num_bytes: int
    source: str
    origin: str = ""
    revision: str = ""
    split: str = ""
    language: str | None = None
    encoding: str = ""
    sha256: bytes | None = None
    stars: int | None = None
    says: str = Says.NOTHING
    said_licences: tuple[str, ...] = ()
    similarity: float | None = None
    header_licences: tuple[str, ...] = ()
    row_licences: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    licence_source: str = ""
    text: int | None = None
    verdict: Verdict | None = None

    @property
    def name(self) -> str:
        """Repository and path."""
        return f"{self.repository}/{self.path}"


_PROVENANCE = [
    ("repository", pa.string()),
    ("path", pa.string()),
    ("num_bytes", pa.int64()),
    ("source", pa.string()),
    ("origin", pa.string()),
    ("revision", pa.string()),
    ("split", pa.string()),
    ("language", pa.string()),
    ("encoding", pa.string()),
    ("sha256", pa.binary()),
    ("stars", pa.int64()),
    ("licences", pa.list_(pa.string())),
    ("licence_source", pa.string()),
]
_VERDICT = [("action", pa.string()), ("reason", pa.string()), ("detail", pa.string())]

_BETWEEN_TASKS = [
    ("says", pa.string()),
    ("said_licences", pa.list_(pa.string())),
    ("similarity", pa.float64()),
    ("header_licences", pa.list_(pa.string())),
    ("row_licences", pa.list_(pa.string())),
    ("shard", pa.int32()),
    ("text", pa.int32()),
]

RECORDS = pa.schema([*_PROVENANCE, *_BETWEEN_TASKS, *_VERDICT])
SCHEMA = pa.schema([*_PROVENANCE, *_VERDICT])


def write_records(path: Path, shard: int, records: Sequence[FileRecord]) -> None:
    """Leave a shard's records for the next task."""
    _write(path, RECORDS, records, shard=shard)


def read_records(path: Path) -> list[FileRecord]:
    """What `write_records` wrote."""
    table = pq.read_table(path)
    names = [field.name for field in fields(FileRecord) if field.name != "verdict"]
    columns = [table.column(name).to_pylist() for name in names]
    verdicts = _verdicts(table)
    records = [FileRecord(*row) for row in zip(*columns, strict=True)]
    for record, verdict in zip(records, verdicts, strict=True):
        record.verdict = verdict
        record.said_licences = tuple(record.said_licences)
        record.header_licences = tuple(record.header_licences)
        record.row_licences = tuple(record.row_licences)
        record.licences = tuple(record.licences)
    return records


def write_ledger(path: Path, records: Sequence[FileRecord]) -> None:
    """Write a shard's part of the ledger; a record without a verdict is our bug."""
    assert all(record.verdict for record in records), f"{path}: a file without a verdict"
    _write(path, SCHEMA, records)


def _verdicts(table: pa.Table) -> Iterator[Verdict | None]:
    columns = [table.column(name).to_pylist() for name in ("action", "reason", "detail")]
    for action, reason, detail in zip(*columns, strict=True):
        yield None if action is None else Verdict(action, reason, detail)


def _write(path: Path, schema: pa.Schema, records: Sequence[FileRecord], *, shard: int = 0) -> None:
    columns: dict[str, Any] = {"shard": [shard] * len(records)}
    for name, _ in _VERDICT:
        columns[name] = [getattr(record.verdict, name, None) for record in records]
    for field in fields(FileRecord):
        if field.name != "verdict":
            columns[field.name] = [getattr(record, field.name) for record in records]
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
