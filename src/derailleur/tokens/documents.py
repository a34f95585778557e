"""Reads a corpus: the folder of a curate stage, or any Parquet and JSONL files with a `content` column."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.errors import DataError

SPLITS = ("train", "heldout")
_COLUMNS = ("id", "path", "language", "split", "content")
_PARQUET = ".parquet"
_JSONL = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_ROWS_PER_READ = 256


@dataclass(frozen=True)
class Document:
    """One source file of a corpus.

    Attributes:
        id: the corpus's own, or the SHA-256 of the content.
        split: `train` or `heldout`.
        language: as the corpus names it; '' where it does not.
    """

    id: str
    path: str
    split: str
    content: str
    language: str = ""

    @property
    def num_bytes(self) -> int:
        """Size of the content in UTF-8."""
        return len(self.content.encode())


def read_documents(corpus: Path, *, heldout_fraction: float) -> Iterator[Document]:
    """All documents in a fixed order, one at a time.

    Args:
        heldout_fraction: share of documents held out, by a hash of path or id, where the corpus has no
            `split` column; 0 holds none out.

    Raises:
        DataError: naming the file and the row or column.
    """
    for file in corpus_files(corpus):
        rows = _parquet_rows(file) if file.name.endswith(_PARQUET) else _jsonl_rows(file)
        for where, row in rows:
            yield _document(row, where, heldout_fraction)


def corpus_files(corpus: Path) -> list[Path]:
    """The files that hold a corpus's documents, in order.

    Raises:
        DataError: if there are none, or the curate stage that writes them did not finish.
    """
    if not corpus.exists():
        raise DataError(f"{corpus}: no such file or folder")
    if corpus.is_file():
        files = [corpus]
    elif (corpus / "stage.json").is_file():
        if not (corpus / "manifest.json").is_file():
            raise DataError(f"{corpus}: no manifest.json; this stage did not finish, run it again")
        files = sorted(corpus.glob(f"documents-*{_PARQUET}"))
    else:
        files = sorted(p for p in corpus.rglob("*") if p.is_file() and _is_readable(p))
    if not files or not all(_is_readable(file) for file in files):
        raise DataError(f"{corpus}: no documents; expected {_PARQUET} or {', '.join(_JSONL)} files")
    return files


def unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6]) / 2**48


def _is_readable(path: Path) -> bool:
    return path.name.endswith((_PARQUET, *_JSONL))


def _document(row: dict[str, Any], where: str, heldout_fraction: float) -> Document:
    content = row.get("content")
    if not isinstance(content, str):
        raise DataError(f"{where}: column 'content' holds {type(content).__name__}, expected text")
    try:
        encoded = content.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: column 'content' holds half a surrogate pair, expected text") from None
    identity = str(row.get("id") or hashlib.sha256(encoded).hexdigest())
    path = str(row.get("path") or "")
    split = row.get("split")
    if split is None:
        split = "heldout" if unit_hash(path or identity) < heldout_fraction else "train"
    if split not in SPLITS:
        raise DataError(f"{where}: column 'split' holds {split!r}, expected {' or '.join(SPLITS)}")
    return Document(identity, path, split, content, str(row.get("language") or ""))


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            if "content" not in names:
                raise DataError(f"{file}: no column 'content'; it has {', '.join(names)}")
            columns = [name for name in _COLUMNS if name in names]
            number = 0
            for batch in parquet.iter_batches(_ROWS_PER_READ, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}: row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file: {_first_line(error)}") from None


def _jsonl_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    try:
        with pa.input_stream(str(file), compression="detect") as stream:
            for number, line in enumerate(io.BufferedReader(stream), 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict) or "content" not in row:
                    raise DataError(f"{file}:{number}: expected a JSON object with a key 'content'")
                yield f"{file}:{number}", row
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{file}:{number}: not JSON: {_first_line(error)}") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read after line {number}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
