"""Task `finish`: redact, filter and decontaminate what is left of a shard; write its part of the corpus."""

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from derailleur.corpus.decontamination import DecontaminationConfig, Decontaminator, Match
from derailleur.corpus.documents import Document, write_documents
from derailleur.corpus.filters import Filters, Judgement, write_measures
from derailleur.corpus.flow import count_left_out
from derailleur.corpus.ledger import KEPT, FileRecord, Verdict, read_records, write_ledger
from derailleur.corpus.near_dedup import REASONS, find_dropped, read_dropped
from derailleur.corpus.pii import Redaction, redact
from derailleur.corpus.pii.review import Sample, findings, write_findings
from derailleur.corpus.ranking import NO_RANK, Names, read_names, read_ranks
from derailleur.corpus.sources import TRAIN
from derailleur.corpus.spool import Ragged
from derailleur.corpus.workspace import Task
from derailleur.io import atomic_path

EXAMPLES = ".examples.jsonl"
"""A shard's sample of redactions, values in plain sight; a scratch file, as all that are not redacted."""


def finish_shard(task: Task) -> dict[str, Any]:
    """Finish a shard; returns its counts."""
    workspace, config = task.workspace, task.workspace.config
    records = read_records(workspace.path("judge", task.number, ".parquet"))
    texts = Ragged.mapped(workspace.path("texts", task.number), np.uint8)
    _record_duplicates(task, records)
    with (
        _jsonl(workspace.output("redactions", task.number)) as redactions,
        _jsonl(workspace.output("contamination", task.number)) as contamination,
    ):
        last = _LastSteps(task, redactions, contamination)
        documents = (document for record in records if (document := last.document(record, texts)))
        write_documents(
            documents, workspace.output("documents", task.number), row_group_bytes=config.row_group_bytes
        )
    if config.review:
        write_findings(last.examples.by_tag(), workspace.path("finish", task.number, EXAMPLES))
    write_measures(workspace.output("measures", task.number), last.filters.steps, last.judged)
    write_ledger(workspace.output("ledger", task.number), records)
    return _counts(records, last)


def _record_duplicates(task: Task, records: Sequence[FileRecord]) -> None:
    """The verdicts of exact and near-dedup."""
    workspace = task.workspace
    ranks = read_ranks(workspace.path("ranks", task.number, ".npy"))
    names = read_names(workspace.path("names", 0))
    dropped = read_dropped(workspace.path("resolve", 0))
    places = find_dropped(dropped, ranks.own)
    for record in records:
        if record.text is None or record.verdict is not None:
            continue
        if ranks.own[record.text] == NO_RANK:
            first, _ = names[int(ranks.first[record.text])]
            record.verdict = Verdict("dropped", "exact_duplicate", first)
        elif (place := places[record.text]) >= 0:
            record.verdict = _near_duplicate(record, dropped[place], names)


def _near_duplicate(record: FileRecord, dropped: Any, names: Names) -> Verdict:
    reason, survivor = REASONS[dropped["reason"]], int(dropped["survivor"])
    if survivor < 0:
        return Verdict("dropped", reason)
    name, heldout = names[survivor]
    if heldout and record.split == TRAIN:
        reason = f"{reason}_of_heldout"
    return Verdict("dropped", reason, f"{name} ({dropped['similarity']:.3f})")


