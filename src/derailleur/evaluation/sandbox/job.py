"""What is run in the sandbox, and what became of it."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from derailleur.evaluation.sandbox.limits import Limits


class End(StrEnum):
    """Why a program ended."""

    EXITED = "exited"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Job:
    """One program.

    Attributes:
        command: what is executed in the working folder, the first part found on the box's PATH (`python`,
            `node`, `java`, `javac`, `sh`) or absolute. `("python", "-m", "guest")` is the warm guest: forked,
            not executed.
        files: content by path in the working folder `/tmp/box`, written before the start.
        stdin: standard input; at its end at once where it is empty.
        peer: the socket that the program gets as descriptor 4, to speak to another program; closed here
            after the start.
    """

    command: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    limits: Limits = field(default_factory=Limits)
    peer: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended.

    Attributes:
        code: the exit status; minus the signal's number where a signal ended it.
        stdout, stderr: what it wrote, cut at the limit.
        report: the lines that it wrote to its channel, descriptor 3, without their newlines.
        cpu_seconds: processor time of all its processes that were waited for.
        wall_seconds: from the start to the end.
        memory_bytes: the largest resident size of a process.
        detail: for End.SANDBOX, what failed: never the program's own doing.
    """

    end: End
    code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    report: tuple[bytes, ...] = ()
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_bytes: int = 0
    detail: str = ""
