"""Stages: done once, resumed when killed, redone when anything they depend on changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from derailleur.config import Config
from derailleur.errors import DataError
from derailleur.io import read_json, write_text
from derailleur.runs import Stage, alone, execute, read_manifest


class CountConfig(Config):
    upto: int = Field(3, description="Where to count to.")


def counting(
    source: Path, config: CountConfig, calls: list[int], *, version: int = 1, die_at: int = -1
) -> Stage:
    """A stage that writes one file a number and skips those that are there."""

    def work(out: Path) -> dict[str, Any]:
        for i in range(config.upto):
            if i == die_at:
                raise KeyboardInterrupt
            if not (out / str(i)).exists():
                calls.append(i)
                write_text(out / str(i), str(i))
        return {"files": config.upto}

    return Stage("count", version, config, {"source": source}, work)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_text(tmp_path / "source" / "a.txt", "a")
    return tmp_path / "source"


def test_a_done_stage_is_not_done_again(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    first = execute(counting(source, CountConfig(), calls), tmp_path / "out")
    assert first["results"] == {"files": 3}
    assert execute(counting(source, CountConfig(), calls), tmp_path / "out") == first
    assert calls == [0, 1, 2]
    assert read_manifest(tmp_path / "out")["config"] == {"upto": 3}
    assert first["machine"].endswith(" cores")


def test_a_killed_stage_resumes(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        execute(counting(source, CountConfig(), calls, die_at=2), tmp_path / "out")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        read_manifest(tmp_path / "out")
    execute(counting(source, CountConfig(), calls), tmp_path / "out")
    assert calls == [0, 1, 2]


@pytest.mark.parametrize("change", ["config", "version", "input"])
def test_what_changed_is_redone_and_the_old_kept(change: str, source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    out = tmp_path / "out"
    execute(counting(source, CountConfig(), calls), out)
    if change == "input":
        write_text(source / "b.txt", "b")
    config = CountConfig(upto=2 if change == "config" else 3)
    execute(counting(source, config, calls, version=2 if change == "version" else 1), out)
    assert calls == [0, 1, 2, *range(config.upto)]
    [previous] = tmp_path.glob("out.previous-*")
    assert read_json(previous / "manifest.json")["config"] == {"upto": 3}


def test_a_stage_follows_the_stage_before_it(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    execute(counting(source, CountConfig(), []), tmp_path / "first")
    second = counting(tmp_path / "first", CountConfig(upto=1), calls)
    execute(second, tmp_path / "second")
    (tmp_path / "first" / "0").touch()  # times of files do not matter where there is a manifest
    execute(second, tmp_path / "second")
    assert calls == [0]


def test_a_change_taken_back_brings_the_old_result_back(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    for upto in (3, 2, 3, 2):
        execute(counting(source, CountConfig(upto=upto), calls), tmp_path / "out")
    assert calls == [0, 1, 2, 0, 1]
    assert read_manifest(tmp_path / "out")["config"] == {"upto": 2}


def test_a_moved_run_is_still_done(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []
    execute(counting(source, CountConfig(), calls), tmp_path / "out")
    source.rename(tmp_path / "elsewhere")
    execute(counting(tmp_path / "elsewhere", CountConfig(), calls), tmp_path / "out")
    assert calls == [0, 1, 2]


def test_a_call_killed_before_it_began_leaves_nothing_in_the_way(source: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "out" / ".stage.json.tmp-1", "{")
    execute(counting(source, CountConfig(), []), tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_foreign_folders_are_left_alone(source: Path, tmp_path: Path) -> None:
    write_text(tmp_path / "mine" / "thesis.tex", "x")
    with pytest.raises(DataError, match="not empty and not written by count"):
        execute(counting(source, CountConfig(), []), tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_folder_is_written_by_one_call_at_a_time(source: Path, tmp_path: Path) -> None:
    with alone(tmp_path / "out"), pytest.raises(DataError, match="out: another call is writing here"):
        execute(counting(source, CountConfig(), []), tmp_path / "out")
    execute(counting(source, CountConfig(), []), tmp_path / "out")


def test_the_working_folder_may_be_the_output(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for upto in (3, 2):  # the second call moves the folder aside, and the working folder with it
        execute(counting(source, CountConfig(upto=upto), []), Path())
        monkeypatch.chdir(tmp_path / "out")
        assert read_manifest(Path())["config"] == {"upto": upto}
    assert len(list(tmp_path.glob("out.previous-*"))) == 1
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with alone(tmp_path / "link"), pytest.raises(DataError, match="another call is writing here"):
        execute(counting(source, CountConfig(), []), Path())


def test_missing_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        execute(counting(tmp_path / "nowhere", CountConfig(), []), tmp_path / "out")


def test_the_result_of_another_stage_is_left_alone(source: Path, tmp_path: Path) -> None:
    execute(counting(source, CountConfig(), []), tmp_path / "out")
    other = replace(counting(source, CountConfig(), []), name="export")
    with pytest.raises(DataError, match="out: holds the result of count, not of export; give another --out"):
        execute(other, tmp_path / "out")
    assert read_manifest(tmp_path / "out")["stage"] == "count"


@pytest.mark.parametrize("inside", ["", "1", "deep/../1"])
def test_a_stage_is_not_written_over_its_input(inside: str, source: Path, tmp_path: Path) -> None:
    """Which a changed configuration would move aside, and then miss."""
    execute(counting(source, CountConfig(), []), tmp_path / "out")
    (tmp_path / "out" / "deep").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="which lies there; give another --out"):
        execute(counting(tmp_path / "out" / inside, CountConfig(upto=2), []), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
