"""Scores a scan against an annotated file: rows {"id", "content", "spans": [{"start", "end", "tag"}]}.

Spans are in characters. Names of tags that other sets use are mapped to ours. A span or a look-alike may
say its `kind`, as generated benchmarks do; then misses and false alarms are counted by kind too.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from derailleur.corpus.pii.metric import Interval, Score, match
from derailleur.corpus.pii.spans import Span
from derailleur.corpus.rows import read_numbered_jsonl
from derailleur.errors import DataError

SCORED_AS: Mapping[str, str] = {
    **dict.fromkeys(("EMAIL", "EMAIL_ADDRESS"), "EMAIL"),
    **dict.fromkeys(("IP_ADDRESS", "IP", "IPV4", "IPV6"), "IP_ADDRESS"),
    **dict.fromkeys(("KEY", "PRIVATE_KEY", "API_KEY", "SSH_KEY", "SECRET", "TOKEN"), "KEY"),
    "PASSWORD": "PASSWORD",
    **dict.fromkeys(("NAME", "PERSON"), "NAME"),
    **dict.fromkeys(("USERNAME", "USER_NAME"), "USERNAME"),
    "AMBIGUOUS": "AMBIGUOUS",
}
"""What a tag of this or another set counts as. Where a private key is one more kind of key is up to a set."""

_AMBIGUOUS = "AMBIGUOUS"  # annotators could not tell: finding it is neither right nor wrong

_NUM_WORST = 10
_MISSED, _FALSE_ALARM = "missed", "false alarm"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span that an annotated row names.

    Attributes:
        kind: more exactly what it is; empty if the row does not say.
    """

    start: int
    end: int
    tag: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class AnnotatedRow:
    """A text and all that is in it."""

    id: str
    content: str
    spans: tuple[Annotation, ...]
    look_alikes: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True, order=True)
class WorstRow:
    """A row with errors; compared by their number."""

    errors: int
    id: str
    false_positives: int
    false_negatives: int


@dataclass
class BenchmarkResult:
    """Scores of one run.

    Attributes:
        scores: by tag, of the tags that were looked for.
        not_looked_for: annotated spans of tags that the scan does not know, by tag.
        found_of_kind: by kind of annotated span, how many were found, and how many there are.
        alarms: false positives by the kind of look-alike that they fell on, or "elsewhere".
        worst: the rows with most errors.
    """

    rows: int = 0
    scores: dict[str, Score] = field(default_factory=dict)
    not_looked_for: Counter[str] = field(default_factory=Counter)
    found_of_kind: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    alarms: Counter[str] = field(default_factory=Counter)
    worst: list[WorstRow] = field(default_factory=list)

    @property
    def total(self) -> Score:
        """All tags that were looked for together."""
        return sum(self.scores.values(), Score())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": self.rows,
            "scores": {tag: _score_json(score) for tag, score in sorted(self.scores.items())},
            "all": _score_json(self.total),
            "not_looked_for": dict(sorted(self.not_looked_for.items())),
            "kinds": {
                kind: {"found": found, "annotated": annotated}
                for kind, (found, annotated) in sorted(self.found_of_kind.items())
            },
            "false_alarms": dict(self.alarms.most_common()),
            "worst_rows": [
                {"id": row.id, "FP": row.false_positives, "FN": row.false_negatives} for row in self.worst
            ],
        }


def benchmark(
    path: Path,
    find: Callable[[str], Sequence[Span]],
    *,
    tags: Sequence[str],
    errors: TextIO | None = None,
) -> BenchmarkResult:
    """Score `find` on an annotated JSONL file, one row at a time.

    Args:
        tags: what `find` looks for; annotations of others are counted apart.
        errors: gets one JSON line for each miss and each false alarm, with its value.

    Raises:
        DataError: naming the file, the line and the key.
    """
    result = BenchmarkResult(scores={SCORED_AS[tag]: Score() for tag in tags})
    for row in read_annotated(path):
        mistakes = _score_row(row, find(row.content), result)
        if errors is not None:
            for mistake in mistakes:
                errors.write(json.dumps(mistake, ensure_ascii=False) + "\n")
    result.worst.sort(key=lambda row: (-row.errors, row.id))
    return result


def read_annotated(path: Path) -> Iterator[AnnotatedRow]:
    """Stream the rows of an annotated file.

    Raises:
        DataError: naming the file, the line and the key.
    """
    for number, row in read_numbered_jsonl(path):
        where = f"{path}:{number}"
        content = row["content"]
        yield AnnotatedRow(
            str(row["id"]),
            content,
            tuple(_annotations(row, "spans", len(content), where)),
            tuple(_annotations(row, "look_alikes", len(content), where)) if "look_alikes" in row else (),
        )


