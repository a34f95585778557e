import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from derailleur.corpus.workers import Processes, ThisProcess, Workers, start_workers
from derailleur.errors import DataError, DerailleurError


def double(number: int) -> int:
    return 2 * number


def fail(number: int) -> int:
    if number == 3:
        raise DataError("row 3: no content")
    return number


def killed_once(mark: Path) -> str:
    if mark.name == "3" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark.name


def killed_always(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest):
    made = start_workers(count=request.param)
    assert isinstance(made, ThisProcess if request.param == 1 else Processes)
    yield made
    made.close()


def test_results_come_in_order(workers: Workers) -> None:
    assert list(workers.map(double, range(20))) == [2 * number for number in range(20)]
    assert list(workers.map(double, [])) == []
    assert list(workers.map(double, [7])) == [14]


def test_an_error_of_a_task_comes_through(workers: Workers) -> None:
    results = workers.map(fail, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="row 3"):
        next(results)


def test_what_a_dead_process_had_begun_is_done_again(tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(8)]
    workers = Processes(2)
    assert list(workers.map(killed_once, marks)) == [str(number) for number in range(8)]
    workers.close()


def test_a_task_that_kills_its_process_is_named() -> None:
    workers = Processes(2)
    results = workers.map(killed_always, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DerailleurError, match=r"^3: its worker was killed twice"):
        next(results)
    workers.close()


SCRIPT = """
import os, sys, time
from pathlib import Path
from derailleur.corpus.workers import Processes

def sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(Processes(2).map(sleep, sys.argv[1:]))
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SCRIPT)
    marks = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen([sys.executable, script, *marks])
    pids = [int(_content(mark)) for mark in marks]
    parent.kill()
    parent.wait()
    for pid in pids:
        _wait_for(lambda pid=pid: _has_ended(pid))


def _has_ended(pid: int) -> bool:
    """Gone, or a zombie: orphans are collected by the system's first process, which may take its time."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def _content(mark: Path) -> str:
    _wait_for(lambda: mark.exists() and mark.read_text())
    return mark.read_text()


def _wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute"
        time.sleep(0.02)
