"""Measure files of shards and the volume table against plain Python."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from derailleur.corpus.filters import FilterConfig, Filters, volume_table, write_measures
from derailleur.errors import DataError


@dataclass
class Text:
    content: bytes
    language: str = "Python"
    stars: int | None = None


@pytest.fixture(scope="module")
def judged() -> tuple[Filters, list]:
    filters = Filters(FilterConfig(order=("stars", "basic", "comments")))
    generator = np.random.default_rng(0)
    documents = []
    for number in range(500):
        lines = ["# comment"] * int(generator.integers(0, 20)) + ["x = 1"] * int(generator.integers(0, 60))
        lines.append("y" * int(generator.integers(0, 1100)))
        text = Text("\n".join(lines).encode(), ("Python", "Ruby")[number % 2], int(generator.integers(0, 30)))
        documents.append((len(text.content), text.language, filters.judge(text)))
    return filters, documents


def write_shards(folder: Path, filters: Filters, documents: list, size: int) -> list[Path]:
    paths = []
    for first in range(0, len(documents), size):
        paths.append(folder / f"measures-{first // size:05d}.parquet")
        write_measures(paths[-1], filters.steps, iter(documents[first : first + size]))
    return paths


def test_table_equals_plain_python(tmp_path: Path, judged: tuple[Filters, list]) -> None:
    filters, documents = judged
    rows = volume_table(write_shards(tmp_path, filters, documents, 64), scratch=tmp_path)
    assert [(row.filter, row.reason) for row in rows] == [
        ("stars", "stars"),
        ("basic", "long_line"),
        ("basic", "mean_line_length"),
        ("basic", "alphanumeric_share"),
        ("comments", "comments"),
    ]
    left = documents
    for row in rows:
        removed = [d for d in left if d[2].verdict and d[2].verdict.reason == row.reason]
        assert (row.files_before, row.bytes_before) == (len(left), sum(d[0] for d in left))
        assert (row.files_removed, row.bytes_removed) == (len(removed), sum(d[0] for d in removed))
        values = [d[2].measures[row.measure] for d in documents if row.measure in d[2].measures]
        expected = np.percentile(values, list(row.percentiles), method="inverted_cdf")
        assert list(row.percentiles.values()) == expected.tolist()
        left = [d for d in left if d not in removed]
    assert rows[0].files_removed > 0
    assert rows[-1].files_removed > 0
    assert list(rows[-1].percentiles) == [20, 22, 25, 80, 95, 99]


def test_table_does_not_depend_on_shards_or_memory(tmp_path: Path, judged: tuple[Filters, list]) -> None:
    filters, documents = judged
    tables = []
    for size in (7, 500):
        (tmp_path / str(size)).mkdir()
        paths = write_shards(tmp_path / str(size), filters, documents, size)
        tables.append(volume_table(paths[::-1], scratch=tmp_path, memory_limit="64MB"))
    assert tables[0] == tables[1]


def test_table_of_one_language(tmp_path: Path, judged: tuple[Filters, list]) -> None:
    filters, documents = judged
    rows = volume_table(write_shards(tmp_path, filters, documents, 500), scratch=tmp_path, language="Ruby")
    assert rows[0].files_before == 250
    assert (
        volume_table([tmp_path / "measures-00000.parquet"], scratch=tmp_path, language="Ada")[0].percentiles
        == {}
    )


def test_files_are_the_same_bytes_again(tmp_path: Path, judged: tuple[Filters, list]) -> None:
    filters, documents = judged
    for name in ("a", "b"):
        write_measures(tmp_path / name, filters.steps, iter(documents))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_foreign_files_are_named(tmp_path: Path, judged: tuple[Filters, list]) -> None:
    filters, documents = judged
    write_measures(tmp_path / "a.parquet", filters.steps, documents)
    write_measures(tmp_path / "b.parquet", Filters(FilterConfig()).steps, [])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    for other, message in (
        ("b", "measured by other filters"),
        ("c", "holds no measures"),
        ("d", "cannot be read"),
    ):
        path = tmp_path / f"{other}.parquet"
        with pytest.raises(DataError, match=f"{path}: {message}"):
            volume_table([tmp_path / "a.parquet", path], scratch=tmp_path)


def test_no_documents(tmp_path: Path) -> None:
    filters = Filters(FilterConfig())
    write_measures(tmp_path / "a.parquet", filters.steps, [])
    rows = volume_table([tmp_path / "a.parquet"], scratch=tmp_path)
    assert [row.files_before for row in rows] == [0] * len(rows)
