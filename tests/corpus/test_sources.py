"""Which files are found, under which names, and in which order."""

import os
import socket
from pathlib import Path

import pytest

from derailleur.config import load_config
from derailleur.corpus.sources import (
    HELDOUT,
    PYTHON_STDLIB,
    SourceConfig,
    SourceFile,
    find_files,
    is_heldout,
    resolve_sources,
)
from derailleur.errors import ConfigError, DataError


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x = 1\n")


def find(folder: Path, **keys: object) -> dict[str, SourceFile]:
    files = find_files(SourceConfig.model_validate(keys), [folder])
    return {f"{file.repository}/{file.path}": file for file in files}


def reason(file: SourceFile) -> str | None:
    return file.verdict.reason if file.verdict else None


def test_files_are_found_below_every_folder_but_the_excluded(tmp_path: Path) -> None:
    write(tmp_path / "source", "a.py", "b/c/d.py", "node_modules/x.py", "b/__pycache__/y.py", ".git/z.py")
    assert set(find(tmp_path / "source")) == {"source/a.py", "source/b/c/d.py"}


def test_a_git_folder_marks_a_repository(tmp_path: Path) -> None:
    write(tmp_path / "all", "top.py", "one/.git/HEAD", "one/src/a.py", "deep/two/b.py")
    (tmp_path / "all/deep/two/.git").write_text("gitdir: elsewhere")  # a submodule's
    assert set(find(tmp_path / "all")) == {
        "all/top.py",
        "all/one/src/a.py",
        "all/deep/two/b.py",
        "all/deep/two/.git",
    }
    assert {(f.repository, f.path) for f in find(tmp_path / "all").values()} >= {
        ("all", "top.py"),
        ("all/one", "src/a.py"),
        ("all/deep/two", "b.py"),
    }


def test_links_pipes_and_sockets_are_listed_but_never_entered(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    write(source, "a.py")
    write(outside, "secret.py")
    (source / "link.py").symlink_to(outside / "secret.py")
    (source / "folder").symlink_to(outside)
    (source / "loop").symlink_to(source)
    os.mkfifo(source / "pipe.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket.py"))
        found = find(source)
    assert {name: reason(file) for name, file in found.items()} == {
        "source/a.py": None,
        "source/link.py": "symbolic_link",
        "source/folder": "symbolic_link",
        "source/loop": "symbolic_link",
        "source/pipe.py": "not_a_regular_file",
        "source/socket.py": "not_a_regular_file",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_quarantined(tmp_path: Path) -> None:
    write(tmp_path / "source", "a.py", "closed/b.py")
    (tmp_path / "source/closed").chmod(0)
    try:
        assert reason(find(tmp_path / "source")["source/closed/"]) == "unreadable"
    finally:
        (tmp_path / "source/closed").chmod(0o700)


def test_a_name_that_is_not_utf8_is_printable_and_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    name = os.fsencode(tmp_path / "source") + b"/caf\xe9.py"
    Path(os.fsdecode(name)).write_text("x")
    file = find(tmp_path / "source")["source/caf\\xe9.py"]
    assert os.fsencode(file.location) == name
    file.path.encode()  # no surrogates


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"a.py": None, "b.js": None, "c.bin": "unknown_language", "d/e.py": None}),
        (
            {"languages": ("Python",)},
            {"a.py": None, "b.js": "other_language", "c.bin": "unknown_language", "d/e.py": None},
        ),
        (
            {"include": ("*.py",)},
            {"a.py": None, "b.js": "not_included", "c.bin": "not_included", "d/e.py": "not_included"},
        ),
        (
            {"include": ("**/*.py", "b.??")},
            {"a.py": None, "b.js": None, "c.bin": "not_included", "d/e.py": None},
        ),
        (
            {"include": ("d/**",)},
            {"a.py": "not_included", "b.js": "not_included", "c.bin": "not_included", "d/e.py": None},
        ),
        (
            {"max_file_bytes": 5},
            {"a.py": "too_large", "b.js": "too_large", "c.bin": "unknown_language", "d/e.py": "too_large"},
        ),
    ],
)
def test_selection(tmp_path: Path, keys: dict[str, object], expected: dict[str, str | None]) -> None:
    write(tmp_path / "s", "a.py", "b.js", "c.bin", "d/e.py")
    assert {file.path: reason(file) for file in find(tmp_path / "s", **keys).values()} == expected


