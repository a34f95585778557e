import gzip
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from derailleur.corpus.metadata import Metadata, RepositoryMetadata
from derailleur.errors import DataError

ROWS = [
    {
        "repository": "Anna/Tools",
        "stars": 5,
        "licences": ["MIT", "Apache-2.0"],
        "opted_out": False,
        "more": 1,
    },
    {"repository": "bob/x", "stars": 0, "licences": ["GPL-3.0"], "opted_out": True, "more": 2},
    {"repository": "carl/y", "stars": None, "licences": [], "opted_out": None, "more": 3},
]
EXPECTED = {
    "anna/tools": Metadata(5, ("MIT", "Apache-2.0"), False),
    "BOB/x": Metadata(0, ("GPL-3.0-only",), True),
    "carl/y": Metadata(),
}
WANTED = [*EXPECTED, "nobody/z"]


def write(path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    if ".csv" in path.name:
        lines = [
            "repository,stars,license,opted_out",
            "Anna/Tools,5,MIT;Apache-2.0,false",
            "bob/x,0,GPL-3.0,true",
            "carl/y,,,",
        ]
    else:
        lines = [json.dumps(row) for row in ROWS]
    data = ("\n".join(lines) + "\n").encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = pa.Codec("zstd").compress(data, asbytes=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "name",
    ["t.parquet", "t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz", "t.jsonl.zst", "a[1]*.parquet", "v1.2.csv"],
)
def test_every_kind_of_table(tmp_path: Path, name: str) -> None:
    assert RepositoryMetadata(write(tmp_path / name)).lookup(WANTED) == EXPECTED


def test_the_columns_of_the_stack(tmp_path: Path) -> None:
    rows = [
        {"max_stars_repo_name": "a/b", "max_stars_count": 3.0, "max_stars_repo_licenses": ["MIT"]},
        {"max_stars_repo_name": "a/b", "max_stars_count": None, "max_stars_repo_licenses": ["MIT", "ISC"]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert RepositoryMetadata(tmp_path / "t.parquet").lookup(["a/b"]) == {"a/b": Metadata(3, ("ISC", "MIT"))}


def test_licences_in_words_and_names_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "repo,license\na/b,\"['MIT', 'BSD-3-Clause']\"\nc/d,Whatever\ne/f,other\n"
    )
    found = RepositoryMetadata(tmp_path / "t.csv").lookup(["a/b", "c/d", "e/f"])
    assert found["a/b"].licences == ("MIT", "BSD-3-Clause")
    assert found["c/d"].licences == ("LicenseRef-unknown",)
    assert found["e/f"].licences == ()


def test_no_repositories_are_no_rows(tmp_path: Path) -> None:
    assert RepositoryMetadata(write(tmp_path / "t.parquet")).lookup([]) == {}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"name,stars\na/b,1\n", "no column of repositories"),
        ("t.parquet", b"PAR1 and no more", "t.parquet: "),
        ("t.jsonl", b'{"repository": "a/b"\n', "t.jsonl: "),
        ("t.xlsx", b"", "expected .parquet, .csv or .jsonl"),
    ],
)
def test_a_table_that_is_none_gives_one_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        RepositoryMetadata(tmp_path / name).lookup(["a/b"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        RepositoryMetadata(tmp_path / "t.csv")


@pytest.mark.parametrize("stars", ["many", "1e30", "inf", "nan"])
def test_stars_that_are_no_number_are_named(stars: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"repository,stars\na/b,{stars}\n")
    with pytest.raises(DataError, match=f"a/b: expected a number of stars, got '{stars}'"):
        RepositoryMetadata(tmp_path / "t.csv").lookup(["a/b"])


def test_a_lookup_that_is_stopped_is_no_damage_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = RepositoryMetadata(write(tmp_path / "t.csv"))

    def stopped(**_: object) -> None:
        raise duckdb.InterruptException("Interrupted!")

    monkeypatch.setattr(duckdb, "connect", stopped)
    with pytest.raises(KeyboardInterrupt):
        table.lookup(WANTED)