def _annotations(row: Mapping[str, Any], key: str, length: int, where: str) -> Iterator[Annotation]:
    if not isinstance(row.get(key), list):
        got = type(row[key]).__name__ if key in row else "nothing"
        raise DataError(f"{where}: '{key}' must be a list of objects, got {got}")
    for number, span in enumerate(row[key]):
        place = f"{where}: {key}[{number}]"
        if not isinstance(span, dict):
            raise DataError(f"{place}: expected an object, got {type(span).__name__}")
        for name in ("start", "end"):
            if type(span.get(name)) is not int:
                raise DataError(f"{place}: '{name}' must be an integer, got {span.get(name)!r:.40}")
        start, end, tag = span["start"], span["end"], span.get("tag")
        if not 0 <= start < end <= length:
            raise DataError(
                f"{place}: 'start' {start} and 'end' {end} are no span of {length} characters of 'content'"
            )
        scored_as = SCORED_AS.get(tag) if isinstance(tag, str) else None
        if key == "spans" and scored_as is None:
            raise DataError(f"{place}: unknown 'tag' {tag!r:.40}; known: {', '.join(SCORED_AS)}")
        yield Annotation(start, end, scored_as or "", str(span.get("kind") or ""))


def _score_row(row: AnnotatedRow, found: Sequence[Span], result: BenchmarkResult) -> list[dict[str, Any]]:
    """Add one row's counts; returns its mistakes."""
    result.rows += 1
    result.not_looked_for.update(
        span.tag for span in row.spans if span.tag not in result.scores and span.tag != _AMBIGUOUS
    )
    mistakes = [mistake for tag in result.scores for mistake in _score_tag(row, tag, found, result)]
    if mistakes:
        missed = sum(mistake["error"] == _MISSED for mistake in mistakes)
        wrong = WorstRow(len(mistakes), row.id, len(mistakes) - missed, missed)
        (heapq.heappush if len(result.worst) < _NUM_WORST else heapq.heappushpop)(result.worst, wrong)
    return mistakes


def _score_tag(
    row: AnnotatedRow, tag: str, found: Sequence[Span], result: BenchmarkResult
) -> Iterator[dict[str, Any]]:
    annotated = [annotation for annotation in row.spans if annotation.tag == tag]
    spans = [(span.start, span.end) for span in found if SCORED_AS[span.tag] == tag]
    pairs = match(spans, [(annotation.start, annotation.end) for annotation in annotated])
    right = {found for found, _ in pairs}
    matched = {index for _, index in pairs}
    unsure = [(span.start, span.end) for span in row.spans if span.tag == _AMBIGUOUS]
    wrong = [
        span
        for number, span in enumerate(spans)
        if number not in right and not any(_overlap(span, other) for other in unsure)
    ]
    result.scores[tag] += Score(len(pairs), len(wrong), len(annotated) - len(matched))
    for index, annotation in enumerate(annotated):
        if annotation.kind:
            result.found_of_kind[annotation.kind][0] += index in matched
            result.found_of_kind[annotation.kind][1] += 1
        if index not in matched:
            yield _mistake(_MISSED, row, tag, annotation.start, annotation.end, annotation.kind)
    for start, end in wrong:
        kinds = [a.kind for a in row.look_alikes if _overlap((start, end), (a.start, a.end))]
        kind = kinds[0] if kinds else "elsewhere"
        result.alarms[f"{tag} {kind}"] += 1
        yield _mistake(_FALSE_ALARM, row, tag, start, end, kind)


def _overlap(left: Interval, right: Interval) -> bool:
    return left[0] < right[1] and right[0] < left[1]


def _mistake(error: str, row: AnnotatedRow, tag: str, start: int, end: int, kind: str) -> dict[str, Any]:
    line = row.content.count("\n", 0, start)
    return {
        "id": row.id,
        "error": error,
        "tag": tag,
        "kind": kind,
        "line": line + 1,
        "start": start,
        "end": end,
        "value": row.content[start:end],
        "context": row.content[max(0, start - 60) : end + 30],
    }


def _score_json(score: Score) -> dict[str, float]:
    return {
        "TP": score.true_positives,
        "FP": score.false_positives,
        "FN": score.false_negatives,
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
    }
