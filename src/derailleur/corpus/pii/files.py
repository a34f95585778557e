"""Scans and redacts files: the rows of JSONL and Parquet files one by one, any other file as one text."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.corpus.pii.redact import PiiConfig, find, redact
from derailleur.corpus.pii.spans import TAGS, Span
from derailleur.corpus.rows import (
    COMPRESSIONS,
    check_file,
    is_jsonl,
    is_parquet,
    read_batches,
    read_jsonl,
)
from derailleur.errors import DataError
from derailleur.io import Progress, atomic_path, silent, write_bytes

VERSION = 1

REDACTIONS = "redactions.jsonl"

_RESERVED = frozenset({REDACTIONS, "manifest.json", "stage.json"})


@dataclass(frozen=True, slots=True)
class Text:
    """A row of a file, or all of it.

    Attributes:
        id: the row's, or the file's path.
        repository: the row's; empty where it has none.
    """

    id: str
    content: str
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Scanned:
    """A text and what was found in it.

    Attributes:
        id: the row's, or the file's path.
    """

    id: str
    text: str
    spans: list[Span]


def scan_file(path: Path, config: PiiConfig | None = None) -> Iterator[Scanned]:
    """Scan one file, row by row where it has rows.

    Raises:
        DataError: naming the file and the row.
    """
    config = config or PiiConfig()
    for text in read_texts(path):
        yield Scanned(text.id, text.content, find(text.content.encode(), config))


@contextmanager
def private_text(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file, atomically, that its owner alone may read: for values in plain sight."""
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream


def redact_files(
    config: PiiConfig, files: Sequence[Path], out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Write a redacted file of the same name into `out` for each of `files`, and `redactions.jsonl`.

    All else in a row stays as it was. The scope of equal replacements is a row's `repository` where it
    has one; all other texts of the call share one.

    Raises:
        DataError: naming the file and the row, or two files of one name.
    """
    names = Counter(path.name for path in files)
    for path in files:
        check_file(path)
        if names[path.name] > 1 or path.name in _RESERVED:
            raise DataError(f"{path}: two files would be called '{path.name}' in {out}")
    with atomic_path(out / REDACTIONS) as temporary, temporary.open("w", encoding="utf-8") as stream:
        redactor = _Redactor(config, stream)
        for number, path in enumerate(files):
            progress("redact", number, len(files), path.name)
            redactor.redact_file(path, out / path.name)
        progress("redact", len(files), len(files))
    return {
        "files": len(files),
        "texts": redactor.num_texts,
        "redacted_texts": redactor.num_redacted,
        "pii": {tag: redactor.pii[tag] for tag in TAGS},
    }


class _Redactor:
    """Redacts texts, counts and logs what was replaced."""

    def __init__(self, config: PiiConfig, log: TextIO) -> None:
        self._config = config
        self._log = log
        self.num_texts = 0
        self.num_redacted = 0
        self.pii: Counter[str] = Counter()

    def redact_file(self, path: Path, out: Path) -> None:
        if is_jsonl(path):
            self._redact_jsonl(path, out)
        elif is_parquet(path):
            self._redact_parquet(path, out)
        else:
            write_bytes(out, self._redact(_text(path), path, str(path), "").encode())

    def _redact(self, text: str, path: Path, identifier: str, repository: str) -> str:
        content, redactions = redact(text.encode(), self._config, repository=repository)
        self.num_texts += 1
        self.num_redacted += bool(redactions)
        for redaction in redactions:
            self.pii[redaction.span.tag] += 1
            where = {"file": str(path), "id": identifier}
            self._log.write(json.dumps(where | redaction.as_json(), ensure_ascii=False) + "\n")
        return content.decode() if redactions else text

    def _redact_jsonl(self, path: Path, out: Path) -> None:
        with (
            atomic_path(out) as temporary,
            pa.output_stream(temporary, compression=COMPRESSIONS.get(path.suffix)) as stream,
        ):
            for row in read_jsonl(path):
                scope = str(row.get("repository") or "")
                row["content"] = self._redact(row["content"], path, str(row["id"]), scope)
                stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def _redact_parquet(self, path: Path, out: Path) -> None:
        batches = read_batches(path)
        first = next(batches, None)
        if first is None:  # no rows
            write_bytes(out, path.read_bytes())
            return
        with (
            atomic_path(out) as temporary,
            pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer,
        ):
            for batch in chain((first,), batches):
                writer.write_batch(self._redact_batch(batch, path))

    def _redact_batch(self, batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
        ids, contents = batch.column("id").to_pylist(), batch.column("content").to_pylist()
        redacted = [
            self._redact(content, path, identifier, scope)
            for identifier, content, scope in zip(ids, contents, _scopes(batch), strict=True)
        ]
        index = batch.schema.get_field_index("content")
        return batch.set_column(index, "content", pa.array(redacted, pa.large_string()))


def read_texts(path: Path) -> Iterator[Text]:
    """The rows of a file that has some, else all of it as one text.

    Raises:
        DataError: naming the file and the row.
    """
    check_file(path)
    if is_jsonl(path):
        for row in read_jsonl(path):
            yield Text(str(row["id"]), row["content"], str(row.get("repository") or ""))
    elif is_parquet(path):
        for batch in read_batches(path):
            ids, contents = batch.column("id").to_pylist(), batch.column("content").to_pylist()
            yield from map(Text, ids, contents, _scopes(batch))
    else:
        yield Text(str(path), _text(path))


def _scopes(batch: pa.RecordBatch) -> list[str]:
    """The repository of each row; empty where it has none."""
    if "repository" not in batch.schema.names:
        return [""] * len(batch)
    return [str(repository or "") for repository in batch.column("repository").to_pylist()]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
