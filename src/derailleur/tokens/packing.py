"""The packed shards of one split, and how they are written.

{split}-00000.bin ...      token ids, little-endian uint16 or uint32; every document followed by the
                           end-of-document token, no document in two shards
{split}.documents.parquet  one row a document: id, path, shard, start_token, num_tokens, num_bytes;
                           written last, it tells readers the token type and that all shards are there
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.io import atomic_path, write_bytes
from derailleur.tokens.documents import Document

DTYPE_KEY = b"token_dtype"
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("shard", pa.int32()),
        ("start_token", pa.int64()),
        ("num_tokens", pa.int64()),
        ("num_bytes", pa.int64()),
    ]
)


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type that holds every id, in the byte order of the files."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def shard_path(folder: Path, split: str, shard: int) -> Path:
    """Where one shard of a split lies."""
    return folder / f"{split}-{shard:05d}.bin"


def documents_path(folder: Path, split: str) -> Path:
    """Where the table of a split's documents lies."""
    return folder / f"{split}.documents.parquet"


class SplitWriter:
    """Packs the documents of one split, in order; the shard is the unit of resume.

    Attributes:
        num_tokens: packed so far, finished shards included.
    """

    def __init__(self, folder: Path, split: str, *, dtype: np.dtype, eos_id: int, shard_tokens: int) -> None:
        """Open a split for writing.

        Args:
            shard_tokens: the document that reaches this number of tokens closes a shard.
        """
        self.num_tokens = 0
        self._folder = folder
        self._split = split
        self._dtype = dtype
        self._eos_id = eos_id
        self._shard_tokens = shard_tokens
        self._rows: list[tuple[str, str, int, int, int, int]] = []
        self._unwritten: list[npt.NDArray] = []
        self._shard = self._start = 0
        self._finished = deque(_finished_lengths(folder, split, dtype, eos_id))

    @property
    def resuming(self) -> bool:
        """Whether an earlier call packed the next document into a finished shard."""
        return bool(self._finished)

    def skip(self, document: Document) -> None:
        """Account for a document of a finished shard."""
        self._append(document, self._finished.popleft())

    def add(self, document: Document, ids: Sequence[int]) -> None:
        """Pack one document."""
        tokens = np.array([*ids, self._eos_id], dtype=self._dtype)
        self._unwritten.append(tokens)
        self._append(document, len(tokens))

    def close(self) -> None:
        """Write the last shard and the table of documents."""
        assert not self._finished, "shards of another corpus"
        if self._unwritten:
            self._close_shard()
        columns = zip(*self._rows, strict=True) if self._rows else [[] for _ in _SCHEMA]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        schema = _SCHEMA.with_metadata({DTYPE_KEY: self._dtype.name.encode()})
        with atomic_path(documents_path(self._folder, self._split)) as temporary:
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary, compression="zstd")

    def _append(self, document: Document, num_tokens: int) -> None:
        self._rows.append(
            (document.id, document.path, self._shard, self._start, num_tokens, document.num_bytes)
        )
        self._start += num_tokens
        self.num_tokens += num_tokens
        if self._start >= self._shard_tokens:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._unwritten:  # else it is a finished one that was skipped over
            write_bytes(
                shard_path(self._folder, self._split, self._shard), np.concatenate(self._unwritten).tobytes()
            )
            self._unwritten.clear()
        self._shard += 1
        self._start = 0


def _finished_lengths(folder: Path, split: str, dtype: np.dtype, eos_id: int) -> Iterator[int]:
    """Tokens of each document in the shards that are there, read from the shards themselves: the
    end-of-document token never occurs inside a document."""
    shard = 0
    while (path := shard_path(folder, split, shard)).is_file():
        ends = np.flatnonzero(np.fromfile(path, dtype) == eos_id)
        yield from np.diff(ends, prepend=-1).tolist()
        shard += 1
