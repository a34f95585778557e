"""Rows of programs, and what is said of a bad file."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from derailleur.errors import DataError
from derailleur.evaluation.programs import Language, Row, read_rows

TESTS = {"id": "a", "language": "python", "program": "x = 1", "tests": "assert x == 1"}
STDIN = {"id": "b", "language": "java", "program": "class A {}", "stdin": "1\n", "expected": "2\n"}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_both_kinds_of_row(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "rows.jsonl", TESTS, STDIN))
    assert rows == [
        Row("a", Language.PYTHON, "x = 1", tests="assert x == 1"),
        Row("b", Language.JAVA, "class A {}", stdin="1\n", expected="2\n"),
    ]


def test_compressed_rows_with_blank_lines_between(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(f"\n{json.dumps(TESTS)}\n\n{json.dumps(STDIN)}".encode()))
    assert [row.id for row in read_rows(path)] == ["a", "b"]


@pytest.mark.parametrize("program", ["x = 1", "x = 1\n"])
def test_tests_begin_on_a_line_of_their_own(program: str) -> None:
    row = Row("a", Language.PYTHON, program, tests="assert x == 1")
    assert row.joined() == "x = 1\nassert x == 1"


def test_a_program_without_tests_is_joined_to_nothing() -> None:
    assert Row("a", Language.PYTHON, "print(2)\n", expected="2\n").joined() == "print(2)\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "rows.jsonl:2: not JSON"),
        ("[1]", "rows.jsonl:2: expected a JSON object, got list"),
        ("[" * 100_000, "rows.jsonl:2: not JSON"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", "rows.jsonl:2: not JSON"),
        (json.dumps(STDIN | {"id": 3}), "rows.jsonl:2: id: expected a string, got int"),
        (json.dumps(STDIN | {"id": "a"}), "rows.jsonl:2: id: 'a' is already the id of .*rows.jsonl:1"),
        (
            json.dumps(STDIN | {"language": "cobol"}),
            "2: language: unknown 'cobol'; known: python, javascript",
        ),
        (json.dumps(STDIN | {"tests": "x"}), "rows.jsonl:2: expected either the key 'tests', or 'stdin' and"),
        (
            json.dumps(TESTS | {"id": "b", "tests": None}),
            "rows.jsonl:2: tests: expected a string, got NoneType",
        ),
        (
            json.dumps(TESTS | {"id": "b", "program": "\ud800"}),
            "2: program: half a surrogate pair at character 0",
        ),
        (
            json.dumps({"id": "b", "language": "java", "expected": "", "program": ""}),
            "2: key 'stdin' is missing",
        ),
        (json.dumps({"id": "b", "language": "java", "tests": ""}), "2: key 'program' is missing"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "rows.jsonl", TESTS)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "rows.jsonl: the file is empty"),
        ("rows.jsonl", b"\n \n", "rows.jsonl: the file is empty"),
        ("rows.jsonl", b'{"id": "\xff"}\n', "rows.jsonl:1: not UTF-8 text"),
        ("rows.jsonl.gz", b"no gzip", "rows.jsonl.gz: not a gzipped file"),
        ("rows.jsonl.gz", gzip.compress(b"{}" * 99)[:-9], "rows.jsonl.gz: compressed file ended"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl: no such file or directory"):
        read_rows(tmp_path / "rows.jsonl")
