"""Runs the hostile programs and says of each whether it was contained.

A program is contained if it did not say that it escaped, reached none of the bait, ended as it should and in
time, left no process behind, and the sandbox ran an honest program after it. One that fails for a reason
other than the one meant is not.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from derailleur.evaluation.sandbox import linux, processes, root
from derailleur.evaluation.sandbox.bait import Bait, laid_out
from derailleur.evaluation.sandbox.hostile import CASES, Case, Language
from derailleur.evaluation.sandbox.job import End, Job, Outcome
from derailleur.evaluation.sandbox.sandbox import Sandbox

_SETTLE_SECONDS = 3.0
_LATE_SECONDS = 5.0
_MEMORY_TOLERANCE = 1.25
_LINE_CHARACTERS = 90
_NEIGHBOURS = ("fork-bomb", "touch-together", "endless-output")

_PRELUDE = "import json\nbait = json.load(open('bait.json'))\n"
# The guest silences a candidate, which has its channel all the same.
_FORKED_PRELUDE = """import os
def print(*words, **_):
    os.write(3, (" ".join(map(str, words)) + "\\n").encode())
"""
_COMMANDS = {
    Language.PYTHON: ("python", "-I", "-S", "program.py"),
    Language.SHELL: ("sh", "program.sh"),
    Language.JAVASCRIPT: ("node", "program.js"),
    Language.JAVA: ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "Program.java"),
}
_FORKED = ("python", "-m", "guest")
# Its input and files hold the secret, as a judged program's may: nothing of it may be left for the next one.
_HONEST = "import sys\nprint(sum(map(len, (sys.stdin.read(), open('secret').read()))))"


class Finding(StrEnum):
    """What became of a hostile program."""

    CONTAINED = "contained"
    ESCAPED = "not contained"
    UNCLAIMED = "not claimed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    Attributes:
        why: what contained the program, or what it did.
    """

    back_end: str
    case: str
    tries: str
    finding: Finding
    why: str
    seconds: float


def selftest(open_sandbox: Callable[[], Sandbox], *, cases: Sequence[Case] = CASES) -> Iterator[Result]:
    """Run hostile programs one by one, then some beside an honest neighbour, then look for what is left.

    This process becomes the parent of whatever the sandbox loses. Programs that would do harm are left out
    where nothing confines them.

    Raises:
        RefusedError: if the sandbox cannot be opened.
    """
    linux.adopt_orphans()
    with laid_out() as bait:
        tester = _Tester(open_sandbox, bait)
        try:
            chosen = [case for case in cases if case.harmless or tester.back_end != "unsafe"]
            for case in chosen:
                yield tester.run(case)
                if case.forked:
                    yield tester.run(case, forked=True)
            if disturbing := [case for case in chosen if case.name in _NEIGHBOURS]:
                yield tester.run_beside_neighbour(disturbing)
        finally:
            tester.close()
        yield tester.look_for_remains()


class _Tester:
    """A sandbox under test, opened anew where a program broke it.

    Attributes:
        back_end: its name.
    """

    def __init__(self, open_sandbox: Callable[[], Sandbox], bait: Bait) -> None:
        self._open, self._bait = open_sandbox, bait
        self._before = _living() | {bait.victim.pid}
        self._start()
        self.back_end = self._sandbox.back_end.name

    def close(self) -> None:
        self._sandbox.close()

    def run(self, case: Case, *, forked: bool = False) -> Result:
        """Run one program and an honest one after it."""
        started = time.monotonic()
        finding, why = self._contained(case, forked=forked)
        name = f"{case.name}, forked" if forked else case.name
        return Result(self.back_end, name, case.tries, finding, why, time.monotonic() - started)

    def run_beside_neighbour(self, cases: Sequence[Case]) -> Result:
        """Run programs in a sandbox of their own while honest ones run in this one."""
        started = time.monotonic()

        def attack() -> None:
            with self._open() as other:
                for case in cases:
                    _run(other, case, self._bait)

        broken, num_honest = "", 0
        with ThreadPoolExecutor(1) as attacker:
            attacked = attacker.submit(attack)
            while not attacked.done():
                broken = broken or _broken(self._sandbox, self._bait)
                num_honest += 1
        attacked.result()
        tries = f"disturbs others by {', '.join(case.name for case in cases)}"
        finding = Finding.ESCAPED if broken else Finding.CONTAINED
        why = broken or f"{num_honest} honest programs ran as ever"
        return Result(self.back_end, "neighbour", tries, finding, why, time.monotonic() - started)

    def look_for_remains(self) -> Result:
        """Look for processes after the sandbox was closed, ended ones that nobody waited for included."""
        started = time.monotonic()
        left = _settle(self._before)
        finding, why = Finding.ESCAPED if left else Finding.CONTAINED, f"{len(left)} processes left"
        seconds = time.monotonic() - started
        return Result(self.back_end, "remains", "outlives the sandbox", finding, why, seconds)

    def _start(self) -> None:
        self._sandbox = self._open()
        self._resting = _living()

    def _contained(self, case: Case, *, forked: bool) -> tuple[Finding, str]:
        if case.language is not Language.PYTHON and not shutil.which(case.language, path=root.PATH):
            return Finding.SKIPPED, f"{case.language} is not installed"
        outcome = _run(self._sandbox, case, self._bait, forked=forked)
        problems = _problems(case, outcome, self._bait)
        if left := _settle(self._resting):
            problems.append(f"{len(left)} processes left")
        if broken := _broken(self._sandbox, self._bait):
            problems.append(broken)
            self._sandbox.close()
            self._start()
        if not problems:
            return Finding.CONTAINED, _reason(outcome)
        finding = Finding.UNCLAIMED if self.back_end in case.unclaimed else Finding.ESCAPED
        return finding, "; ".join(problems)


