"""One worker that runs untrusted programs, and the choice of what confines them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from derailleur.errors import ArgumentError
from derailleur.evaluation.sandbox.backend import BackEnd, RefusedError
from derailleur.evaluation.sandbox.box import Box, Reply
from derailleur.evaluation.sandbox.job import End, Job, Outcome
from derailleur.evaluation.sandbox.pump import Pump

_CONFINED = ("namespaces", "bubblewrap", "landlock")
_UNCONFINED = "unsafe"


class Companion(Protocol):
    """What serves many programs of a worker, in a box of its own: a warm compiler."""

    def close(self) -> None:
        """End its box; waits for a thread that still uses it."""


AnyCompanion = TypeVar("AnyCompanion", bound=Companion)


class Sandbox:
    """Runs programs, any number one after another; a context manager. One thread at a time uses it."""

    def __init__(self, back_end: BackEnd) -> None:
        """Take over a back end, made for this worker alone."""
        self.back_end = back_end
        self._pump = Pump()
        self._companions: dict[Callable[[Sandbox], Any], Companion] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, job: Job) -> Box:
        """Start a program and return while it runs; several may run at once.

        Raises:
            RefusedError: if the sandbox itself has failed and must be opened anew.
        """
        return Box(self.back_end, self._pump, job)

    def run(self, job: Job, reply: Reply | None = None) -> Outcome:
        """Run a program to its end.

        Args:
            reply: called with each line that it writes on its channel; what it returns is sent back.
        """
        try:
            box = self.start(job)
        except RefusedError as refusal:
            return Outcome(End.SANDBOX, detail=str(refusal))
        try:
            return box.wait(reply)
        except BaseException:
            box.kill()
            box.wait()
            raise

    def companion(self, make: Callable[["Sandbox"], AnyCompanion]) -> AnyCompanion:
        """What `make` gives for this worker, made when first asked for and kept as long as the sandbox."""
        if make not in self._companions:
            self._companions[make] = make(self)
        return self._companions[make]  # type: ignore[return-value]

    def close(self) -> None:
        """End every program and free the worker; the one method that another thread may call."""
        for companion in list(self._companions.values()):
            companion.close()
        self.back_end.close()


def open_sandbox(
    back_end: str | None = None,
    *,
    unsafe: bool = False,
    binds: Mapping[str, str] | None = None,
    guest: Path | None = None,
) -> Sandbox:
    """Open the sandbox of one worker, confined as well as this machine allows.

    Args:
        back_end: `namespaces`, `bubblewrap` or `landlock`; by default the first of these that works.
        unsafe: where none of them works, run programs without confinement.
        binds: path inside by path on the host: files and folders that programs may read, beside the system's.
        guest: a Python file with a `main`, forked for the command `python -m guest`; default the package's.

    Raises:
        RefusedError: if none works; the message says what each lacks.
    """
    known = [*_CONFINED, *([_UNCONFINED] if unsafe else [])]
    if back_end is not None and back_end not in known:
        raise ArgumentError(f"sandbox: unknown back end '{back_end}', expected one of {', '.join(known)}")
    refusals = []
    for name in known if back_end is None else [back_end]:
        try:
            return _opened(name, binds or {}, guest)
        except RefusedError as refusal:
            refusals.append(f"{name}: {refusal}")
    raise RefusedError(f"no sandbox works here: {'; '.join(refusals)}")


def _opened(name: str, binds: Mapping[str, str], guest: Path | None) -> Sandbox:
    """A sandbox that has run a trivial program.

    Raises:
        RefusedError: if the back end does not work here.
    """
    back_end = getattr(import_module(f"derailleur.evaluation.sandbox.{name}"), name.capitalize())
    sandbox = Sandbox(back_end(binds=binds, guest=guest))
    outcome = sandbox.run(Job(("true",)))
    if outcome.end is not End.EXITED or outcome.code != 0:
        sandbox.close()
        said = outcome.stderr.decode(errors="replace").strip()
        raise RefusedError(said or outcome.detail or f"a program that does nothing ended with {outcome.code}")
    return sandbox
