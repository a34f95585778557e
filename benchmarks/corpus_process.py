"""Runs a command and measures its tree of processes: CPU-seconds, wall, peak memory of every process."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        cpu_seconds: user and system, of the command and everything it started.
        peak_bytes: by process, the largest it was seen at, proportional set size (shared pages are shared
            out); the command itself first.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: tuple[int, ...]


def run(command: Sequence[str | Path], *, sample: bool = False) -> tuple[str, Usage]:
    """Run a command with one thread in numeric libraries; returns its output.

    Args:
        sample: look at memory all along; costs a little.

    Raises:
        RuntimeError: if it fails, with the end of what it wrote.
    """
    environment = os.environ | {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    _adopt_orphans()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        peaks: dict[int, int] = {}
        try:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                if sample:
                    _sample(process.pid, peaks)
                time.sleep(_SAMPLE_SECONDS if sample else 0.01)
            wall = time.perf_counter() - begin
            usages = [ended[2], *_orphans(process.pid)]
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            words = " ".join(map(str, command))
            raise RuntimeError(f"{words}: exit {process.returncode}: {errors.read()[-2000:]}")
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return output.read(), Usage(wall, cpu, tuple(peaks.values()))


def _adopt_orphans() -> None:
    """Have what a command leaves behind become a child of this process, so that it can be accounted for.

    A fork server, for one, outlives its owner by a moment, and all its workers are on its account.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans(group: int) -> Iterator[resource.struct_rusage]:
    """What the rest of a process group took, which is given a moment to end and then killed."""
    deadline = time.perf_counter() + _GRACE_SECONDS
    while True:
        try:
            ended, _, usage = os.wait4(-group, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            yield usage
        elif time.perf_counter() > deadline:
            os.killpg(group, signal.SIGKILL)
        else:
            time.sleep(0.01)


def ask(python: Path | str, contender: str, data: Path) -> tuple[dict[str, Any], Usage]:
    """One run of a contender; its answer and what the whole process took."""
    script = Path(__file__).with_name("corpus_contender.py")
    with tempfile.TemporaryDirectory() as scratch:
        output, usage = run([python, script, contender, data, scratch])
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer, usage


def _sample(root: int, peaks: dict[int, int]) -> None:
    for pid in _tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        pss = next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
        peaks[pid] = max(peaks.get(pid, 0), pss)


def _tree(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(below for child in children for below in _tree(child))]
