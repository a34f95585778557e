"""Opens one file safely and decides whether it is text: UTF-8, or quarantined with the reason."""

import codecs
import hashlib
import os
import stat
from dataclasses import dataclass

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources import SourceFile

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""A file that became a link, a pipe or a device after it was found is neither followed nor waited for."""


@dataclass(frozen=True, slots=True)
class Content:
    """A text file.

    Attributes:
        data: UTF-8 without a byte order mark; line ends as they were.
        sha256: of the file's raw bytes.
    """

    data: bytes
    sha256: bytes


def read_file(file: SourceFile, *, max_bytes: int) -> Content | Verdict:
    """Read a file's text, or say why it cannot be used."""
    try:
        raw = _read(file.location, max_bytes + 1)
    except OSError as error:
        return Verdict("quarantined", "unreadable", error.strerror or str(error))
    if len(raw) > max_bytes:
        return Verdict("dropped", "too_large", f"over {max_bytes} bytes, grew while it was read")
    data = raw.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        return Verdict("dropped", "empty")
    if (position := raw.find(b"\0")) >= 0:
        return Verdict("quarantined", "binary", f"NUL at byte {position}")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Verdict("quarantined", "not_utf8", f"0x{raw[error.start]:02x} at byte {error.start}")
    return Content(data, hashlib.sha256(raw).digest())


def _read(location: str, limit: int) -> bytes:
    with os.fdopen(os.open(location, _OPEN), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError("no longer a regular file")
        return stream.read(limit)
