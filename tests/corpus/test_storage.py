"""Spools, the ordered map, the ledger and the Parquet shards."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from derailleur.corpus.documents import SCHEMA, Document, read_documents, write_documents
from derailleur.corpus.ledger import KEPT, Ledger, Verdict
from derailleur.corpus.parallel import ordered_map
from derailleur.corpus.spool import Spool
from derailleur.errors import DataError


def test_a_spool_gives_back_its_rows(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", np.uint64) as spool:
        spool.append(np.array([1, 2], np.uint64).tobytes())
        spool.append(b"")
        spool.extend(np.array([3, 4, 5], np.uint64), np.array([1, 0, 2]))
        rows = spool.finish()
    assert [rows[index].tolist() for index in range(len(rows))] == [[1, 2], [], [3], [], [4, 5]]


def test_an_empty_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", np.uint8) as spool:
        spool.append(b"")
        rows = spool.finish()
    assert len(rows) == 1
    assert rows[0].tolist() == []


def test_an_ordered_map_keeps_order_and_does_not_run_ahead() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            started.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    results = ordered_map(work, range(100), num_threads=2)
    assert next(results) == 0
    assert len(started) <= 8, "four tasks a thread"
    assert [0, *results] == [item * item for item in range(100)]


def test_an_ordered_map_passes_errors_on() -> None:
    def work(item: int) -> float:
        return 1 / (item - 3)

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(work, range(10), num_threads=2))


def entry(path: str) -> SimpleNamespace:
    return SimpleNamespace(repository="r", path=path, num_bytes=3, split="train")


def test_a_ledger_wants_exactly_one_verdict_a_file(tmp_path: Path) -> None:
    ledger = Ledger([entry("a"), entry("b"), entry("c")])
    ledger.record(0, KEPT)
    ledger.record(2, Verdict("dropped", "empty"))
    with pytest.raises(AssertionError, match="1 files without a verdict"):
        ledger.write(tmp_path / "ledger.parquet")
    with pytest.raises(AssertionError, match="two verdicts for a"):
        ledger.record(0, KEPT)
    ledger.record(1, Verdict("quarantined", "binary", "NUL at byte 3"))
    ledger.write(tmp_path / "ledger.parquet")
    rows = pq.read_table(tmp_path / "ledger.parquet").to_pylist()
    assert [(row["path"], row["action"], row["reason"], row["detail"]) for row in rows] == [
        ("a", "kept", "", ""),
        ("b", "quarantined", "binary", "NUL at byte 3"),
        ("c", "dropped", "empty", ""),
    ]
    assert ledger.reasons("dropped") == {"empty": 1}


def documents(number: int) -> list[Document]:
    return [
        Document(
            f"{n:064x}", "r", f"{n}.py", "Python", "heldout" if n < 2 else "train", f"# é {n}\r\n".encode()
        )
        for n in range(number)
    ]


def test_documents_are_written_in_shards_and_row_groups(tmp_path: Path) -> None:
    rows = documents(20)
    num_shards = write_documents(iter(rows), tmp_path, shard_bytes=100, row_group_bytes=40)
    shards = sorted(tmp_path.glob("documents-*.parquet"))
    assert num_shards == len(shards) > 1
    for shard in shards:
        file = pq.ParquetFile(shard)
        assert file.schema_arrow.equals(SCHEMA)
        assert file.num_row_groups > 1 or shard == shards[-1]
        for row in file.read().to_pylist():
            assert row["num_bytes"] == len(row["content"].encode())
    assert list(read_documents(tmp_path)) == rows
    assert list(read_documents(tmp_path, "heldout")) == rows[:2]
    assert next(read_documents(tmp_path, "train")).text == "# é 2\r\n"


def test_an_empty_corpus_still_has_a_shard(tmp_path: Path) -> None:
    assert write_documents(iter(()), tmp_path, shard_bytes=1, row_group_bytes=1) == 1
    assert list(read_documents(tmp_path)) == []


def test_unreadable_shards_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no documents-\*\.parquet"):
        next(read_documents(tmp_path))
    write_documents(iter(documents(5)), tmp_path, shard_bytes=10**6, row_group_bytes=10**6)
    shard = tmp_path / "documents-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"documents-00000\.parquet: cannot be read"):
        next(read_documents(tmp_path))
