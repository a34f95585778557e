"""Atomic files, checksums and the progress protocol: the ground floor under every stage.

Writes go to a temporary name in the same folder, are flushed to disk, then renamed, so that a reader
sees either nothing or the whole file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from derailleur.errors import DataError

_BUFFER_BYTES = 1 << 20


class Progress(Protocol):
    """Told how far a long piece of work is; the command line draws it, the library stays silent."""

    def __call__(self, label: str, done: float, total: float | None, note: str = "") -> None: ...


def silent(label: str, done: float, total: float | None, note: str = "") -> None:
    """The progress that shows nothing."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes `path`, on an exception it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Flush one file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value atomically, indented, non-finite numbers refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON value.

    Raises:
        DataError: if the file cannot be read or is not JSON, which has no NaN; names the file and the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_not_a_number)
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # numbers that are none or too long, endless nesting
        raise DataError(f"{path}: not JSON: {str(error).partition(';')[0]}") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        DataError: as `read_json`, and if the value is of another kind.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _not_a_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BUFFER_BYTES):
            digest.update(block)
    return digest.hexdigest()
