"""Folders in units; how sources are opened, named and sorted."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.sources import PYTHON_STDLIB, Entry, SourceConfig, Unit, open_sources, read_unit
from derailleur.errors import DataError

names = st.text("ab.-z/é", min_size=1, max_size=8).map(
    lambda text: "/".join(p for p in text.split("/") if p.strip("."))
)


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x = 1\n")


def read(folder: Path | str, unit_bytes: int = 1 << 25, **keys: object) -> list[Entry]:
    config = SourceConfig.model_validate(keys)
    [source] = open_sources([folder], config, out=Path("/nowhere/out"))
    entries = []
    for unit in source.units(unit_bytes):
        found = list(read_unit(Unit.from_json(unit.to_json()), config))
        assert len(found) == unit.num_files
        entries += found
    return entries


def reasons(entries: list[Entry]) -> dict[str, str | None]:
    return {f"{e.repository}/{e.path}": e.verdict.reason if e.verdict else None for e in entries}


@settings(max_examples=40, deadline=None)
@given(paths=st.sets(names.filter(bool), min_size=1, max_size=12), unit_bytes=st.integers(1, 30))
def test_files_come_in_the_order_of_their_paths_however_they_are_cut(
    paths: set[str], unit_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree") / "s"
    paths = {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    write(folder, *paths)
    entries = read(folder, unit_bytes)
    assert [entry.path for entry in entries] == sorted(paths)
    assert {entry.data for entry in entries} == {b"x = 1\n"}
    assert entries == read(folder)


def test_links_pipes_and_sockets_are_listed_but_never_opened(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    write(source, "a.py", "node_modules/m.js", "deep/one/.git/HEAD", "deep/one/b.py")
    write(outside, "secret.py")
    (source / "link.py").symlink_to(outside / "secret.py")
    (source / "folder").symlink_to(outside)
    (source / "pointer.bin").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"
    )
    (source / "big.py").write_text("x" * 200)
    os.mkfifo(source / "pipe.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket.py"))
        found = read(source, max_file_bytes=100)
    assert reasons(found) == {
        "source/a.py": None,
        "source/big.py": "too_large",
        "source/deep/one/b.py": None,
        "source/folder": "symbolic_link",
        "source/link.py": "symbolic_link",
        "source/pipe.py": "not_a_regular_file",
        "source/pointer.bin": "lfs_pointer",
        "source/socket.py": "not_a_regular_file",
    }
    assert {entry.repository for entry in found} == {"source", "source/deep/one"}


def test_a_file_that_changes_between_plan_and_reading_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "s", "a.py", "b.py", "c.py")
    config = SourceConfig(max_file_bytes=100)
    [source] = open_sources([tmp_path / "s"], config, out=tmp_path / "out")
    [unit] = source.units(1 << 20)
    (tmp_path / "s/a.py").unlink()
    (tmp_path / "s/b.py").unlink()
    (tmp_path / "s/b.py").symlink_to("/etc/passwd")
    (tmp_path / "s/c.py").write_text("x" * 200)
    assert list(reasons(list(read_unit(unit, config))).values()) == [
        "unreadable",
        "symbolic_link",
        "too_large",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_quarantined(tmp_path: Path) -> None:
    write(tmp_path / "source", "a.py", "closed/b.py")
    (tmp_path / "source/closed").chmod(0)
    try:
        assert reasons(read(tmp_path / "source"))["source/closed/"] == "unreadable"
    finally:
        (tmp_path / "source/closed").chmod(0o700)


def test_folders_nested_deeper_than_calls_are_walked(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(os.open("a.py", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    [entry] = read(folder)
    assert entry.path == "d/" * 1200 + "a.py"
    while (folder / "d").exists():  # pytest removes folders by recursion
        (folder / "d").rename(tmp_path / "below")
        folder.rmdir()
        (tmp_path / "below").rename(folder)


def test_a_name_that_is_not_utf8_is_printable_and_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "source") + b"/caf\xe9.py")).write_text("x")
    [entry] = read(tmp_path / "source")
    assert (entry.path, entry.data) == ("caf\\xe9.py", b"x")


def test_the_standard_library_is_a_source() -> None:
    found = read(PYTHON_STDLIB, include=("json/*.py", "site-packages/**"))
    assert {entry.repository for entry in found} == {PYTHON_STDLIB}
    assert {entry.path for entry in found if entry.data} >= {"json/decoder.py", "json/__init__.py"}
    assert not [entry for entry in found if "site-packages" in entry.path or "__pycache__" in entry.path]


def test_sources_are_sorted_by_names_that_tell_them_apart(tmp_path: Path) -> None:
    write(tmp_path, "one/src/a.py", "two/src/a.py", "zoo/a.py")
    (tmp_path / "rows.jsonl").write_text("")
    paths = [tmp_path / "zoo", tmp_path / "two/src", tmp_path / "rows.jsonl", tmp_path / "one/src"]
    expected = [str(tmp_path / "one/src"), str(tmp_path / "two/src"), "rows", "zoo"]
    for order in (paths, paths[::-1]):
        assert [s.name for s in open_sources(order, SourceConfig(), out=tmp_path / "out")] == expected


def test_wrong_sources_are_one_line_errors(tmp_path: Path) -> None:
    write(tmp_path, "file.py", "folder/a.py")
    for sources, message in (
        (["missing"], "missing: no such file or folder"),
        (["file.py"], r"file\.py: expected a folder, a git repository, an archive"),
        (["folder", "folder/../folder"], "folder: given twice as a source"),
        (["folder@HEAD"], "folder: no revision 'HEAD'"),
    ):
        with pytest.raises(DataError, match=message):
            open_sources([tmp_path / source for source in sources], SourceConfig(), out=tmp_path / "out")
    with pytest.raises(DataError, match="lies inside the source"):
        open_sources([tmp_path / "folder"], SourceConfig(), out=tmp_path / "folder/deep/out")


def test_a_folders_fingerprint_changes_with_its_files(tmp_path: Path) -> None:
    write(tmp_path / "s", "a.py", "b/c.py")

    def fingerprint() -> str:
        [source] = open_sources([tmp_path / "s"], SourceConfig(), out=tmp_path / "out")
        return source.fingerprint()

    seen = {fingerprint()}
    assert fingerprint() in seen
    os.utime(tmp_path / "s/a.py", ns=(1, 1))
    seen.add(fingerprint())
    write(tmp_path / "s", "b/d.py")
    seen.add(fingerprint())
    (tmp_path / "s/b/d.py").rename(tmp_path / "s/b/e.py")
    seen.add(fingerprint())
    assert len(seen) == 4
