"""The file of results: one JSON line a row, in the rows' order, and what a killed run leaves of it."""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from derailleur.errors import DataError
from derailleur.evaluation.programs.row import Row
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.io import atomic_path
from derailleur.journal import Journal


class PartialResults:
    """The judgements of a run that has not finished, by key, in a file beside the one to come.

    Attributes:
        path: the file, gone once `remove` is called.
    """

    def __init__(self, results: Path) -> None:
        """Read what a killed run left.

        Raises:
            DataError: if the file holds anything else; names the line.
        """
        self.path = results.with_name(results.name + ".partial")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._judgements = dict(self._known(Journal(self.path).rows))
        self._stream = self.path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def _known(self, rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Judgement]]:
        for number, row in enumerate(rows, start=1):
            try:
                yield row["key"], Judgement(Verdict(row["verdict"]), row["detail"], row["seconds"])
            except (KeyError, ValueError):
                raise DataError(f"{self.path}:{number}: no partial result; remove the file") from None

    def get(self, key: str) -> Judgement | None:
        """The judgement under a key, if the killed run came so far."""
        return self._judgements.get(key)

    def put(self, key: str, judgement: Judgement) -> None:
        """Append a judgement; it survives the end of this process."""
        if judgement.verdict is Verdict.SANDBOX:
            return
        row = {"key": key, "verdict": judgement.verdict, "detail": judgement.detail}
        with self._lock:
            self._stream.write(json.dumps(row | {"seconds": judgement.seconds}) + "\n")
            self._stream.flush()

    def remove(self) -> None:
        """Forget it, since the whole results are written."""
        self.path.unlink(missing_ok=True)


def write_results(path: Path, rows: Iterable[Row], judgements: Iterable[Judgement]) -> None:
    """Write the `result` of every row, in order, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for row, judgement in zip(rows, judgements, strict=True):
            stream.write(json.dumps(result(row, judgement), ensure_ascii=False) + "\n")


def result(row: Row, judgement: Judgement) -> dict[str, Any]:
    """One line of the results; `passed` is null where the sandbox failed, which says nothing of it."""
    return {
        "id": row.id,
        "passed": None if judgement.verdict is Verdict.SANDBOX else judgement.passed,
        "verdict": judgement.verdict,
        "seconds": round(judgement.seconds, 4),
        "detail": judgement.detail,
    }


def count_verdicts(rows: Sequence[Row], judgements: Sequence[Judgement]) -> dict[str, dict[str, int]]:
    """How many programs of each language got each verdict; every verdict is there, languages as they come."""
    counts: dict[str, dict[str, int]] = {}
    for (language, verdict), number in Counter(
        (row.language, judgement.verdict) for row, judgement in zip(rows, judgements, strict=True)
    ).items():
        counts.setdefault(language, dict.fromkeys(Verdict, 0))[verdict] = number
    return counts
