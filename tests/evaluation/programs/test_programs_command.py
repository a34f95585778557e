"""`evaluate programs` with a real sandbox."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from derailleur.cli import main
from derailleur.evaluation.programs import judging
from derailleur.evaluation.sandbox import RefusedError, open_sandbox
from derailleur.evaluation.verdicts import Judgement, Verdict

TESTS = "assert double(2) == 4\n"
PATIENCE_SECONDS = 20


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    try:
        open_sandbox().close()
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def write(path: Path, **programs: str) -> Path:
    rows = (
        {"id": name, "language": "python", "program": text, "tests": TESTS} for name, text in programs.items()
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def results(path: Path) -> dict[str, tuple[bool | None, str]]:
    rows = map(json.loads, path.read_text().splitlines())
    return {row["id"]: (row["passed"], row["verdict"]) for row in rows}


def evaluate(source: Path, out: Path, *options: str) -> int:
    return main(["evaluate", "programs", str(source), "--out", str(out), "--workers", "2", *options])


def test_programs_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(
        tmp_path / "rows.jsonl",
        right="def double(x):\n    return 2 * x\n",
        wrong="def double(x):\n    return x\n",
        odd="def double(x)\n",
        again="def double(x):\n    return 2 * x\n",
        leaves="import os\nos._exit(0)\n",
        endless="def double(x):\n    while True: pass\n",
    )
    assert evaluate(source, tmp_path / "out.jsonl", "--json", "--python.cpu_seconds", "1") == 0
    assert results(tmp_path / "out.jsonl") == {
        "right": (True, "passed"),
        "wrong": (False, "wrong"),
        "odd": (False, "compile"),
        "again": (True, "passed"),
        "leaves": (False, "runtime"),
        "endless": (False, "timeout"),
    }
    summary = json.loads(capsys.readouterr().out)
    assert summary["languages"]["python"] == summary["verdicts"]
    assert summary["verdicts"]["passed"] == 2
    assert (summary["distinct"], summary["known"], summary["retried"]) == (5, 0, 1)


def test_the_second_run_knows_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "rows.jsonl", right="double = lambda x: 2 * x")
    assert evaluate(source, tmp_path / "one.jsonl") == 0
    assert "passed" in capsys.readouterr().out
    assert evaluate(source, tmp_path / "two.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["known"] == 1
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert evaluate(source, tmp_path / "two.jsonl", "--json", "--no-cache") == 0
    assert json.loads(capsys.readouterr().out)["known"] == 0


def test_a_failing_sandbox_is_no_verdict_on_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "judge", lambda *_: Judgement(Verdict.SANDBOX, "out of processes"))
    source = write(tmp_path / "rows.jsonl", right="double = lambda x: 2 * x")
    assert evaluate(source, tmp_path / "out.jsonl") == 1
    assert results(tmp_path / "out.jsonl") == {"right": (None, "sandbox")}
    assert "the sandbox failed on 1 of 1 programs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--python.cpu_second", "1"], "unknown key 'python.cpu_second'; did you mean 'python.cpu_seconds'?"),
        (["--workers", "0"], "expected a number from 1, got '0'"),
        (["--frobnicate"], "--frobnicate: a value is missing"),
    ],
)
def test_a_wrong_call_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    source = write(tmp_path / "rows.jsonl", right="")
    assert evaluate(source, tmp_path / "out.jsonl", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    endless = "while True: pass"
    source = write(
        tmp_path / "rows.jsonl", **{f"endless-{number}": f"{endless} # {number}" for number in range(4)}
    )
    command = [sys.executable, "-m", "derailleur", "evaluate", "programs", str(source), "--workers", "2"]
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background
    )
    try:
        started = wait_for_boxes(process.pid)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped; the same command resumes" in error
    assert not [pid for pid in started if is_alive(pid)]
    assert not out.exists()


def wait_for_boxes(pid: int) -> set[int]:
    """The processes below `pid`, once two of them have used processor time as only a program does."""
    for _ in range(10 * PATIENCE_SECONDS):
        below = set(descendants(pid, parents()))
        if sum(used_seconds(one) > 0.3 for one in below) >= 2:
            return below
        time.sleep(0.1)
    raise AssertionError("no program was started")


def parents() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := status(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def descendants(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    for child in children.get(pid, []):
        yield child
        yield from descendants(child, children)


def status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; none once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def used_seconds(pid: int) -> float:
    fields = status(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def is_alive(pid: int) -> bool:
    fields = status(pid)
    return bool(fields) and fields[0] != "Z"
