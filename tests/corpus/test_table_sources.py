"""Rows of Parquet and JSONL files as source files; what is damaged is told apart from the rest."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.sources import Entry, SourceConfig, Unit, open_sources, read_unit
from derailleur.corpus.sources.columns import columns_of, row_entry
from derailleur.corpus.sources.selection import Selection

STACK_V1 = {
    "hexsha": "f00",
    "size": 6,
    "ext": "py",
    "lang": "Python",
    "content": "x = 1\n",
    "max_stars_count": 191.0,
    "max_stars_repo_name": "octo/cat",
    "max_stars_repo_path": "src/a.py",
    "max_stars_repo_head_hexsha": "c0ffee",
    "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
}
STACK_V2 = {
    "content": "x = 1\n",
    "repo_name": "octo/cat",
    "path": "/src/a.py",
    "language": "Python",
    "star_events_count": 7,
    "detected_licenses": ["MIT"],
    "revision_id": "c0ffee",
}


def units(path: Path, unit_bytes: int = 1 << 25, **keys: object) -> list[list[Entry]]:
    config = SourceConfig.model_validate(keys)
    [source] = open_sources([path], config, out=path.parent / "out")
    parts = [Unit.from_json(unit.to_json()) for unit in source.units(unit_bytes)]
    entries = [list(read_unit(unit, config)) for unit in parts]
    return entries


def read(path: Path, unit_bytes: int = 1 << 25, **keys: object) -> list[Entry]:
    return [entry for unit in units(path, unit_bytes, **keys) for entry in unit]


def told(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.repository,
        entry.path,
        entry.data,
        entry.stars,
        entry.licences,
        entry.language,
        entry.revision,
    )


V1_ENTRY = ("octo/cat", "src/a.py", b"x = 1\n", 191, ("MIT", "Apache-2.0"), "Python", "c0ffee")
V2_ENTRY = ("octo/cat", "src/a.py", b"x = 1\n", 7, ("MIT",), "Python", "c0ffee")


@pytest.mark.parametrize(("row", "expected"), [(STACK_V1, V1_ENTRY), (STACK_V2, V2_ENTRY)])
def test_the_stacks_columns_are_understood(
    row: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "stack.parquet")
    (tmp_path / "stack.jsonl").write_text(json.dumps(row) + "\n")
    [parquet], [jsonl] = read(tmp_path / "stack.parquet"), read(tmp_path / "stack.jsonl")
    assert told(parquet) == told(jsonl) == expected
    assert (parquet.origin, jsonl.origin) == ("stack.parquet row 0", "stack.jsonl:1")


def test_a_row_with_content_alone_is_a_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["a", "b"], "ext": [".py", None]}), tmp_path / "rows.parquet")
    assert [(entry.repository, entry.path) for entry in read(tmp_path / "rows.parquet")] == [
        ("rows", "00000000.py"),
        ("rows", "00000001"),
    ]


@given(
    st.dictionaries(
        st.sampled_from([*STACK_V1, *STACK_V2]), st.none() | st.floats() | st.text() | st.lists(st.text())
    )
)
def test_whatever_the_other_columns_hold_a_row_has_an_entry(row: dict[str, Any]) -> None:
    values = {meaning: row[column] for meaning, column in columns_of(row).items()} | {"content": b"x"}
    entry = row_entry(values, table="t", number=3, origin="o", selection=Selection(SourceConfig()))
    assert entry.path and entry.repository
    json.dumps([entry.path, entry.stars, entry.licences]).encode()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_contents_are_bytes_whatever_the_column_calls_them(kind: pa.DataType, tmp_path: Path) -> None:
    latin = pa.array([b"caf\xe9", b"x", None, b"y" * 200], pa.binary())
    if kind != pa.binary():
        valid = pa.array(["caf", "x", None, "y" * 200], pa.string())
        column = (
            valid.cast(kind)
            if pa.types.is_dictionary(kind)
            else latin.view(pa.string()).cast(kind, safe=False)
        )
    else:
        column = latin
    pq.write_table(pa.table({"content": column}), tmp_path / "t.parquet")
    entries = read(tmp_path / "t.parquet", max_file_bytes=100)
    assert [entry.data for entry in entries] == [
        b"caf" if pa.types.is_dictionary(kind) else b"caf\xe9",
        b"x",
        None,
        None,
    ]
    assert [entry.verdict.reason for entry in entries if entry.verdict] == ["no_content", "too_large"]


def stack(path: Path, num_groups: int = 6) -> list[str]:
    contents = [f"x{group}_{row} = {group * row}\n" * 300 for group in range(num_groups) for row in range(20)]
    pq.write_table(
        pa.table({"content": contents}), path, row_group_size=20, compression="zstd", use_dictionary=False
    )
    return contents


def test_units_are_runs_of_row_groups(tmp_path: Path) -> None:
    contents = stack(tmp_path / "t.parquet")
    one_by_one, pairs = units(tmp_path / "t.parquet", 1), units(tmp_path / "t.parquet", 150_000)
    assert (len(one_by_one), len(units(tmp_path / "t.parquet"))) == (6, 1)
    assert 1 < len(pairs) < 6
    for cut in (one_by_one, pairs):
        entries = [entry for unit in cut for entry in unit]
        assert [entry.data for entry in entries] == [text.encode() for text in contents]
        assert [entry.origin for entry in entries] == [f"t.parquet row {n}" for n in range(120)]


def test_a_damaged_row_group_spoils_the_file_unless_the_rest_is_to_be_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    contents = stack(path)
    chunk = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + 50] = bytes(50)
    path.write_bytes(data)
    [entry] = read(path, 1)
    assert entry.verdict and (entry.path, entry.verdict.reason) == ("t.parquet", "corrupt_parquet")
    salvaged = units(path, 1, salvage=True)
    assert [len(unit) for unit in salvaged] == [20, 20, 1, 20, 20, 20]
    [damaged] = salvaged.pop(2)
    assert damaged.verdict and damaged.verdict.detail.startswith("row group 2: ")
    assert [entry.data for unit in salvaged for entry in unit] == [
        text.encode() for text in contents[:40] + contents[60:]
    ]


@pytest.mark.parametrize("salvage", [False, True])
def test_a_file_without_footer_or_contents_is_one_entry(salvage: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    stack(path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"PAR1", whole[:-100] + bytes(92) + whole[-8:]):
        path.write_bytes(data)
        [entry] = read(path, salvage=salvage)
        assert entry.verdict and entry.verdict.reason == "corrupt_parquet"
        assert "\n" not in entry.verdict.detail
    for table, detail in (
        (pa.table({"body": ["x"]}), "no column 'content' among body"),
        (pa.table({"content": [1]}), "column 'content' holds int64, expected text"),
    ):
        pq.write_table(table, path)
        [entry] = read(path, salvage=salvage)
        assert entry.verdict and entry.verdict.detail == detail


def lines(rows: Sequence[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


BAD_LINES = {
    b'{"content": "\xff"}': ("not_utf8", "0xff at byte 13 of the line"),
    b'{"content": "\\ud800"}': ("not_utf8", "half a surrogate pair"),
    b'{"content": "x"': ("not_json", "Expecting ',' delimiter: line 1 column 16 (char 15)"),
    b"[1]": ("not_json", "expected an object, got list"),
    b'{"body": "x"}': ("no_content", "no content among body"),
    b'{"content": 1}': ("no_content", "no content of type int"),
    b"[" * 100_000: ("not_json", None),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_bad_line_is_quarantined_alone_and_named(suffix: str, tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + lines([{"content": "first"}]) + b"\n"
    for bad in BAD_LINES:
        data += bad + b"\n" + lines([{"content": "good"}])
    data = data.rstrip(b"\n")
    pack = {
        ".jsonl": bytes,
        ".gz": gzip.compress,
        ".zst": lambda raw: pa.Codec("zstd").compress(raw, asbytes=True),
    }
    (tmp_path / f"t{suffix}").write_bytes(pack[Path(f"t{suffix}").suffix](data))
    entries = read(tmp_path / f"t{suffix}")
    assert [entry.data for entry in entries[::2]] == [b"first", *[b"good"] * (len(BAD_LINES))]
    for number, (entry, (reason, detail)) in enumerate(zip(entries[1::2], BAD_LINES.values(), strict=True)):
        assert entry.verdict and (entry.verdict.action, entry.verdict.reason) == ("quarantined", reason)
        assert detail is None or entry.verdict.detail == detail
        assert entry.path == entry.origin == f"t{suffix}:{3 + 2 * number}"


@settings(max_examples=50, deadline=None)
@given(
    contents=st.lists(st.text(max_size=30), max_size=30), unit_bytes=st.integers(1, 400), ends=st.booleans()
)
def test_byte_ranges_give_the_same_rows(
    contents: list[str], unit_bytes: int, ends: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "t.jsonl"
    rows = lines([{"content": content} for content in contents])
    path.write_bytes(rows if ends else rows.removesuffix(b"\n"))
    entries = read(path, unit_bytes)
    assert [entry.data for entry in entries] == [content.encode() for content in contents]
    assert [entry.origin for entry in entries] == [f"t.jsonl:{n}" for n in range(1, len(contents) + 1)]


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    data = lines([{"content": "x" * 3_000_000}, {"content": "y"}])
    (tmp_path / "t.jsonl").write_bytes(data)
    long, short = read(tmp_path / "t.jsonl", max_file_bytes=10)
    assert long.verdict and long.verdict.reason == "too_large"
    assert short.data == b"y"


def test_a_compressed_file_that_was_cut_off_is_one_entry_unless_salvaged(tmp_path: Path) -> None:
    whole = gzip.compress(lines([{"content": f"{number:09d}" * 50} for number in range(2000)]))
    (tmp_path / "t.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    [entry] = read(tmp_path / "t.jsonl.gz")
    assert entry.verdict and entry.verdict.reason == "corrupt_archive"
    *good, last = read(tmp_path / "t.jsonl.gz", salvage=True)
    assert len(good) > 100 and all(entry.data for entry in good[:-1])
    assert last.verdict and last.verdict.reason == "corrupt_archive"


def test_one_text_many_times_takes_the_memory_of_one(tmp_path: Path) -> None:
    text = "x = 1\n" * 100_000
    table = pa.table({"content": [text] * 5000, "path": [f"{number}.py" for number in range(5000)]})
    pq.write_table(table, tmp_path / "same.parquet", dictionary_pagesize_limit=1 << 20)
    entries = read(tmp_path / "same.parquet")
    assert len(entries) == 5000
    assert len({id(entry.data) for entry in entries}) <= 10  # 3 GB if each were its own


def test_a_table_that_unpacks_to_too_much_is_a_bomb(tmp_path: Path) -> None:
    rows = {"content": [" " * 500_000 + str(number) for number in range(20)]}
    pq.write_table(pa.table(rows), tmp_path / "bomb.parquet", compression="zstd", use_dictionary=False)
    for salvage in (False, True):
        [entry] = read(tmp_path / "bomb.parquet", salvage=salvage)
        assert entry.verdict is not None
        assert (entry.verdict.action, entry.verdict.reason) == ("quarantined", "bomb")


@pytest.mark.parametrize("stars", [1e30, 10**400, -(10**30), "many", [3], None])
def test_no_number_of_stars_is_none(stars: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"content": "x = 1\n", "stars": stars}) + "\n")
    [entry] = read(tmp_path / "rows.jsonl")
    assert (entry.data, entry.stars) == (b"x = 1\n", None)


def test_a_table_that_vanishes_after_it_was_listed_is_quarantined(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["x = 1\n"]}), tmp_path / "rows.parquet")
    config = SourceConfig()
    [source] = open_sources([tmp_path / "rows.parquet"], config, out=tmp_path / "out")
    [unit] = source.units(1 << 20)
    (tmp_path / "rows.parquet").unlink()
    [entry] = read_unit(unit, config)
    assert entry.verdict is not None and entry.verdict.action == "quarantined"
    [gone] = source.units(1 << 20)
    [entry] = read_unit(gone, config)
    assert entry.verdict is not None and entry.verdict.action == "quarantined"
