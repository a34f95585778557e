"""The supervisor's side of the back ends whose programs are started by a process of ours, one a worker."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import derailleur
from derailleur.evaluation.sandbox import inside, launcher, root
from derailleur.evaluation.sandbox.backend import Exit, RefusedError
from derailleur.evaluation.sandbox.cgroups import Group, Share
from derailleur.evaluation.sandbox.job import Job
from derailleur.evaluation.sandbox.memory_files import sealed

PYTHON = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"

_START = (
    "import os, sys; sys.path.insert(0, os.read(0, 65536).decode());"
    "from derailleur.evaluation.sandbox.{module} import main; sys.path.pop(0); main()"
)
_START_SECONDS = 30.0


def _start(module: str, control: socket.socket, python: str) -> subprocess.Popen[bytes]:
    """Run a module of ours without site-packages, in a session of its own, without our environment."""
    return subprocess.Popen(
        [python, "-S", "-P", "-c", _START.format(module=module)],
        cwd="/",
        env=root.ENVIRONMENT,
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class BoxProcess:
    """The process that a program lives and dies with, as the launcher tells of it."""

    def __init__(self, life: socket.socket, share: Share | None) -> None:
        """Wait until it is cloned.

        Raises:
            RefusedError: if it could not be.
        """
        self._life = life
        self._share = share
        self.memory_limited = share is not None
        self._started = False
        self._trouble = ""
        self._ended: tuple[int, float, int] | None = None
        self.pidfd = -1
        while self.pidfd < 0:
            if not self._receive():
                life.close()
                self._give_back()
                raise RefusedError(self._trouble or "the launcher ended")

    def kill(self) -> None:
        """End the box."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self) -> Exit:
        """How it ended; see `Process.wait`."""
        while self._ended is None and self._receive():
            pass
        self._life.close()
        os.close(self.pidfd)
        out_of_memory = self._give_back()
        if self._ended is None:
            return Exit(-signal.SIGKILL, trouble="the launcher ended")
        code, cpu_seconds, memory_bytes = self._ended
        trouble = self._trouble or ("" if self._started else "ended while the box was set up")
        return Exit(code, cpu_seconds, memory_bytes, out_of_memory, trouble)

    def _give_back(self) -> bool:
        return self._share is not None and self._share.give_back()

    def _receive(self) -> bool:
        """Take in one message; False when there will be no more."""
        message, descriptors, *_ = socket.recv_fds(self._life, 1 << 13, 1)
        if message == launcher.PIDFD:
            (self.pidfd,) = descriptors
        elif message == inside.STARTED:
            self._started = True
        elif message.startswith(inside.FAILED):
            self._trouble = message.removeprefix(inside.FAILED).decode()
        elif message.startswith(launcher.ENDED):
            self._ended = json.loads(message.removeprefix(launcher.ENDED))
        return bool(message)


class Launched:
    """Programs started by a launcher.

    Attributes:
        module: of this package, whose `main` is the launcher.
        process: what becomes of a started program.
    """

    module: ClassVar[str] = "launcher"
    process: ClassVar[type[BoxProcess]] = BoxProcess

    def __init__(self, settings: Mapping[str, Any], *, python: str = PYTHON) -> None:
        """Start the launcher.

        Args:
            settings: what it is told, as JSON.
            python: the interpreter that runs it.

        Raises:
            RefusedError: where it cannot work.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._launcher = _start(self.module, theirs, python)
        self._group = Group.of_worker(self._launcher.pid)
        try:
            self._control.settimeout(_START_SECONDS)
            self._control.send(str(Path(derailleur.__file__).parent.parent).encode())
            self._control.send(json.dumps(settings).encode())
            answer = self._control.recv(1 << 16)
        except OSError as error:
            answer = str(error).encode()
        if answer != launcher.READY:
            self.close()
            raise RefusedError(answer.decode().strip() or "the launcher ended at its start")

    def start(self, job: Job, descriptors: tuple[int, ...]) -> BoxProcess:
        """Have the launcher start a program; see `BackEnd.start`."""
        limits = job.limits.model_dump(include={"cpu_seconds", "memory_bytes", "processes", "disk_bytes"})
        request = {"command": job.command, "limits": limits, "files": bool(job.files)}
        life, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [theirs.fileno(), *descriptors]
        files = sealed(inside.pack_files(dict(job.files))) if job.files else None
        if files is not None:
            passed.insert(1, files)
        share = self._group.share(job.limits) if self._group else None
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], passed)
        except OSError as error:
            life.close()
            if share:
                share.give_back()
            raise RefusedError(f"the launcher is gone: {error}") from None
        finally:
            theirs.close()
            if files is not None:
                os.close(files)
        return self.process(life, share)

    def close(self) -> None:
        """End the launcher and with it every box."""
        with contextlib.suppress(OSError):  # it has ended
            self._control.shutdown(socket.SHUT_RDWR)  # even where a fork of ours still has the socket
        self._control.close()
        self._launcher.wait()
        if self._group:
            self._group.remove()
