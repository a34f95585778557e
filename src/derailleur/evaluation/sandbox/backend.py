"""The seam between the supervisor's side of a running program (`box.py`) and what confines it.

A back end starts a program with given descriptors and gives back a process with a pidfd. All the rest
- pipes, the wall clock, caps on output, the channel - is the same for every back end: `box.py`.
"""

from dataclasses import dataclass
from typing import Protocol

from derailleur.errors import UserError
from derailleur.evaluation.sandbox.job import Job


class RefusedError(UserError):
    """This machine does not let the back end work; the message says in one line what was refused."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        code: exit status, or minus the signal's number.
        cpu_seconds: user and system time of it and of the children that were waited for.
        memory_bytes: the largest resident size of one process.
        out_of_memory: a memory cgroup killed a process of it, whether or not the program minded.
        trouble: why the program could not be started: the sandbox's failure, not the program's.
    """

    code: int
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    out_of_memory: bool = False
    trouble: str = ""


class Process(Protocol):
    """A started program.

    Attributes:
        pidfd: of the process with which all others of the program die; readable once it has ended. Closed
            by `wait`.
        memory_limited: whether a cgroup limits the memory of all its processes together; otherwise the
            supervisor watches their size.
    """

    pidfd: int
    memory_limited: bool

    def kill(self) -> None:
        """End the program and all that it started; does nothing where they have ended."""

    def wait(self) -> Exit:
        """Reap it; called once, when `pidfd` is readable or after `kill`."""


class BackEnd(Protocol):
    """One way to confine programs; one object a worker.

    The constructor raises `RefusedError` where the machine does not let it work.
    """

    name: str

    def start(self, job: Job, descriptors: tuple[int, ...]) -> Process:
        """Start a program.

        Args:
            job: its command, files and limits; its `stdin` and `peer` are in `descriptors` already.
            descriptors: what the program gets as 0, 1, 2, 3 and, where the job has a peer, 4. The caller
                closes its copies after this returns.

        Raises:
            RefusedError: if the back end itself no longer works; the program's end is then End.SANDBOX.
        """

    def close(self) -> None:
        """End every program and free what the worker holds."""
