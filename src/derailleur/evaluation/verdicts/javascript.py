"""Judging JavaScript programs by their tests.

Tests as MultiPL-E writes them are judged by values: the calls go into the program's box, what they should
give does not. Any others run in the program's process once it has run, and hold a secret that must come back.
"""

import re
import secrets
import threading

from derailleur.evaluation.sandbox.box import Box
from derailleur.evaluation.sandbox.job import Job, Outcome
from derailleur.evaluation.sandbox.limits import Limits
from derailleur.evaluation.sandbox.sandbox import Sandbox
from derailleur.evaluation.verdicts.conversation import (
    hear,
    is_opaque,
    judge_values,
    judgement,
    no_guest,
    say,
)
from derailleur.evaluation.verdicts.javascript_tests import ReadTests, read_tests
from derailleur.evaluation.verdicts.plain import Plain, check
from derailleur.evaluation.verdicts.verdict import Judgement

_GUEST = "/opt/derailleur/guests/javascript.js"
_SECRET_BYTES = 32
_ASYNCHRONOUS = re.compile(r"\b(?:async|await|then|set(?:Timeout|Immediate|Interval)|nextTick)\b")
_KNOWN_TESTS = 4096
_EVALUATION_SECONDS = 10.0
_EVALUATOR_LIMITS = Limits(cpu_seconds=3600, wall_seconds=1e6)


def judge_javascript(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """Run `program` and judge it by `tests`, in the safest way that the shape of the tests allows."""
    read = read_tests(tests)
    expected = sandbox.companion(Evaluator).expected(read) if read else None
    if read is None or expected is None:
        return judge_joined(program, tests, sandbox, limits)
    box = sandbox.start(Job(_command(limits), limits=limits))
    if hear(box) != ["ready"]:
        return no_guest(box)
    say(box, {"values": f"{program}\n{read.source}"})
    pairs = zip(read.assertions, expected, strict=True)
    return judge_values(box, (assertion.complaint(value) for assertion, value in pairs))


def judge_joined(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """The tests run in the program's process, which they reach when the program itself has run.

    The guest shows a first secret then, which the program cannot do in its place, and gets the tests with a
    second one, which it shows after them.
    """
    key, token = secrets.token_hex(_SECRET_BYTES), secrets.token_hex(_SECRET_BYTES)
    box = sandbox.start(Job(_command(limits, "--unhandled-rejections=strict"), limits=limits))
    if hear(box) != ["ready"]:
        return no_guest(box)
    say(box, {"joined": program, "key": key})
    message = hear(box)
    if message == ["ran", key]:
        drain = _ASYNCHRONOUS.search(tests) is not None
        say(box, {"tests": tests, "token": token, "drain": drain})
        message = hear(box)
    return judgement(box, None if message == ["passed", token] else message)


def run_javascript(program: str, stdin: bytes, sandbox: Sandbox, limits: Limits) -> Outcome:
    """Run a program as a command, with its standard input."""
    command = (*_command(limits)[:-1], "program.js")
    return sandbox.run(Job(command, files={"program.js": program.encode()}, stdin=stdin, limits=limits))


def _command(limits: Limits, *options: str) -> tuple[str, ...]:
    heap = limits.memory_bytes * 3 // 4 >> 20  # the rest is for what is not V8's
    return ("node", "--no-addons", "--random-seed=1", f"--max-old-space-size={heap}", *options, _GUEST)


class Evaluator:
    """Finds out what tests expect, in a box without any program, by the guest that reads programs' values."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Start nothing yet."""
        self._sandbox = sandbox
        self._box: Box | None = None
        self._lock = threading.Lock()
        self._known: dict[ReadTests, list[Plain] | None] = {}

    def expected(self, tests: ReadTests) -> list[Plain] | None:
        """What each assertion expects; None where that takes names of the program, or is no plain data.

        Raises:
            RefusedError: if the sandbox has failed.
        """
        if tests not in self._known:
            if len(self._known) >= _KNOWN_TESTS:
                self._known.clear()
            with self._lock:
                self._known[tests] = self._evaluated(tests) or self._evaluated(tests)
        return self._known[tests]

    def close(self) -> None:
        """End the box."""
        if box := self._box:
            box.kill()
        with self._lock:
            self._drop()

    def _evaluated(self, tests: ReadTests) -> list[Plain] | None:
        if self._box is None:
            self._box = self._sandbox.start(Job(_command(_EVALUATOR_LIMITS), limits=_EVALUATOR_LIMITS))
            hear(self._box)
        say(self._box, {"expressions": [assertion.expected for assertion in tests.assertions]})
        match hear(self._box, _EVALUATION_SECONDS):
            case ["values", [*found]]:
                return None if any(value is None or is_opaque(check(value)) for value in found) else found
        self._drop()
        return None

    def _drop(self) -> None:
        if self._box is not None:
            self._box.kill()
            self._box.wait()
            self._box = None
