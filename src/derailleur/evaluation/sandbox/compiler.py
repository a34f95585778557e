"""A warm Java compiler, in a box of its own in which no compiled program runs.

A cold `javac` takes half a second of processor time, nearly all of it to start.
"""

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from derailleur.evaluation.sandbox.box import Box
from derailleur.evaluation.sandbox.job import Job
from derailleur.evaluation.sandbox.limits import Limits
from derailleur.evaluation.sandbox.sandbox import Sandbox

_SOURCES = "/opt/derailleur/guests/java"
_HEAP_MIB = 512
_MOST_COMPILES = 2000  # then afresh, so that nothing can pile up
_START_SECONDS = 120.0
_COMPILE_SECONDS = 30.0  # a source can keep a compiler busy for ever
_LIMITS = Limits(cpu_seconds=36_000, wall_seconds=1e6, report_bytes=64 << 20)
_OPTIONS = (
    f"-Xmx{_HEAP_MIB}m",
    "-Xshare:auto",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
)


class CompileError(Exception):
    """The source does not compile; the message is the first error."""


class CompilerFailedError(Exception):
    """The compiler did not start, which is no source's fault."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled program.

    Attributes:
        main: the class with the last `main` of the source; None where there is none.
        classes: class files by their path.
    """

    main: str | None
    classes: Mapping[str, bytes]


class Compiler:
    """The compiler of one worker; started with the first source, and again where one has brought it down."""

    def __init__(self, sandbox: Sandbox, *, jars: Mapping[str, bytes]) -> None:
        """Start nothing yet.

        Args:
            jars: what sources can import, by file name.
        """
        self._sandbox = sandbox
        self._jars = jars
        self._lock = threading.Lock()
        self._box: Box | None = None
        self._compiles = 0
        self._guests: Mapping[str, bytes] = {}

    def compile(self, source: str) -> Compiled:
        """Compile one source, whose public class may have any name.

        Raises:
            CompileError: if it does not compile, or twice brings the compiler down.
            CompilerFailedError: if the compiler does not start.
            RefusedError: if the sandbox has failed.
        """
        main, *classes = self._ask("compile", source)
        return Compiled(None if main == "-" else main, _unpacked(classes))

    def guests(self) -> Mapping[str, bytes]:
        """The class files of the guests that run beside programs, by their path."""
        with self._lock:
            self._started()
            return self._guests

    def report(self, source: str) -> list[bytes]:
        """The lines that `Expected.report()` of a source gives; no program's code may be in it.

        Raises:
            As `compile`; `CompileError` also for an exception.
        """
        (lines,) = self._ask("evaluate", source)
        return base64.b64decode(lines).splitlines()

    def close(self) -> None:
        """End the box."""
        if box := self._box:
            box.kill()
        with self._lock:
            self._drop()

    def _ask(self, request: str, source: str) -> list[str]:
        content = base64.b64encode(source.encode(errors="replace"))
        line = b"%b %b\n" % (request.encode(), content)
        with self._lock:
            answer = self._answered(line) or self._answered(line)
        if answer is None:
            raise CompileError("the compiler takes too long, or does not survive the source")
        status, *rest = answer.split()
        if status == "error":
            raise CompileError(base64.b64decode(rest[0]).decode())
        return rest

    def _answered(self, line: bytes) -> str | None:
        box = self._started()
        box.send(line)
        self._compiles += 1
        answer = box.read_line(_COMPILE_SECONDS)
        if answer is None or self._compiles >= _MOST_COMPILES:
            self._drop()
        return None if answer is None else answer.decode()

    def _started(self) -> Box:
        """The box, ready."""
        if self._box is not None:
            return self._box
        class_path = ":".join(self._jars) or "."
        command = (
            "java",
            *_OPTIONS,
            "-cp",
            class_path,
            f"{_SOURCES}/CompileServer.java",
            _SOURCES,
            class_path,
        )
        self._box = self._sandbox.start(Job(command, files=self._jars, limits=_LIMITS))
        self._box.send(b"guests\n")
        self._compiles = 0
        answer = self._box.read_line(_START_SECONDS)
        if answer is None:
            errors = self._drop()
            raise CompilerFailedError(f"the compiler did not start: {errors}")
        self._guests = _unpacked(answer.decode().split()[1:])
        return self._box

    def _drop(self) -> str:
        """End the box; the first line that it wrote to standard error, or what else was its trouble."""
        if self._box is None:
            return ""
        self._box.kill()
        outcome, self._box = self._box.wait(), None
        return outcome.detail or outcome.stderr.decode(errors="replace").strip().partition("\n")[0]


def _unpacked(classes: list[str]) -> dict[str, bytes]:
    pairs = (item.split(":") for item in classes)
    return {f"{name.replace('.', '/')}.class": base64.b64decode(content) for name, content in pairs}