class _LastSteps:
    """What is done to one text after another; logs what it finds."""

    def __init__(self, task: Task, redactions: TextIO, contamination: TextIO) -> None:
        self._config = task.workspace.config
        self._decontaminator = _decontaminator(self._config.decontamination)
        self.filters = Filters(self._config.filters)
        self._redactions = redactions
        self._contamination = contamination
        self.examples = Sample(self._config.review)
        self.judged: list[tuple[int, str, Judgement]] = []
        self.pii: Counter[str] = Counter()
        self.contamination: Counter[str] = Counter()
        self.splits: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_source: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_language: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_licence: dict[str, Counter[str]] = defaultdict(Counter)

    def document(self, record: FileRecord, texts: Ragged) -> Document | None:
        """The document that a file becomes, if nothing spoke or speaks against it; records the verdict."""
        if record.verdict is not None:
            return None
        assert record.text is not None and record.language is not None and record.sha256 is not None
        raw = texts[record.text].tobytes()
        content, redactions = redact(raw, self._config.pii, repository=record.repository)
        document = Document(
            id=record.sha256.hex(),
            repository=record.repository,
            path=record.path,
            language=record.language,
            split=record.split,
            licence=_joined(record.licences),
            stars=record.stars,
            content=content,
        )
        record.verdict = self._verdict(document)
        if record.verdict is not KEPT:
            return None
        self._log_redactions(record, raw, redactions)
        self._count(record.source, document)
        return document

    def _count(self, source: str, document: Document) -> None:
        num_bytes = len(document.content)
        licence = document.licence or "unknown"
        self.splits[document.split].update(files=1, bytes=num_bytes)
        self.by_source[source].update(files_kept=1, bytes_kept=num_bytes)
        self.by_language[document.language].update(files_kept=1, bytes_kept=num_bytes)
        self.by_licence[licence].update(files_kept=1, bytes_kept=num_bytes)

    def _verdict(self, document: Document) -> Verdict:
        judgement = self.filters.judge(document)
        self.judged.append((len(document.content), document.language, judgement))
        if judgement.verdict is not None:
            return judgement.verdict
        if self._decontaminator and (match := self._decontaminator.check(document.content)):
            self._log_match(document, match)
            return match.verdict
        return KEPT

    def _log_redactions(self, record: FileRecord, raw: bytes, redactions: Sequence[Redaction]) -> None:
        for redaction in redactions:
            self.pii[redaction.span.tag] += 1
            _write(self._redactions, record, redaction.as_json())
        if self._config.review and redactions:
            for finding in findings(record.name, raw.decode(), redactions):
                self.examples.add(finding)

    def _log_match(self, document: Document, match: Match) -> None:
        self.contamination[match.benchmark] += 1
        _write(self._contamination, document, asdict(match))


def _counts(records: Sequence[FileRecord], documents: _LastSteps) -> dict[str, Any]:
    """The counts of a shard; those of the whole run are their sums."""
    counts: dict[str, Any] = {"files_seen": len(records), "bytes_seen": 0, "kept": 0}
    for record in records:
        counts["bytes_seen"] += record.num_bytes
        counts["kept"] += record.verdict is KEPT
        documents.by_source[record.source].update(files_seen=1, bytes_seen=record.num_bytes)
        if record.language is not None:
            documents.by_language[record.language].update(files_seen=1, bytes_seen=record.num_bytes)
    return counts | {
        "left_out": count_left_out(records, {step.reason for step in documents.filters.steps}),
        "by_source": documents.by_source,
        "by_language": documents.by_language,
        "by_licence": documents.by_licence,
        "splits": documents.splits,
        "pii": documents.pii,
        "contamination": documents.contamination,
    }


def _decontaminator(config: DecontaminationConfig) -> Decontaminator | None:
    if not config.benchmarks:
        return None
    states = [Path(benchmark.path).stat() for benchmark in config.benchmarks]
    return _loaded(config.model_dump_json(), tuple((state.st_mtime_ns, state.st_size) for state in states))


@lru_cache(maxsize=1)
def _loaded(config: str, states: tuple[tuple[int, int], ...]) -> Decontaminator:
    """The index of all passages, which takes as long to make as many a shard; made anew if a file changed."""
    return Decontaminator.load(DecontaminationConfig.model_validate_json(config))


def _joined(licences: Sequence[str]) -> str:
    """One expression that says that all of them apply."""
    if len(licences) == 1:
        return licences[0]
    return " AND ".join(f"({one})" if " OR " in one else one for one in licences)


def _write(stream: TextIO, file: FileRecord | Document, values: dict[str, Any]) -> None:
    where = {"repository": file.repository, "path": file.path}
    stream.write(json.dumps(where | values, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def _jsonl(path: Path) -> Iterator[TextIO]:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yield stream