def _run(sandbox: Sandbox, case: Case, bait: Bait, *, forked: bool = False) -> Outcome:
    limits = {"memory_bytes": case.limits.memory_bytes, "disk_bytes": case.limits.disk_bytes}
    described = json.dumps(bait.described() | limits).encode()
    program = _PRELUDE + case.program if case.language is Language.PYTHON else case.program
    files = {"bait.json": described}
    if not forked:
        command = _COMMANDS[case.language]
        files[command[-1]] = program.encode()
        return sandbox.run(Job(command, files, case.stdin, case.limits))
    box = sandbox.start(Job(_FORKED, files, case.stdin, case.limits))
    box.send(
        json.dumps({"mode": "values", "program": _FORKED_PRELUDE + program, "calls": []}).encode() + b"\n"
    )
    return box.wait()


def _problems(case: Case, outcome: Outcome, bait: Bait) -> list[str]:
    """Why a program was not contained."""
    said = _said(outcome)
    found = re.findall("^escaped.*", said, re.MULTILINE)[:3]
    if bait.secret in said:
        found.append("found the secret")
    found += bait.touched()
    if outcome.end is End.SANDBOX:
        found.append(f"the sandbox failed: {outcome.detail}")
    elif outcome.end not in case.ends:
        found.append(f"ended by {outcome.end}: {_last_line(said)}")
    elif not found and not re.search(case.seen, said):
        found.append(f"failed for another reason: {_last_line(said)}")
    if outcome.wall_seconds > case.limits.wall_seconds + _LATE_SECONDS:
        found.append(f"ran for {outcome.wall_seconds:.1f} s")
    if outcome.memory_bytes > _MEMORY_TOLERANCE * case.limits.memory_bytes:
        found.append(f"took {outcome.memory_bytes >> 20} MiB")
    return [_line(problem) for problem in found]


def _broken(sandbox: Sandbox, bait: Bait) -> str:
    """What is wrong with the sandbox, seen from an honest program; nothing if it is empty."""
    files = {"program.py": _HONEST.encode(), "secret": bait.secret.encode()}
    outcome = sandbox.run(Job(_COMMANDS[Language.PYTHON], files, bait.secret.encode()))
    if outcome.end is End.EXITED and outcome.stdout == f"{2 * len(bait.secret)}\n".encode():
        return ""
    return f"an honest program failed: {outcome.end}, {outcome.detail or _last_line(_said(outcome))}"


def _reason(outcome: Outcome) -> str:
    if outcome.end is not End.EXITED:
        return f"{outcome.end} after {outcome.wall_seconds:.1f} s"
    return _last_line(_said(outcome)) or f"exit status {outcome.code}"


def _said(outcome: Outcome) -> str:
    return b"\n".join((outcome.stdout, *outcome.report, outcome.stderr)).decode(errors="replace")


def _last_line(said: str) -> str:
    lines = said.split("\n")
    return next((_line(line) for line in reversed(lines) if line.strip()), "")


def _line(text: str) -> str:
    """One line that is fit for a terminal."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= _LINE_CHARACTERS else f"{shown[:_LINE_CHARACTERS]}…"


def _living() -> set[int]:
    return set(processes.descendants(os.getpid()))


def _settle(expected: set[int]) -> set[int]:
    """The processes below this one that are not expected, once they had time to go."""
    until = time.monotonic() + _SETTLE_SECONDS
    while (left := _living() - expected) and time.monotonic() < until:
        time.sleep(0.01)
    return left
