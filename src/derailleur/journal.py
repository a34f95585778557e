"""An append-only file of JSON lines, one per measurement, from which a killed run goes on."""

import json
import os
from pathlib import Path
from typing import Any

from derailleur.errors import DataError


class Journal:
    """Rows in the order in which they were measured; each is on disk before the next begins.

    Attributes:
        path: the file; made with its first row.
        rows: everything in it.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there. A last line that a kill tore is cut off the file.

        Raises:
            DataError: if another line is not a JSON object; names the line.
        """
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        whole, newline, torn = content.rpartition(b"\n")
        if torn:
            os.truncate(path, len(whole) + len(newline))
        lines = whole.split(b"\n") if whole else []
        self.rows = [self._parse(line, number) for number, line in enumerate(lines, start=1)]

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self.path}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{self.path}:{number}: expected an object, got {type(row).__name__}")
        return row

    def append(self, row: dict[str, Any]) -> None:
        """Write one row through to disk."""
        with self.path.open("ab") as stream:
            stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.rows.append(row)
