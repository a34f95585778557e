"""Opens ordinary files, and never anything else."""

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A file that became a link, a pipe or a device after it was found is neither followed nor waited for."""


def open_regular(location: str | Path) -> BinaryIO:
    """Open an ordinary file to read.

    Raises:
        OSError: if it cannot be opened, or is a link, a pipe, a device.
    """
    stream = os.fdopen(os.open(location, _OPEN), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError("no longer a regular file")
    return stream


def num_bytes(path: Path) -> int:
    """Size of a file; 0 if it is gone by now."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def file_fingerprint(path: Path) -> str:
    """SHA-256 over a file's name, size and time."""
    status = path.stat()
    return hashlib.sha256(
        f"{path}\0{status.st_size}\0{status.st_mtime_ns}".encode(errors="surrogateescape")
    ).hexdigest()


def reason(error: OSError) -> str:
    """An error of the operating system in few words, without the path."""
    return error.strerror or str(error).partition("\n")[0]
