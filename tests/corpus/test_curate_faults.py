"""What a run survives: kills at any moment, a full disk, input that is broken."""

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 100
WORKERS = 2
_NOT_OF_THE_CONTENT = {"manifest.json", "stage.json", "report.html"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 6 MB in 1,500 files: words at random, some files twice, some nearly, some with an address."""
    folder = tmp_path_factory.mktemp("source") / "project"
    draw = random.Random(5)
    words = [f"{draw.choice('abcdefgh')}name_{number}" for number in range(500)]
    texts: list[str] = []
    for number in range(1500):
        if texts and draw.random() < 0.2:
            text = draw.choice(texts)
            if draw.random() < 0.7:
                text += f"{draw.choice(words)} = {number}\n"
        else:
            lines = [f"{draw.choice(words)} = {draw.choice(words)}({draw.choice(words)})" for _ in range(120)]
            text = "\n".join([f"# written by someone{number}@mail.corp", *lines, ""])
        texts.append(text)
        path = folder / f"part{number % 40}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def command(source: Path, out: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "derailleur", "curate", str(source), "--out", str(out)),
        *("--workers", str(WORKERS), "--shard_bytes", "300000", *options),
    ]


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of everything that a run leaves."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in _NOT_OF_THE_CONTENT]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run leaves that nothing disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(source, out), check=True, capture_output=True)
    return digests(out)


@pytest.mark.slow
def test_a_hundred_kills_change_nothing(source: Path, whole: dict[str, str], tmp_path: Path) -> None:
    draw = random.Random(11)
    kills = runs = 0
    while kills < KILLS:
        out = tmp_path / f"out{runs}"
        done = False
        while not done:
            done, killed = disturbed(source, out, draw)
            kills += killed
        assert digests(out) == whole
        shutil.rmtree(out)
        runs += 1
    assert runs >= 3


def disturbed(source: Path, out: Path, draw: random.Random) -> tuple[bool, int]:
    """Run once and kill its main process or others; returns whether it came to its end, and the kills."""
    kills = 0
    with subprocess.Popen(
        command(source, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.2, 5))
                break
            others = children(process.pid)
            victim = draw.choice(others) if others and draw.random() < 0.4 else process.pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                kills += 1
        told = process.communicate()[1]
    assert len(begun_and_not_done(out)) <= WORKERS * kills
    if process.returncode != 0:
        assert process.returncode == -signal.SIGKILL or "its worker was killed twice" in told, told
    return process.returncode == 0, kills


def begun_and_not_done(out: Path) -> set[tuple[str, str]]:
    """(kind, number) of the tasks that have left something, but not their mark."""
    left = {(path.parent.name, path.name.lstrip(".")[:5]) for path in (out / ".scratch").glob("*/*")}
    done = {(path.parent.name, path.name[:5]) for path in (out / ".scratch").glob("*/*.done.json")}
    of_others = {"plan", "texts", "ranks", "names", "duckdb"}  # files that stand beside another task's mark
    return {task for task in left - done if task[0] not in of_others and task[1].isdigit()}


def children(pid: int) -> list[int]:
    """Processes below another, grandchildren included: workers are forked by a server of their own."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return found


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on(
    source: Path, whole: dict[str, str], small_disk: Path
) -> None:
    out = small_disk / "out"
    full = subprocess.run(command(source, out), capture_output=True, text=True)
    assert full.returncode == 1
    assert re.search(r"^derailleur: .*no space left on device; what is done stays", full.stderr, re.MULTILINE)
    assert "Traceback" not in full.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = subprocess.run(command(source, out), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert digests(out) == whole
