"""Scans and redacts files: the rows of JSONL and Parquet files one by one, any other file as one text."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.corpus.pii.redact import PiiConfig, redact
from derailleur.corpus.pii.scan import scan
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
class Scanned:
    """A text and what was found in it.

    Attributes:
        id: the row's, or the file's path.
    """

    id: str
    text: str
    spans: list[Span]


def scan_file(path: Path) -> Iterator[Scanned]:
    """Scan one file, row by row where it has rows.

    Raises:
        DataError: naming the file and the row.
    """
    for identifier, content in _texts(path):
        yield Scanned(identifier, content, scan(content.encode()))


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
        schema = next(read_batches(path)).schema
        with (
            atomic_path(out) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for batch in read_batches(path):
                writer.write_batch(self._redact_batch(batch, path))

    def _redact_batch(self, batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
        ids, contents = batch.column("id").to_pylist(), batch.column("content").to_pylist()
        has_repository = "repository" in batch.schema.names
        scopes = batch.column("repository").to_pylist() if has_repository else [""] * len(batch)
        redacted = [
            self._redact(content, path, identifier, str(scope or ""))
            for identifier, content, scope in zip(ids, contents, scopes, strict=True)
        ]
        index = batch.schema.get_field_index("content")
        return batch.set_column(index, "content", pa.array(redacted, pa.large_string()))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    check_file(path)
    if is_jsonl(path):
        yield from ((str(row["id"]), row["content"]) for row in read_jsonl(path))
    elif is_parquet(path):
        for batch in read_batches(path):
            ids, contents = batch.column("id").to_pylist(), batch.column("content").to_pylist()
            yield from zip(ids, contents, strict=True)
    else:
        yield str(path), _text(path)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
