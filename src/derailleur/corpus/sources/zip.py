"""Reads zip archives by their central directory; members may be read in any order."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from stat import S_ISLNK
from typing import IO

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.compression import RefusedError
from derailleur.corpus.sources.config import ArchiveLimits
from derailleur.corpus.sources.members import Member

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    OverflowError,
    NotImplementedError,  # zipfile's own, of a version of the format that it lacks
)

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of other methods zipfile unpacks all that it has read, whatever size the directory states."""

_ENCRYPTED, _UTF8_NAME = 0x1, 0x800
_LOCAL_HEADER_BYTES = 30


def zip_members(stream: IO[bytes], limits: ArchiveLimits, *, packed_bytes: int) -> Iterator[Member]:
    """The members of a zip archive in the order of its directory; none is opened before it is read.

    Args:
        packed_bytes: size of the archive.

    Raises:
        RefusedError: if there is no directory, or it promises too much.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except _DAMAGE as error:
        raise RefusedError("corrupt_archive", _reason(error)) from None
    files = [info for info in archive.infolist() if not info.is_dir()]
    _refuse_bombs(files, limits, packed_bytes)
    for info in files:
        yield Member(_name(info), info.file_size, _verdict(info), partial(_read, archive, info))


def _refuse_bombs(files: Sequence[zipfile.ZipInfo], limits: ArchiveLimits, packed_bytes: int) -> None:
    if len(files) > limits.members:
        raise RefusedError("bomb", f"over {limits.members} members")
    most = limits.unpacked_bytes(packed_bytes)
    if sum(info.file_size for info in files) > most:
        raise RefusedError("bomb", f"unpacks to more than {most} bytes")
    end = 0
    for info in sorted(files, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise RefusedError("bomb", f"members overlap at byte {info.header_offset}")
        end = info.header_offset + _LOCAL_HEADER_BYTES + len(_name(info)) + info.compress_size


def _name(info: zipfile.ZipInfo) -> bytes:
    """The name's own bytes: without the flag it is said to be code page 437, and often is UTF-8."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_NAME else "cp437")


def _verdict(info: zipfile.ZipInfo) -> Verdict | None:
    if info.flag_bits & _ENCRYPTED:
        return Verdict("quarantined", "encrypted")
    if info.compress_type not in _METHODS:
        return Verdict("quarantined", "unsupported_compression", f"method {info.compress_type}")
    return Verdict("dropped", "symbolic_link") if S_ISLNK(info.external_attr >> 16) else None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most_bytes: int) -> bytes | Verdict:
    try:
        with archive.open(info) as stream:
            return stream.read(most_bytes)
    except (*_DAMAGE, RuntimeError) as error:  # a RuntimeError asks for a password
        return Verdict("quarantined", "corrupt_member", _reason(error))


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
