"""The samples of a benchmark: completions in a journal, from which a killed run goes on, then with verdicts.

completions.jsonl   a line a completion, in the order in which they were generated
samples.jsonl       a line a sample with its verdict, by preset, set and problem, once all are there
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from derailleur.evaluation.generation.request import Completion, Finish, SampleRequest
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.io import atomic_path
from derailleur.journal import Journal

COMPLETIONS, SAMPLES = "completions.jsonl", "samples.jsonl"


class Key(NamedTuple):
    """Which sample of all."""

    preset: str
    set: str
    id: str
    temperature: float | None
    sample: int


class CompletionsJournal:
    """Completions by key; each is written before the next is asked for."""

    def __init__(self, path: Path) -> None:
        """Read what is there, without a last line that a kill tore.

        Raises:
            DataError: if a line is not a JSON object; names it.
        """
        self._rows = {_key(row): row for row in Journal(path).rows}
        self._stream = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def find(self, key: Key) -> Completion | None:
        """The completion under a key, or None if it is yet to be generated."""
        row = self._rows.get(key)
        return None if row is None else Completion(row["text"], Finish(row["finish"]), row["num_tokens"])

    def append(self, key: Key, completion: Completion, seconds: float) -> None:
        """Hand one completion over to the system, so that it survives the end of this process.

        Args:
            seconds: waited for it since the one before, or since the beginning.
        """
        row = key._asdict() | asdict(completion) | {"seconds": round(seconds, 6)}
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()
        self._rows[key] = row

    def speed(self, preset: str, problem_set: str) -> float | None:
        """Tokens per second over what a preset wrote for a set; None where its source counts none."""
        rows = [row for key, row in self._rows.items() if key[:2] == (preset, problem_set)]
        seconds = sum(row["seconds"] for row in rows)
        if not seconds or any(row["num_tokens"] is None for row in rows):
            return None
        return sum(row["num_tokens"] for row in rows) / seconds


def _key(row: dict[str, Any]) -> Key:
    return Key(*(row[name] for name in Key._fields))


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample with its verdict.

    Attributes:
        judgement: None until it is judged, and where there is nothing to judge: no room for an answer.
    """

    key: Key
    request: SampleRequest
    completion: Completion
    judgement: Judgement | None = None

    @property
    def is_judged(self) -> bool:
        """Whether there is anything to judge."""
        return self.completion.finish is not Finish.TOO_LONG

    @property
    def passed(self) -> bool | None:
        """None where the sandbox failed, which says nothing about the model."""
        if self.judgement is None:
            return False
        return None if self.judgement.verdict is Verdict.SANDBOX else self.judgement.passed

    @property
    def is_exact(self) -> bool:
        """Whether the completion is the reference, white space at both ends aside."""
        return self.is_judged and self.request.problem.exact_match(self.completion.text)

    def as_row(self) -> dict[str, Any]:
        """A line of samples.jsonl."""
        problem, judgement = self.request.problem, self.judgement
        return {
            **self.key._asdict(),
            "language": problem.language,
            "seed": self.request.seed,
            "completion": self.completion.text,
            "finish": self.completion.finish,
            "num_tokens": self.completion.num_tokens,
            "passed": self.passed,
            "verdict": judgement.verdict if judgement else None,
            "detail": judgement.detail if judgement else "",
            "seconds": round(judgement.seconds, 4) if judgement else 0.0,
        }


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write every sample, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for sample in samples:
            stream.write(json.dumps(sample.as_row(), ensure_ascii=False) + "\n")
