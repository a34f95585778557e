"""Spools, the ledger and the Parquet shards."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from derailleur.corpus.documents import SCHEMA, Document, read_documents, write_documents
from derailleur.corpus.ledger import (
    KEPT,
    FileRecord,
    Says,
    Verdict,
    read_records,
    write_ledger,
    write_records,
)
from derailleur.corpus.spool import Ragged, Spool
from derailleur.errors import DataError


def test_a_spool_gives_back_its_rows(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", np.uint64) as spool:
        spool.append(np.array([1, 2], np.uint64).tobytes())
        spool.append(b"")
        spool.append(np.array([3], np.uint64).tobytes())
        rows = spool.finish()
    assert [rows[index].tolist() for index in range(len(rows))] == [[1, 2], [], [3]]


def test_an_empty_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", np.uint8) as spool:
        spool.append(b"")
        rows = spool.finish()
    assert len(rows) == 1
    assert rows[0].tolist() == []


def test_mapped_rows_are_those_that_were_kept(tmp_path: Path) -> None:
    for name, rows in (("none", []), ("empty", [b""]), ("some", [b"ab", b"", b"cde"])):
        with Spool(tmp_path / name, np.uint8) as spool:
            for row in rows:
                spool.append(row)
            spool.finish(keep_offsets=True)
        mapped = Ragged.mapped(tmp_path / name, np.uint8)
        assert [mapped[index].tobytes() for index in range(len(mapped))] == rows


def records() -> list[FileRecord]:
    return [
        FileRecord("r", "a.py", 3, "s", language="Python", sha256=b"x" * 32, text=0, verdict=KEPT),
        FileRecord("r", "LICENSE", 9, "s", says=Says.LICENCE_FILE, said_licences=("MIT",), similarity=0.97),
        FileRecord("r", "é.py", 5, "s", stars=7, verdict=Verdict("quarantined", "binary", "NUL at byte 3")),
    ]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", 4, records())
    assert read_records(tmp_path / "r.parquet") == records()
    write_records(tmp_path / "none.parquet", 4, [])
    assert read_records(tmp_path / "none.parquet") == []


def test_a_ledger_wants_a_verdict_for_every_file(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a file without a verdict"):
        write_ledger(tmp_path / "ledger.parquet", records())
    write_ledger(tmp_path / "ledger.parquet", [record for record in records() if record.verdict])
    rows = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    assert [(row["path"], row["action"], row["reason"], row["detail"]) for row in rows] == [
        ("a.py", "kept", "", ""),
        ("é.py", "quarantined", "binary", "NUL at byte 3"),
    ]


def documents(number: int) -> list[Document]:
    return [
        Document(
            id=f"{n:064x}",
            repository="r",
            path=f"{n}.py",
            language="Python",
            split="heldout" if n < 2 else "train",
            licence="MIT",
            stars=None if n % 2 else n,
            content=f"# é {n}\r\n".encode(),
        )
        for n in range(number)
    ]


def test_documents_are_written_in_row_groups(tmp_path: Path) -> None:
    rows = documents(20)
    shard = tmp_path / "documents-00000.parquet"
    write_documents(iter(rows[:15]), shard, row_group_bytes=40)
    write_documents(iter(rows[15:]), tmp_path / "documents-00001.parquet", row_group_bytes=40)
    file = pq.ParquetFile(shard)
    assert file.schema_arrow.equals(SCHEMA)
    assert file.num_row_groups > 1
    for row in file.read().to_pylist():
        assert row["num_bytes"] == len(row["content"].encode())
    assert list(read_documents(tmp_path)) == rows
    assert list(read_documents(tmp_path, "heldout")) == rows[:2]
    assert next(read_documents(tmp_path, "train")).text == "# é 2\r\n"


def test_a_shard_without_documents_still_has_its_columns(tmp_path: Path) -> None:
    write_documents(iter(()), tmp_path / "documents-00000.parquet", row_group_bytes=1)
    assert list(read_documents(tmp_path)) == []


def test_unreadable_shards_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no documents-\*\.parquet"):
        next(read_documents(tmp_path))
    shard = tmp_path / "documents-00000.parquet"
    write_documents(iter(documents(5)), shard, row_group_bytes=10**6)
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"documents-00000\.parquet: cannot be read"):
        next(read_documents(tmp_path))
