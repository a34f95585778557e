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

from derailleur.corpus import dedup as dedup_module
from derailleur.corpus import rows as rows_module
from derailleur.corpus.dedup import dedup
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.corpus.rows import read_batches
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
    "a": ("b-copy", 91 / 96),
    "z-copy": ("b-copy", 91 / 96),
    "b": ("b-copy", 1.0),
    "b-copy": ("b-copy", 1.0),
    "other": ("other", 1.0),
    "short": ("short-copy", 1.0),
    "short-copy": ("short-copy", 1.0),
    "short-too": ("short-too", 1.0),
}
SURVIVORS = ("b-copy", "other", "short-copy", "short-too")


def write_jsonl(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def clusters(out: Path) -> dict[str, tuple[str, float]]:
    rows = pq.read_table(out / "clusters.parquet").to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: (row["survivor"], row["similarity"]) for row in rows}


def run(files: list[Path], out: Path, **keys: Any) -> dict[str, Any]:
    return dedup(NearDedupConfig(), files, out, **{"num_workers": 1, **keys})


def test_rows_kept_and_clusters(tmp_path: Path) -> None:
    results = run([write_jsonl(tmp_path / "r.jsonl", ROWS)], tmp_path / "out")
    assert results == {"rows": 8, "kept": 4, "dropped": {"exact_duplicate": 3, "near_duplicate": 1}}
    assert clusters(tmp_path / "out") == CLUSTERS
    kept = pq.read_table(tmp_path / "out/kept.parquet").to_pylist()
    assert kept == [row for row in ROWS if row["id"] in SURVIVORS]
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
    run(files, tmp_path / "out", num_workers=2 if form == "several files" else 1)
    assert clusters(tmp_path / "out") == CLUSTERS
    kept = pq.read_table(tmp_path / "out/kept.parquet").to_pylist()
    assert kept == [row for row in rows if row["id"] in SURVIVORS]


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


def test_rank_without_stars_goes_by_repository_path_and_id(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "1", "content": words(0, 50), "repository": "b", "path": "a"},
        {"id": "2", "content": words(0, 51), "repository": "a", "path": "b"},
        {"id": "3", "content": words(0, 52), "repository": "a", "path": "a"},
        {"id": "0", "content": words(0, 53), "repository": "a", "path": "b"},
    ]
    run([write_jsonl(tmp_path / "r.jsonl", rows)], tmp_path / "out")
    assert {survivor for survivor, _ in clusters(tmp_path / "out").values()} == {"3"}


def test_the_stack_says_its_stars_by_another_name(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "1", "content": words(0, 50), "max_stars_count": None},
        {"id": "2", "content": words(0, 51), "max_stars_count": 3},
    ]
    run([write_jsonl(tmp_path / "r.jsonl", rows)], tmp_path / "out")
    assert {survivor for survivor, _ in clusters(tmp_path / "out").values()} == {"2"}


def test_short_rows_go_where_the_profile_drops_them(tmp_path: Path) -> None:
    config = NearDedupConfig(profile="santacoder-alt")
    results = dedup(config, [write_jsonl(tmp_path / "r.jsonl", ROWS)], tmp_path / "out", num_workers=1)
    assert results["dropped"] == {"exact_duplicate": 2, "near_duplicate": 1, "short": 3}
    assert clusters(tmp_path / "out")["short-copy"] == (None, None)
    assert results["rows"] == results["kept"] + 6


def test_many_shards_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_jsonl(
        tmp_path / "r.jsonl", [{**row, "id": f"{row['id']}{n}"} for n in range(70) for row in ROWS]
    )
    results = run([file], tmp_path / "whole")
    monkeypatch.setattr(dedup_module, "_SHARD_BYTES", 1)
    assert run([file], tmp_path / "cut") == results
    for name in ("kept.parquet", "clusters.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (f'"n": {"[" * 100_000}{"]" * 100_000}', ":1: not JSON: maximum recursion depth"),
        (f'"n": {"1" * 5000}', ":1: not JSON: Exceeds the limit"),
        (f'"n": {2**70}', ": key 'n' does not make a column"),
        ('"n\\ud800": 1', r": key 'n\\ud800' does not make a column"),
    ],
)
def test_hostile_json(tmp_path: Path, rest: str, message: str) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text(f'{{"id": "a", "content": "x", {rest}}}\n')
    with pytest.raises(DataError, match=rf"h\.jsonl{message}"):
        run([path], tmp_path / "out")


def test_long_rows_come_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_BATCH_BYTES", 3000)
    rows = [{"id": str(number), "content": "x" * 1000} for number in range(20)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "long.parquet", use_dictionary=False)
    for path in (write_jsonl(tmp_path / "long.jsonl", rows), tmp_path / "long.parquet"):
        batches = list(read_batches(path))
        assert [row for batch in batches for row in batch.to_pylist()] == rows
        assert max(map(len, batches)) <= 3


def test_bad_rows_are_one_line_errors(tmp_path: Path) -> None:
    twice = write_jsonl(tmp_path / "twice.jsonl", [ROWS[0], ROWS[0]])
    with pytest.raises(DataError, match=r"twice\.jsonl: id 'z-copy' appears twice"):
        run([twice], tmp_path / "out")
    mixed = write_jsonl(
        tmp_path / "m.jsonl", [{"id": 1, "content": "", "n": 1}, {"id": 2, "content": "", "n": "x"}]
    )
    with pytest.raises(DataError, match=r"m\.jsonl: key 'n' does not make a column: Could not convert"):
        run([mixed], tmp_path / "out")
    number = write_jsonl(tmp_path / "1.jsonl", [{"id": 1, "content": "", "n": 1}])
    text = write_jsonl(tmp_path / "2.jsonl", [{"id": 2, "content": "", "n": "x"}])
    with pytest.raises(DataError, match=r"2\.jsonl: columns do not fit those before"):
        run([number, text], tmp_path / "out")
    twice_named = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["id", "id", "content"])
    pq.write_table(twice_named, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"2 times column 'id'; it has id, id, content"):
        run([tmp_path / "twice.parquet"], tmp_path / "out")
    (tmp_path / "empty.jsonl").write_text("\n")
    stars = write_jsonl(tmp_path / "stars.jsonl", [{"id": 1, "content": "", "stars": "many"}])
    with pytest.raises(
        DataError, match=r"stars\.jsonl: column 'stars' must hold int64 for the rank, got string"
    ):
        run([stars], tmp_path / "out")
    with pytest.raises(DataError, match="no rows"):
        run([tmp_path / "empty.jsonl"], tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a \.parquet or \.jsonl file"):
        run([Path(__file__)], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
