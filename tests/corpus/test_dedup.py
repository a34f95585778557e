"""`dedup` on files: kept rows, clusters, and what does not change the answer."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from derailleur.corpus.dedup import dedup
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.errors import DataError

Row = dict[str, Any]


def words(begin: int, end: int) -> str:
    return " ".join(f"w{n}" for n in range(begin, end))


ROWS: list[Row] = [
    {"id": "z-copy", "content": words(0, 100), "path": "z.py", "stars": 1},
    {"id": "a", "content": words(0, 100), "path": "a.py", "stars": 2},
    {"id": "b", "content": words(5, 100), "path": "b.py", "stars": 3},
    {"id": "b-copy", "content": words(5, 100), "path": "c.py", "stars": 4},
    {"id": "other", "content": words(200, 300), "path": "d.py", "stars": 5},
    {"id": "short", "content": "a b", "path": "e.py", "stars": 6},
    {"id": "short-copy", "content": "a b", "path": "f.py", "stars": 7},
    {"id": "short-too", "content": "a b.", "path": "g.py", "stars": 8},
]
CLUSTERS = {
    "a": ("a", 1.0),
    "z-copy": ("a", 1.0),
    "b": ("a", 91 / 96),
    "b-copy": ("a", 91 / 96),
    "other": ("other", 1.0),
    "short": ("short", 1.0),
    "short-copy": ("short", 1.0),
    "short-too": ("short-too", 1.0),
}


def write_jsonl(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def clusters(out: Path) -> dict[str, tuple[str, float]]:
    rows = pq.read_table(out / "clusters.parquet").to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: (row["survivor"], row["similarity"]) for row in rows}


def run(files: list[Path], out: Path, **keys: Any) -> dict[str, Any]:
    return dedup(NearDedupConfig(), files, out, **keys)


def test_rows_kept_and_clusters(tmp_path: Path) -> None:
    results = run([write_jsonl(tmp_path / "r.jsonl", ROWS)], tmp_path / "out")
    assert results == {"rows": 8, "kept": 4, "dropped": {"exact_duplicate": 3, "near_duplicate": 1}}
    assert clusters(tmp_path / "out") == CLUSTERS
    kept = pq.read_table(tmp_path / "out/kept.parquet").to_pylist()
    assert kept == [row for row in ROWS if row["id"] in ("a", "other", "short", "short-too")]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"kept.parquet", "clusters.parquet"}


@pytest.mark.parametrize("form", ["parquet", "gzip", "several files"])
def test_the_form_and_the_order_of_the_input_do_not_matter(tmp_path: Path, form: str) -> None:
    rows = random.Random(form).sample(ROWS, len(ROWS))
    if form == "parquet":
        files = [tmp_path / "r.parquet"]
        pq.write_table(pa.Table.from_pylist(rows), files[0], row_group_size=3)
    elif form == "gzip":
        files = [tmp_path / "r.jsonl.gz"]
        files[0].write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        files = [write_jsonl(tmp_path / "1.jsonl", rows[:3]), tmp_path / "2.parquet"]
        pq.write_table(pa.Table.from_pylist(rows[3:]), files[1])
    run(files, tmp_path / "out", num_threads=3)
    assert clusters(tmp_path / "out") == CLUSTERS
    kept = pq.read_table(tmp_path / "out/kept.parquet").to_pylist()
    assert kept == [row for row in rows if row["id"] in ("a", "other", "short", "short-too")]


def test_columns_that_only_some_rows_have_become_nulls(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": 1, "content": "one"}, {"id": 2, "content": "two", "n": 5, "tags": ["x"]}]
    run([write_jsonl(tmp_path / f"{n}.jsonl", [row]) for n, row in enumerate(rows)], tmp_path / "out")
    kept = pq.read_table(tmp_path / "out/kept.parquet").to_pylist()
    assert kept == [
        {"id": "1", "content": "one", "n": None, "tags": None},
        {"id": "2", "content": "two", "n": 5, "tags": ["x"]},
    ]


def test_many_rows_pass_through_in_batches(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [
        {"id": f"{n}", "content": " ".join(map(str, generator.integers(0, 9999, 30)))} for n in range(700)
    ]
    copies = [{"id": f"c{n}", "content": rows[n]["content"] + " end"} for n in range(0, 700, 7)]
    results = run([write_jsonl(tmp_path / "r.jsonl", rows + copies)], tmp_path / "out")
    assert results["kept"] == 700
    assert pq.read_table(tmp_path / "out/kept.parquet")["id"].to_pylist() == [row["id"] for row in rows]
    assert clusters(tmp_path / "out")["c7"][0] == "7"


def test_bad_rows_are_one_line_errors(tmp_path: Path) -> None:
    twice = write_jsonl(tmp_path / "twice.jsonl", [ROWS[0], ROWS[0]])
    with pytest.raises(DataError, match=r"twice\.jsonl: id 'z-copy' appears twice"):
        run([twice], tmp_path / "out")
    mixed = write_jsonl(
        tmp_path / "m.jsonl", [{"id": 1, "content": "", "n": 1}, {"id": 2, "content": "", "n": "x"}]
    )
    with pytest.raises(DataError, match=r"m\.jsonl: values of one key differ in type"):
        run([mixed], tmp_path / "out")
    number = write_jsonl(tmp_path / "1.jsonl", [{"id": 1, "content": "", "n": 1}])
    text = write_jsonl(tmp_path / "2.jsonl", [{"id": 2, "content": "", "n": "x"}])
    with pytest.raises(DataError, match=r"2\.jsonl: columns do not fit those before"):
        run([number, text], tmp_path / "out")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no rows"):
        run([tmp_path / "empty.jsonl"], tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a \.parquet or \.jsonl file"):
        run([Path(__file__)], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
