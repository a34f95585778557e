"""The documents of a curated corpus: their Parquet shards, written and read as streams."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.errors import DataError
from derailleur.io import atomic_path

SHARDS = "documents-*.parquet"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("repository", pa.string()),
        ("path", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("licence", pa.string()),
        ("stars", pa.int64()),
        ("content", pa.large_string()),
        ("num_bytes", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Document:
    """One source file as training data.

    Attributes:
        id: hexadecimal SHA-256 of the file's raw bytes, before redaction.
        content: UTF-8 after redaction.
        split: "train" or "heldout".
        licence: SPDX expression, empty where nothing is known.
        stars: of the repository, None where they are not known.
    """

    id: str
    repository: str
    path: str
    language: str
    split: str
    licence: str
    stars: int | None
    content: bytes

    @property
    def text(self) -> str:
        """The content as a string."""
        return self.content.decode()


def write_documents(documents: Iterable[Document], path: Path, *, row_group_bytes: int) -> None:
    """Write one shard atomically; one without documents still says its schema.

    Args:
        row_group_bytes: content bytes after which a new row group begins.
    """
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for batch in _batches(documents, row_group_bytes):
            writer.write_batch(batch)


def read_documents(folder: Path, split: str | None = None) -> Iterator[Document]:
    """Stream the documents of a curated folder, one row group in memory at a time.

    Args:
        split: "train" or "heldout"; None gives both.

    Raises:
        DataError: if there are no shards or one cannot be read.
    """
    shards = sorted(Path(folder).glob(SHARDS))
    if not shards:
        raise DataError(f"{folder}: no {SHARDS}; expected the folder of a finished curate stage")
    for shard in shards:
        try:
            with pq.ParquetFile(shard) as file:
                for group in range(file.num_row_groups):
                    for row in file.read_row_group(group, columns=SCHEMA.names[:-1]).to_pylist():
                        if split in (None, row["split"]):
                            yield Document(**{**row, "content": row["content"].encode()})
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{shard}: cannot be read: {str(error).splitlines()[0]}") from None


def _batches(documents: Iterable[Document], row_group_bytes: int) -> Iterator[pa.RecordBatch]:
    rows: list[Document] = []
    size = 0
    for document in documents:
        rows.append(document)
        size += len(document.content)
        if size >= row_group_bytes:
            yield _batch(rows)
            rows, size = [], 0
    if rows:
        yield _batch(rows)


def _batch(rows: list[Document]) -> pa.RecordBatch:
    arrays = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in list(SCHEMA)[:-2]]
    content = pa.array([row.content for row in rows], pa.large_binary()).view(pa.large_string())
    num_bytes = pa.array([len(row.content) for row in rows], pa.int64())
    return pa.RecordBatch.from_arrays([*arrays, content, num_bytes], schema=SCHEMA)
