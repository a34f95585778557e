"""One worker that runs untrusted programs, and the choice of what confines them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from derailleur.evaluation.sandbox.backend import BackEnd, RefusedError
from derailleur.evaluation.sandbox.box import Box, Reply
from derailleur.evaluation.sandbox.job import End, Job, Outcome
from derailleur.evaluation.sandbox.namespaces import Namespaces


class Sandbox:
    """Runs programs, any number one after another; a context manager. One thread at a time uses it."""

    def __init__(self, back_end: BackEnd) -> None:
        """Take over a back end, made for this worker alone."""
        self.back_end = back_end

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
        return Box(self.back_end, job)

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

    def close(self) -> None:
        """End every program and free the worker."""
        self.back_end.close()


def open_sandbox(*, binds: Mapping[str, str] | None = None, guest: Path | None = None) -> Sandbox:
    """Open a worker's sandbox."""
    return Sandbox(Namespaces(binds=binds, guest=guest))
