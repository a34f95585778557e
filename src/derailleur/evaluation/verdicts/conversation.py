"""The supervisor's side of the talk with the guests of JavaScript and Java: JSON lines, never trusted."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from derailleur.evaluation.sandbox.box import Box
from derailleur.evaluation.sandbox.job import Outcome
from derailleur.evaluation.verdicts.plain import Plain, PlainError, check
from derailleur.evaluation.verdicts.verdict import Judgement, Verdict, ended, one_line

Complaint = Callable[[Plain], str | None]
"""What is wrong with a value, None where it is what the test expects."""

_KINDS = {"compile": Verdict.COMPILE, "wrong": Verdict.WRONG, "runtime": Verdict.RUNTIME}
_LAST_WORDS = ("Exception in thread", "FATAL ERROR")
_OUT_OF_MEMORY = (b"JavaScript heap out of memory", b"java.lang.OutOfMemoryError")


def say(box: Box, message: object) -> None:
    """Tell the guest something."""
    box.send(json.dumps(message).encode() + b"\n")


def hear(box: Box, timeout: float | None = None) -> list[Any]:
    """What the guest, or the program in its place, says next; [] where it has ended or time is over."""
    line = box.read_line(timeout)
    try:
        message = json.loads(line or b"[]")
    except (ValueError, RecursionError):
        return ["malformed"]
    return message if isinstance(message, list) else ["malformed"]


def judge_values(box: Box, complaints: Iterable[Complaint]) -> Judgement:
    """Compare the values that a program hands out, one after another, up to the first that is wrong."""
    for complain in complaints:
        message = hear(box)
        if message[:1] != ["value"]:
            return judgement(box, message)
        try:
            wrong = complain(check(message[1]))
        except (PlainError, IndexError) as error:
            wrong = f"a value that is none: {error}"
        if wrong is not None:
            return judgement(box, ["error", "wrong", wrong])
    message = hear(box)
    return judgement(box, None if message == ["end"] else message)


def judgement(box: Box, message: list[Any] | None) -> Judgement:
    """End a program, and judge it by what it said last.

    Args:
        message: None for a program that has passed.
    """
    if message != []:
        box.kill()  # it has nothing more to say
    outcome = box.wait()
    stopped, seconds = ended(outcome), outcome.cpu_seconds
    if stopped:
        return stopped
    match message:
        case None:
            return Judgement(Verdict.PASSED, seconds=seconds)
        case ["error", str(kind), str(detail)] if kind in _KINDS:
            return Judgement(_KINDS[kind], _words(detail), seconds)
        case []:
            return _crashed(outcome)
    return Judgement(Verdict.RUNTIME, "the program wrote to the supervisor", seconds)


def no_guest(box: Box) -> Judgement:
    """End a box whose guest has not begun, which is not the program's doing."""
    box.kill()
    outcome = box.wait()
    detail = outcome.detail or outcome.stderr.decode(errors="replace").strip().partition("\n")[0]
    return Judgement(Verdict.SANDBOX, f"the guest did not start: {_words(detail)}", outcome.cpu_seconds)


def is_opaque(value: Plain) -> bool:
    """Whether some part of it is of no plain type."""
    return value[:1] == ["?"] or any(is_opaque(part) for part in value[1:] if isinstance(part, list))


def _crashed(outcome: Outcome) -> Judgement:
    """The judgement of a program that ended before its tests did."""
    verdict = Verdict.MEMORY if any(text in outcome.stderr for text in _OUT_OF_MEMORY) else Verdict.RUNTIME
    how = f"signal {-outcome.code}" if outcome.code < 0 else f"exit status {outcome.code}"
    lines = outcome.stderr.decode(errors="replace").split("\n")
    told = next((line for line in lines if line.startswith(_LAST_WORDS)), "")
    return Judgement(verdict, _words(told) or f"{how} before the tests ended", outcome.cpu_seconds)


def _words(text: str) -> str:
    return one_line(" ".join(text.split()))
