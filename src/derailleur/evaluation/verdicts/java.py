"""Judging Java programs by their tests.

Tests as MultiPL-E writes them are judged by values: the calls are compiled into the program, what they should
give is not. Any others are run by a guest that tells a secret when `main` has returned, and never otherwise.
"""

import functools
import json
import os
import re
import secrets
from pathlib import Path

from derailleur.errors import UserError
from derailleur.evaluation.sandbox.compiler import CompileError, Compiler, CompilerFailedError
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
from derailleur.evaluation.verdicts.java_tests import (
    ReadTests,
    ends_in_code,
    read_tests,
    with_explicit_assertions,
)
from derailleur.evaluation.verdicts.java_values import is_primitive
from derailleur.evaluation.verdicts.plain import Plain, check
from derailleur.evaluation.verdicts.verdict import Judgement, Verdict, one_line

JAVATUPLES = "DERAILLEUR_JAVATUPLES"
"""The environment variable that names the jar of javatuples where it is in no usual place."""

_JAR = "javatuples.jar"
_USUAL_PLACES = ("/usr/share/java/javatuples-1.2.jar", "/usr/share/java/javatuples.jar")
_MAVEN = ".m2/repository/org/javatuples/javatuples/1.2/javatuples-1.2.jar"
_IMPORT = re.compile(r"^[ \t]*import\s+org\.javatuples\.[\w.*]+\s*;", re.MULTILINE)
_TUPLE = re.compile(
    r"\b(?:Unit|Pair|Triplet|Quartet|Quintet|Sextet|Septet|Octet|Ennead|Decade|KeyValue|LabelValue)\b"
)
_SECRET_BYTES = 32
_KNOWN_TESTS = 4096
_OPTIONS = (
    "-ea",
    "-Xshare:auto",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
)


def judge_java(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """Run `program` and judge it by `tests`, in the safest way that the shape of the tests allows.

    Raises:
        UserError: if tuples are needed and there is no javatuples.
    """
    workshop, read = sandbox.companion(Workshop), read_tests(tests)
    try:
        expected = workshop.expected(read) if read else None
        if read is None or expected is None:
            return judge_joined(program, tests, sandbox, limits)
        job = workshop.job(f"{program}\n{read.source}", limits)
    except CompileError as error:
        return Judgement(Verdict.COMPILE, one_line(str(error).partition("\n")[0]))
    except CompilerFailedError as error:
        return Judgement(Verdict.SANDBOX, one_line(str(error)))
    pairs = zip(read.assertions, expected, strict=True)
    return judge_values(sandbox.start(job), (assertion.complaint(value) for assertion, value in pairs))


def judge_joined(program: str, tests: str, sandbox: Sandbox, limits: Limits) -> Judgement:
    """Program and tests are one; a secret must come back when their `main` has returned."""
    if not ends_in_code(program):
        return Judgement(Verdict.COMPILE, "a comment or string of the program does not end")
    try:
        source = f"{program}\n{with_explicit_assertions(tests)}"
        job = sandbox.companion(Workshop).job(source, limits, runner="derailleur.Joined")
    except CompileError as error:
        return Judgement(Verdict.COMPILE, one_line(str(error).partition("\n")[0]))
    except CompilerFailedError as error:
        return Judgement(Verdict.SANDBOX, one_line(str(error)))
    token, box = secrets.token_hex(_SECRET_BYTES), sandbox.start(job)
    if hear(box) != ["ready"]:
        return no_guest(box)
    say(box, token)
    message = hear(box)
    return judgement(box, None if message == ["passed", token] else message)


def run_java(program: str, stdin: bytes, sandbox: Sandbox, limits: Limits) -> Outcome | Judgement:
    """Run a program as a command, with its standard input."""
    try:
        return sandbox.run(sandbox.companion(Workshop).job(program, limits, stdin=stdin))
    except CompileError as error:
        return Judgement(Verdict.COMPILE, one_line(str(error).partition("\n")[0]))
    except CompilerFailedError as error:
        return Judgement(Verdict.SANDBOX, one_line(str(error)))


class Workshop:
    """What one worker makes out of Java sources: jobs, and what tests expect."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Start nothing yet."""
        jar = _javatuples()
        self._jars = {} if jar is None else {_JAR: jar}
        self._compiler = Compiler(sandbox, jars=self._jars)
        self._known: dict[str, list[Plain] | None] = {}

    def expected(self, tests: ReadTests) -> list[Plain] | None:
        """What each assertion expects; None where that takes names of the program or cannot be compared.

        Raises:
            As `Compiler.report`, but no CompileError.
        """
        if tests.expected not in self._known:
            if len(self._known) >= _KNOWN_TESTS:
                self._known.clear()
            self._known[tests.expected] = self._expected(tests)
        return self._known[tests.expected]

    def job(self, source: str, limits: Limits, *, runner: str | None = None, stdin: bytes = b"") -> Job:
        """Compile a program into a job that runs the class with its last `main`.

        Args:
            runner: a class of the guests that runs it.

        Raises:
            As `Compiler.compile`.
        """
        compiled = self._compiler.compile(self._importable(source))
        if compiled.main is None:
            raise CompileError("no class has a main method")
        needs_tuples = any(b"org/javatuples/" in content for content in compiled.classes.values())
        jars = self._jars if needs_tuples else {}
        heap = limits.memory_bytes * 5 // 8 >> 20  # the rest is for what is not on the heap
        command = ("java", f"-Xmx{heap}m", *_OPTIONS, "-cp", ":".join([".", *jars]))
        main = (compiled.main,) if runner is None else (runner, compiled.main)
        files = {**compiled.classes, **jars, **self._compiler.guests()}  # in the place of a program's own
        return Job((*command, *main), files=files, stdin=stdin, limits=limits)

    def close(self) -> None:
        """End the compiler."""
        self._compiler.close()

    def _expected(self, tests: ReadTests) -> list[Plain] | None:
        try:
            lines = self._compiler.report(self._importable(tests.expected))
        except CompileError:
            return None
        found = [check(json.loads(line)[1]) for line in lines]
        comparable = (
            value == ["n"] or is_primitive(value) or assertion.reporter == "equal"
            for assertion, value in zip(tests.assertions, found, strict=True)
        )
        return found if all(comparable) and not any(map(is_opaque, found)) else None

    def _importable(self, source: str) -> str:
        """The source without imports of javatuples where there is none.

        Raises:
            UserError: if it uses them.
        """
        if self._jars or not _IMPORT.search(source):
            return source
        without = _IMPORT.sub("", source)
        if _TUPLE.search(without):
            raise UserError(
                "a Java program needs javatuples 1.2, which is not installed: "
                f"install libjavatuples-java, or set {JAVATUPLES} to its jar"
            )
        return without


@functools.cache
def _javatuples() -> bytes | None:
    named = os.environ.get(JAVATUPLES)
    if named and not Path(named).is_file():
        raise UserError(f"{JAVATUPLES}: {named}: no such file")
    places = [Path(named)] if named else [*map(Path, _USUAL_PLACES), Path.home() / _MAVEN]
    return next((place.read_bytes() for place in places if place.is_file()), None)
