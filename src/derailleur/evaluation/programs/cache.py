"""Judgements kept between runs, by content."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from derailleur.errors import DataError
from derailleur.evaluation.verdicts import Judgement, Verdict

_FILE_NAME = "judgements.sqlite"
_BATCH = 256
_WAIT_SECONDS = 60.0
_NOT_KEPT = (Verdict.SANDBOX, Verdict.TIMEOUT)
"""Verdicts that may be other ones the next time."""


def default_cache_folder() -> Path:
    """The folder of this user's cache, as the XDG base directories have it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "derailleur" / "programs"


class Cache:
    """A table of judgements in a folder, for any number of processes and threads at once.

    It is written in batches, the last of them at the end of the `with` block: each as a whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        """Open the table, or make it.

        Raises:
            DataError: if the file is there and is no such table.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / _FILE_NAME
        self._lock = threading.Lock()
        self._unwritten: list[tuple[str, str, str, float]] = []
        with self._errors():
            self._table = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, check_same_thread=False)
            columns = "key TEXT PRIMARY KEY, verdict TEXT, detail TEXT, seconds REAL"
            self._table.execute(f"CREATE TABLE IF NOT EXISTS judgements ({columns})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._errors():
            self._write()
            self._table.close()

    def get(self, key: str) -> Judgement | None:
        """The judgement under a key, once it is written."""
        with self._errors():
            query = "SELECT verdict, detail, seconds FROM judgements WHERE key = ?"
            found = self._table.execute(query, (key,)).fetchone()
        return None if found is None else Judgement(Verdict(found[0]), found[1], found[2])

    def put(self, key: str, judgement: Judgement) -> None:
        """Keep a judgement, if it would be the same the next time."""
        if judgement.verdict in _NOT_KEPT:
            return
        with self._errors():
            self._unwritten.append((key, judgement.verdict, judgement.detail, judgement.seconds))
            if len(self._unwritten) >= _BATCH:
                self._write()

    def _write(self) -> None:
        with self._table:
            self._table.executemany("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?)", self._unwritten)
        self._unwritten.clear()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                raise DataError(f"{self.path}: {error}; remove the file or name another --cache") from None
