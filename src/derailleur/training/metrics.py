"""metrics.jsonl: one line a step, and no line twice, however often the run was cut off."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from derailleur.io import write_text


class MetricsLog:
    """Appends rows to a JSONL file; opened, it holds rows up to the step from which the run goes on."""

    def __init__(self, path: Path, *, last_step: int) -> None:
        """Open `path`, dropping torn lines and rows of steps after `last_step`, which will come again."""
        kept = [row for row in _complete_rows(path) if row["step"] <= last_step]
        write_text(path, "".join(f"{json.dumps(row)}\n" for row in kept))
        self.last_row: Mapping[str, Any] = kept[-1] if kept else {}
        self._stream = path.open("a", encoding="utf-8")

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; a reader sees it at once."""
        self._stream.write(json.dumps(row, allow_nan=False) + "\n")
        self._stream.flush()
        self.last_row = row

    def sync(self) -> None:
        """Flush to disk."""
        os.fsync(self._stream.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _complete_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
