"""Compressed streams: unpacked as they are read, and never to more bytes than was agreed."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Mapping
from typing import IO, Any

import pyarrow as pa

from derailleur.corpus.ledger import Verdict

COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
"""What a file is compressed with, by its last suffix."""


class RefusedError(Exception):
    """A file that holds others is damaged or dangerous.

    Attributes:
        verdict: `bomb`, or what is broken and where.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = Verdict("quarantined", reason, detail)


class Unpacked(io.RawIOBase):
    """The unpacked bytes of a stream, forwards only.

    Args:
        compression: a value of `COMPRESSIONS`, or None for bytes that are read as they are.
        most_bytes: more than these are refused as a bomb.
        keep_bytes: up to so many are kept to be read again.

    Attributes:
        kept: what was read so far; None if that was too much.
    """

    def __init__(
        self, stream: IO[bytes], compression: str | None, *, most_bytes: int, keep_bytes: int = 0
    ) -> None:
        self._stream = _opened(stream, compression)
        self._most_bytes = most_bytes
        self._keep_bytes = keep_bytes
        self.kept: bytearray | None = bytearray()
        self.position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read as much as the buffer holds; fewer bytes only at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes; fewer only at the end.

        Raises:
            RefusedError: if the stream is damaged, was cut off or unpacks to too much.
        """
        try:
            data = self._stream.read(size)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            raise RefusedError("corrupt_archive", f"{why}, after {self.position} unpacked bytes") from None
        self.position += len(data)
        if self.position > self._most_bytes:
            raise RefusedError("bomb", f"unpacks to more than {self._most_bytes} bytes")
        if self.position > self._keep_bytes:
            self.kept = None
        elif self.kept is not None:
            self.kept += data
        return data


def _opened(stream: IO[bytes], compression: str | None) -> Any:
    match compression:
        case "gzip":
            return gzip.GzipFile(fileobj=stream, mode="rb")
        case "bz2":
            return bz2.BZ2File(stream)
        case "xz":
            return lzma.LZMAFile(stream)
        case "zstd":
            return pa.CompressedInputStream(_KeptOpen(stream), "zstd")
    return stream


class _KeptOpen(io.RawIOBase):
    """A stream that stays open when Arrow, which closes what it has read from, is done with it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
