"""The judgement of one program in any of the languages: by its tests, or by what it writes."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from derailleur.evaluation.sandbox.job import Job, Outcome
from derailleur.evaluation.sandbox.limits import Limits
from derailleur.evaluation.sandbox.sandbox import Sandbox
from derailleur.evaluation.verdicts.java import judge_java, run_java
from derailleur.evaluation.verdicts.javascript import judge_javascript, run_javascript
from derailleur.evaluation.verdicts.python import judge_python
from derailleur.evaluation.verdicts.verdict import Judgement, Verdict, ended, one_line

VERSION = 2
"""Raised whenever the same program may be judged otherwise than before."""


class Program(Protocol):
    """A program with what it is judged by: `tests`, or `stdin` and `expected`."""

    @property
    def language(self) -> str: ...
    @property
    def program(self) -> str: ...
    @property
    def tests(self) -> str | None: ...
    @property
    def stdin(self) -> str: ...
    @property
    def expected(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Judge:
    """How programs of one language are judged.

    Attributes:
        by_tests: given a program, its tests, a sandbox and limits.
        run: given a program, its standard input, a sandbox and limits, runs it as a command; gives a
            judgement where it does not compile.
    """

    by_tests: Callable[[str, str, Sandbox, Limits], Judgement]
    run: Callable[[str, bytes, Sandbox, Limits], Outcome | Judgement]


def judge(row: Program, sandbox: Sandbox, limits: Limits | None = None) -> Judgement:
    """Judge one program.

    Raises:
        KeyError: for a language that is not in `JUDGES`.
        RefusedError: if the sandbox has failed and must be opened anew.
    """
    language, limits = JUDGES[row.language], limits or Limits()
    if row.tests is not None:
        return language.by_tests(row.program, row.tests, sandbox, limits)
    outcome = language.run(row.program, row.stdin.encode(), sandbox, limits)
    return outcome if isinstance(outcome, Judgement) else _by_output(outcome, row.expected or "")


def _by_output(outcome: Outcome, expected: str) -> Judgement:
    """Compare standard output, white space at the ends of lines and blank lines at the end aside."""
    stopped, seconds = ended(outcome), outcome.cpu_seconds
    if stopped:
        return stopped
    if outcome.code:
        last = one_line(outcome.stderr.decode(errors="replace"))
        return Judgement(_crash(last), last or f"exit status {outcome.code}", seconds)
    lines = zip_longest(_lines(outcome.stdout.decode(errors="replace")), _lines(expected))
    for number, (written, wanted) in enumerate(lines, 1):
        if written != wanted:
            return Judgement(Verdict.WRONG, f"line {number} of the output differs", seconds)
    return Judgement(Verdict.PASSED, seconds=seconds)


def _crash(last_line: str) -> Verdict:
    """The class of a program that ended with an error of its own, by the last line that it wrote of it."""
    if last_line.startswith(("SyntaxError", "IndentationError", "TabError")):
        return Verdict.COMPILE
    return Verdict.MEMORY if last_line.startswith("MemoryError") else Verdict.RUNTIME


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _run_python(program: str, stdin: bytes, sandbox: Sandbox, limits: Limits) -> Outcome:
    command = ("python", "-I", "program.py")
    return sandbox.run(Job(command, files={"program.py": program.encode()}, stdin=stdin, limits=limits))


JUDGES: dict[str, Judge] = {
    "python": Judge(judge_python, _run_python),
    "javascript": Judge(judge_javascript, run_javascript),
    "java": Judge(judge_java, run_java),
}
"""By the name of the language."""