def test_heldout_files_come_first_and_depend_on_the_path_alone(tmp_path: Path) -> None:
    names = [f"m{number}.py" for number in range(400)]
    write(tmp_path / "one", *names)
    write(tmp_path / "two", *names)
    config = SourceConfig(heldout_fraction=0.25)
    files = find_files(config, [tmp_path / "two", tmp_path / "one"])
    heldout = [file.split == HELDOUT for file in files]
    assert heldout == sorted(heldout, reverse=True)
    assert 0.18 < sum(heldout) / len(files) < 0.32
    by_repository = {
        repository: {f.path for f in files if f.repository == repository and f.split == HELDOUT}
        for repository in ("one", "two")
    }
    assert by_repository["one"] == by_repository["two"]
    again = find_files(config, [tmp_path / "one", tmp_path / "two"])
    assert files == again


def test_the_salt_chooses_other_files() -> None:
    def chosen(salt: str) -> list[int]:
        return [n for n in range(1000) if is_heldout(f"{n}.py", fraction=0.1, salt=salt)]

    assert chosen("a") == chosen("a") != chosen("b")
    assert not [n for n in range(100) if is_heldout(f"{n}.py", fraction=0.0, salt="")]


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "one/src/a.py", "two/src/a.py", "two/other/a.py")
    folders = [tmp_path / "one/src", tmp_path / "two/src", tmp_path / "two/other"]
    repositories = [file.repository for file in find_files(SourceConfig(), folders)]
    assert sorted(repositories) == sorted([str(folders[0]), str(folders[1]), "other"])


def test_the_standard_library_is_a_source(tmp_path: Path) -> None:
    [folder] = resolve_sources([Path(PYTHON_STDLIB)], out=tmp_path)
    config = SourceConfig(languages=("Python",), exclude_folders=())
    files = {file.path: file for file in find_files(config, [folder])}
    assert {file.repository for file in files.values()} == {PYTHON_STDLIB}
    assert files["json/decoder.py"].language == "Python"
    parts = {part for path in files for part in path.split("/")[:-1]}
    assert not parts & {"site-packages", "dist-packages", "__pycache__"}


def test_wrong_sources_are_one_line_errors(tmp_path: Path) -> None:
    write(tmp_path, "file.py", "folder/a.py")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    with pytest.raises(DataError, match="missing: no such folder"):
        resolve_sources([tmp_path / "missing"], out=out)
    with pytest.raises(DataError, match=r"file\.py: expected a folder"):
        resolve_sources([tmp_path / "file.py"], out=out)
    with pytest.raises(DataError, match="given twice"):
        resolve_sources([tmp_path / "folder", tmp_path / "empty/../folder"], out=out)
    with pytest.raises(DataError, match="lies inside the source"):
        resolve_sources([tmp_path / "folder"], out=tmp_path / "folder/deep/out")
    with pytest.raises(DataError, match="no files found"):
        find_files(SourceConfig(), [tmp_path / "empty"])


def test_languages_on_the_command_line() -> None:
    assert load_config(SourceConfig, None, ["--languages", "Python, Java"]).languages == ("Python", "Java")
    assert load_config(SourceConfig, None, ["--languages", "[C++]"]).languages == ("C++",)
    with pytest.raises(ConfigError, match="unknown language 'Jva'; did you mean 'Java'"):
        load_config(SourceConfig, None, ["--languages", "Jva"])
