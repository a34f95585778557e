"""Atomic writes: the old file or the new one, nothing in between and nothing left over."""

from pathlib import Path

import pytest

from derailleur.errors import DataError
from derailleur.io import (
    atomic_path,
    file_sha256,
    read_json,
    read_json_object,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "f.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == {"a": [1, "é"]}
    path.write_text('{"a":\n oops}')
    with pytest.raises(DataError, match=r"v\.json:2: not JSON"):
        read_json(path)
    with pytest.raises(DataError, match="no such file or directory"):
        read_json(tmp_path / "none")


def test_sha256(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "abc")
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[" * 100_000, "recursion"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)
def test_what_python_would_read_beside_json(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(DataError, match=rf"v\.json: not JSON: .*{message}"):
        read_json(tmp_path / "v.json")


def test_only_objects(tmp_path: Path) -> None:
    write_json(tmp_path / "v.json", {"a": 1})
    assert read_json_object(tmp_path / "v.json") == {"a": 1}
    write_json(tmp_path / "v.json", [1])
    with pytest.raises(DataError, match=r"v\.json: expected a JSON object, got list"):
        read_json_object(tmp_path / "v.json")
