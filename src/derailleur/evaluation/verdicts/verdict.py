"""What is said of a program."""

from dataclasses import dataclass
from enum import StrEnum

from derailleur.evaluation.sandbox.job import End, Outcome

_DETAIL_CHARACTERS = 300


class Verdict(StrEnum):
    """The classes of verdict; all but `sandbox` are the program's own doing."""

    PASSED = "passed"
    WRONG = "wrong"
    COMPILE = "compile"
    RUNTIME = "runtime"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    SANDBOX = "sandbox"


_OF_END = {
    End.TIMEOUT: Verdict.TIMEOUT,
    End.MEMORY: Verdict.MEMORY,
    End.OUTPUT: Verdict.OUTPUT,
    End.SANDBOX: Verdict.SANDBOX,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason.

    Attributes:
        detail: one line for people, never read by us: the last line of a traceback, the call that gave the
            wrong value; empty for a program that passed.
        seconds: processor time of the program and, where they ran apart from it, of its tests.
    """

    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED


def ended(outcome: Outcome) -> Judgement | None:
    """The judgement of a program that was stopped or never ran; None for one that ended by itself."""
    verdict = _OF_END.get(outcome.end)
    if verdict is None:
        return None
    return Judgement(verdict, one_line(outcome.detail), outcome.cpu_seconds)


def one_line(text: str) -> str:
    """The last line that is not blank, cut to fit a table or a log, in characters that any file takes."""
    text = text.encode(errors="backslashreplace").decode()  # a program's text may hold half a surrogate pair
    lines = [line for line in text.split("\n") if not line.isspace() and line]
    line = " ".join(lines[-1].split()) if lines else ""
    return line if len(line) <= _DETAIL_CHARACTERS else line[: _DETAIL_CHARACTERS - 1] + "…"
