"""Judging Python programs by their tests, in one of the ways that `python_tests` picks."""

import json
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from derailleur.evaluation.sandbox.box import Box
from derailleur.evaluation.sandbox.job import Job, Outcome
from derailleur.evaluation.sandbox.limits import Limits
from derailleur.evaluation.sandbox.sandbox import Sandbox
from derailleur.evaluation.verdicts.plain import check, show
from derailleur.evaluation.verdicts.python_joined import rewrite
from derailleur.evaluation.verdicts.python_tests import Apart, Check, Joined, Values, plan
from derailleur.evaluation.verdicts.verdict import Judgement, Verdict, ended, one_line

_GUEST = ("python", "-m", "guest")
_GUEST_OF_JOINED = ("python", "-I", "-S", "/opt/derailleur/guests/python_joined.py")
_SECRET_BYTES = 32
_CLOSING_SECONDS = 1.0  # between the end of a process's lines and its own
_FAILURES = frozenset({Verdict.WRONG, Verdict.COMPILE, Verdict.RUNTIME, Verdict.MEMORY})


def judge_python(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """Run `program` and judge it by `tests`, in the safest way that the shape of the tests allows."""
    try:
        way = plan(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Judgement(Verdict.COMPILE, one_line(f"the tests: {error}"))
    match way:
        case Values(checks):
            return judge_values(program, checks, sandbox, limits)
        case Apart():
            return judge_apart(program, tests, way, sandbox, limits)
        case Joined():
            return judge_joined(program, tests, sandbox, limits)


def judge_values(program: str, checks: Sequence[Check], sandbox: Sandbox, limits: Limits) -> Judgement:
    """The program's box is told the calls and answers with plain data, which is compared here."""
    box = sandbox.start(Job(_GUEST, limits=limits))
    _send(box, {"mode": "values", "program": program, "calls": [test.call for test in checks]})
    for test in checks:
        answer = _receive(box)
        failed = _unfit(test, answer) if answer is not None else None
        if answer is None or failed:
            return _judgement(failed, _ended(box))
    return _judgement(Judgement(Verdict.PASSED), _ended(box))


def _unfit(test: Check, answer: dict[str, Any]) -> Judgement | None:
    """Why the answer to a call fails its test; None if it passes."""
    if "value" not in answer:
        return _failure(answer)
    try:
        value = check(answer["value"])
        if test.holds(value):
            return None
        return Judgement(Verdict.WRONG, one_line(f"{test.call} gave {show(value)}; tested: {test.source}"))
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        return Judgement(Verdict.WRONG, one_line(f"{test.call}: {error}"))


def judge_apart(program: str, tests: str, way: Apart, sandbox: Sandbox, limits: Limits) -> Judgement:
    """The tests run in a box of their own and call the program's functions in another, by plain data."""
    for_program, for_tests = socket.socketpair()
    program_box = sandbox.start(Job(_GUEST, limits=limits, peer=for_program))
    tests_box = sandbox.start(Job(_GUEST, limits=limits, peer=for_tests))
    _send(program_box, {"mode": "serve", "program": program})
    _send(tests_box, {"mode": "judge", "tests": tests, **asdict(way)})
    answer = _receive(tests_box)
    if answer is None:  # silent where the program closed the line, which happens when it ends
        program_box.let_end(_CLOSING_SECONDS)
    tests_end, program_end = _ended(tests_box), _ended(program_box)
    seconds = tests_end.cpu_seconds + program_end.cpu_seconds
    if answer is None:
        told = [_parsed(line) for line in program_end.report]
        failed = next((_failure(message) for message in told if "failed" in message), None)
        return _judgement(failed or ended(program_end) or ended(tests_end), program_end, seconds)
    if "untold" in answer:
        return judge_joined(program, tests, sandbox, limits)
    judgement = Judgement(Verdict.PASSED) if answer.get("passed") is True else _failure(answer)
    return _judgement(judgement, tests_end, seconds)


def judge_joined(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """The tests run in the program's process, which they reach after the program itself has run.

    Two secrets guard that order: the guest shows the first when the program is done, which the program cannot
    do in its place, and then gets the tests with the second, which it shows after them.
    """
    ready, token = secrets.token_hex(_SECRET_BYTES), secrets.token_hex(_SECRET_BYTES)
    rewritten = rewrite(tests)
    box = sandbox.start(Job(_GUEST_OF_JOINED, limits=limits))
    _send(
        box, {"program": program, "modules": rewritten.modules, "classes": rewritten.classes, "ready": ready}
    )
    line = box.read_line()
    if line == ready.encode():
        box.send(f"{token} {rewritten.marker} {rewritten.source.encode().hex()}\n".encode())
        line = box.read_line()
        if line == token.encode():
            return _judgement(Judgement(Verdict.PASSED), _ended(box))
    return _judgement(None if line is None else _failure(_parsed(line)), _ended(box))


def _send(box: Box, request: dict[str, Any]) -> None:
    box.send(json.dumps(request).encode() + b"\n")


def _receive(box: Box) -> dict[str, Any] | None:
    line = box.read_line()
    return None if line is None else _parsed(line)


def _parsed(line: bytes) -> dict[str, Any]:
    """A message of a guest, which a program may have written in its place."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _failure(message: dict[str, Any]) -> Judgement:
    kind = message.get("failed")
    verdict = Verdict(kind) if isinstance(kind, str) and kind in _FAILURES else Verdict.RUNTIME
    return Judgement(verdict, one_line(str(message.get("detail", "an answer that is none"))))


def _ended(box: Box) -> Outcome:
    """How a box ended that has nothing more to say."""
    box.kill()
    return box.wait()


def _judgement(judgement: Judgement | None, outcome: Outcome, seconds: float | None = None) -> Judgement:
    """`judgement`, and where there is none the one that the end of the box implies, with the time used."""
    if judgement is None:
        how = f"signal {-outcome.code}" if outcome.code < 0 else f"exit status {outcome.code}"
        judgement = ended(outcome) or Judgement(Verdict.RUNTIME, f"{how} before the tests ended")
    used = outcome.cpu_seconds if seconds is None else seconds
    return Judgement(judgement.verdict, judgement.detail, used)
