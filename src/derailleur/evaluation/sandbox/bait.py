"""What hostile programs are after, laid out so that whatever they reach shows."""

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.evaluation.sandbox import seccomp

_VARIABLE = "DERAILLEUR_BAIT"


@dataclass(frozen=True)
class Bait:
    """Secrets, files, sockets and a process of the host that a program must not reach.

    Attributes:
        secret: in the environment and the memory of this process, in `file`, and in the environment of
            `victim`; matches `bait:[0-9a-f]{32}`.
        folder: anyone may write to it.
        file: anyone may read and write it.
        victim: a process of ours.
        listeners: sockets by name.
    """

    secret: str
    folder: Path
    file: Path
    victim: subprocess.Popen[bytes]
    listeners: dict[str, socket.socket]

    def described(self) -> dict[str, Any]:
        """What a program is told: where all of it is, but not the secret."""
        names = {name: listener.getsockname() for name, listener in self.listeners.items()}
        return {
            "file": str(self.file),
            "folder": str(self.folder),
            "pids": [self.victim.pid, os.getpid()],
            "tcp_port": names["tcp"][1],
            "udp_port": names["udp"][1],
            "abstract": names["abstract"][1:].decode(),
            "socket": names["file"],
            "datagram_socket": names["datagram"],
            "calls": seccomp.numbers(),
        }

    def touched(self) -> list[str]:
        """What a program reached or changed since the last time."""
        found = [
            f"connected to {name}" for name, listener in self.listeners.items() if _was_reached(listener)
        ]
        if self.victim.poll() is not None:
            found.append("killed a process of the host")
        if not self._is_whole():
            found.append("changed a file of the host")
        return found

    def _is_whole(self) -> bool:
        if {path.name for path in self.folder.iterdir()} != {"bait", "stream", "datagram"}:
            return False
        return self.file.read_text() == self.secret and self.file.stat().st_mode & 0o777 == 0o666


@contextlib.contextmanager
def laid_out() -> Iterator[Bait]:
    """Lay the bait; the environment variable holds as long as it does."""
    secret = f"bait:{secrets.token_hex(16)}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="derailleur-bait-")))
        folder.chmod(0o777)
        file = folder / "bait"
        file.write_text(secret)
        file.chmod(0o666)
        os.environ[_VARIABLE] = secret
        stack.callback(os.environ.pop, _VARIABLE)
        victim = stack.enter_context(subprocess.Popen(["sleep", "86400"], stdin=subprocess.DEVNULL))
        stack.callback(victim.kill)
        listeners = {name: stack.enter_context(listener) for name, listener in _listeners(folder)}
        yield Bait(secret, folder, file, victim, listeners)


def _listeners(folder: Path) -> Iterator[tuple[str, socket.socket]]:
    token = secrets.token_hex(8)
    for name, family, kind, address in (
        ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0derailleur-{token}"),
        ("file", socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream")),
        ("datagram", socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagram")),
    ):
        listener = socket.socket(family, kind)
        listener.setblocking(False)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        yield name, listener
    for path in folder.iterdir():
        path.chmod(0o777 if path.is_socket() else 0o666)


def _was_reached(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_STREAM:
            listener.accept()[0].close()
        else:
            listener.recv(1)
    except BlockingIOError:
        return False
    return True
