from pathlib import Path

import pytest

from derailleur.errors import DataError
from derailleur.journal import Journal


def test_rows_are_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    assert journal.rows == []
    assert not journal.path.exists()
    journal.append({"placement": "FS", "value": -1.25})
    journal.append({"placement": "GG", "value": 1e-9})
    assert Journal(journal.path).rows == journal.rows
    assert journal.path.read_text().count("\n") == 2


@pytest.mark.parametrize("torn", ['{"placement": "GG", "val', '{"placement": "GG"}', "\0\0\0"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"placement": "FS"}\n' + torn)
    journal = Journal(path)
    assert journal.rows == [{"placement": "FS"}]
    journal.append({"placement": "KK"})
    assert path.read_text() == '{"placement": "FS"}\n{"placement": "KK"}\n'


def test_a_file_that_is_one_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"placem')
    assert Journal(path).rows == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize(("line", "message"), [("{", "not JSON"), ("[1]", "expected an object, got list")])
def test_another_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"placement": "FS"}}\n{line}\n{{"placement": "GG"}}\n')
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: {message}"):
        Journal(path)


def test_what_is_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(tmp_path / "rows.jsonl").append({"value": float("nan")})
