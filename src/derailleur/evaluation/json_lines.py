"""Files of JSON lines from outside, `.gz` or not: objects with the place where each was found."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.errors import DataError


@dataclass(frozen=True, slots=True)
class Record:
    """One object of a file.

    Attributes:
        where: `file:line`, for messages.
    """

    where: str
    values: dict[str, Any]

    def text(self, key: str) -> str:
        """The text under a key.

        Raises:
            DataError: if it is missing, of another type, or cannot be written as UTF-8.
        """
        if key not in self.values:
            raise DataError(f"{self.where}: key '{key}' is missing")
        value = self.values[key]
        if not isinstance(value, str):
            raise DataError(f"{self.where}: {key}: expected a string, got {type(value).__name__}")
        self._check_encodable(key, value)
        return value

    def optional_text(self, key: str) -> str | None:
        """The text under a key, or None where there is no such key."""
        return self.text(key) if key in self.values else None

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts under a key.

        Raises:
            DataError: if it is missing, anything else, or cannot be written as UTF-8.
        """
        if key not in self.values:
            raise DataError(f"{self.where}: key '{key}' is missing")
        value = self.values[key]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(f"{self.where}: {key}: expected a list of strings")
        for item in value:
            self._check_encodable(key, item)
        return tuple(value)

    def _check_encodable(self, key: str, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.where}: {key}: half a surrogate pair at character {error.start}"
            ) from None


def read_records(path: Path) -> Iterator[Record]:
    """The objects of a file in order; blank lines are passed over.

    Raises:
        DataError: if the file cannot be read, is empty, is not UTF-8, or a line is not a JSON object.
    """
    is_empty = True
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    is_empty = False
                    yield _record(f"{path}:{number}", line)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path}: {reason.lower()}") from None
    if is_empty:
        raise DataError(f"{path}: the file is empty")


def _record(where: str, line: bytes) -> Record:
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError:
        raise DataError(f"{where}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # numbers that are too long, endless nesting
        raise DataError(f"{where}: not JSON: {str(error).partition(';')[0]}") from None
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(values).__name__}")
    return Record(where, values)
