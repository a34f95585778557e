import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from derailleur.errors import DataError
from derailleur.tokens.documents import Document, read_documents, unit_hash


def read(corpus: Path, heldout_fraction: float = 0.0) -> list[Document]:
    return list(read_documents(corpus, heldout_fraction=heldout_fraction))


def jsonl(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_curate_folder_gives_its_documents_alone(corpus: Path) -> None:
    documents = read(corpus)
    assert [document.path for document in documents][-3:] == ["empty.py", "controls.py", "unicode.py"]
    assert {document.path for document in documents if document.split == "heldout"} == {
        "textwrap.py",
        "package/scanner.py",
    }
    assert all(document.num_bytes == len(document.content.encode()) for document in documents)


def test_an_unfinished_curate_folder(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{}")
    with pytest.raises(DataError, match=r"no manifest\.json; this stage did not finish"):
        read(tmp_path)


def test_any_parquet_and_jsonl_files_in_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    pq.write_table(pa.table({"content": ["a"], "path": [None]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_bytes(jsonl({"content": "b", "id": 7, "path": "b.py"}) + b"\n")
    (tmp_path / "deep/c.jsonl.gz").write_bytes(gzip.compress(jsonl({"content": "c"})))
    with pa.output_stream(str(tmp_path / "deep/d.jsonl.zst"), compression="zstd") as stream:
        stream.write(jsonl({"content": "é\x85"}))
    (tmp_path / "README.md").write_text("no document")
    documents = read(tmp_path)
    assert [document.content for document in documents] == ["a", "b", "c", "é\x85"]
    assert (documents[1].id, documents[1].path) == ("7", "b.py")
    assert documents[0].id == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert read(tmp_path / "b.jsonl") == documents[1:2]


def test_a_share_is_held_out_by_path(tmp_path: Path) -> None:
    rows = [{"content": "x", "path": f"{n}.py"} for n in range(2000)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(*rows))
    heldout = {document.path for document in read(tmp_path, 0.2) if document.split == "heldout"}
    assert 300 < len(heldout) < 500
    assert heldout == {row["path"] for row in rows if unit_hash(row["path"]) < 0.2}
    (tmp_path / "a.jsonl").write_bytes(jsonl(*reversed(rows)))
    assert heldout == {document.path for document in read(tmp_path, 0.2) if document.split == "heldout"}
    assert not any(document.split == "heldout" for document in read(tmp_path, 0.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"content": "a"}\n{"text": "b"}\n', r"a\.jsonl:2: expected a JSON object with a key 'content'"),
        (b'["content"]\n', r"a\.jsonl:1: expected a JSON object"),
        (b'{"content": "a"}\n{"content": \n', r"a\.jsonl:2: not JSON"),
        (b'{"content": "\xff"}\n', r"a\.jsonl:1: not JSON"),
        (b'{"content": 5}\n', r"a\.jsonl:1: column 'content' holds int, expected text"),
        (b'{"content": "\\ud800"}\n', r"a\.jsonl:1: column 'content' holds half a surrogate pair"),
        (b'{"content": "a", "split": "test"}\n', r"a\.jsonl:1: column 'split' holds 'test', expected train"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_bad_parquet_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "id": ["1"]}), file)
    with pytest.raises(DataError, match=r"a\.parquet: no column 'content'; it has text, id"):
        read(tmp_path)
    pq.write_table(pa.table({"content": ["a", None]}), file)
    with pytest.raises(DataError, match=r"a\.parquet: row 2: column 'content' holds NoneType"):
        read(tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        read(tmp_path)


def test_truncated_compression_is_named(tmp_path: Path) -> None:
    rows = jsonl(*({"content": f"{n * 7919}"} for n in range(5000)))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows)[:5000])
    with pytest.raises(
        DataError, match=r"a\.jsonl\.gz: cannot be read after line \d+|a\.jsonl\.gz:\d+: not JSON"
    ):
        read(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no documents; expected \.parquet or \.jsonl"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no documents"):
        read(tmp_path / "a.txt")
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "missing")
