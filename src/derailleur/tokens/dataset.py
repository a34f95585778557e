"""Reads packed shards as one long stream of tokens, memory-mapped."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.errors import DataError
from derailleur.tokens.packing import DTYPE_KEY, documents_path, shard_path


class TokenDataset:
    """One split of a tokenize stage's folder; the shards in order are one stream.

    Attributes:
        num_tokens: length of the stream, ends of documents included.
        num_bytes: UTF-8 bytes of the documents.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Open a split.

        Raises:
            DataError: if the stage did not finish, the split is empty or a shard is not whole.
        """
        self._documents = _read_documents(folder, split)
        self.num_tokens: int = sum(self._documents["num_tokens"].to_pylist())
        self.num_bytes: int = sum(self._documents["num_bytes"].to_pylist())
        if not self.num_tokens:
            raise DataError(f"{folder}: split '{split}' holds no documents")
        dtype = np.dtype(self._documents.schema.metadata[DTYPE_KEY].decode()).newbyteorder("<")
        self._shards = _map_shards(folder, split, self._documents, dtype)
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def documents(self) -> pa.Table:
        """One row a document: id, path, shard, start_token (in its shard), num_tokens, num_bytes."""
        return self._documents

    def window(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """`length` tokens of the stream from `start` on."""
        end = start + length
        if not 0 <= start <= end <= self.num_tokens:
            raise IndexError(f"window [{start}, {end}) of {self.num_tokens} tokens")
        tokens = np.empty(length, np.int64)
        for shard, first in self._overlapping(start, end):
            low, high = max(start, first), min(end, first + len(shard))
            tokens[low - start : high - start] = shard[low - first : high - first]
        return tokens

    def _overlapping(self, start: int, end: int) -> Iterator[tuple[npt.NDArray, int]]:
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        while shard < len(self._shards) and self._starts[shard] < end:
            yield self._shards[shard], int(self._starts[shard])
            shard += 1


def _read_documents(folder: Path, split: str) -> pa.Table:
    path = documents_path(folder, split)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the folder of a finished tokenize stage")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error).partition(chr(10))[0]}") from None
    if DTYPE_KEY not in (table.schema.metadata or {}):
        raise DataError(f"{path}: not written by a tokenize stage")
    return table


def _map_shards(folder: Path, split: str, documents: pa.Table, dtype: np.dtype) -> list[npt.NDArray]:
    sizes = documents.group_by("shard").aggregate([("num_tokens", "sum")]).sort_by("shard")
    shards: list[npt.NDArray] = []
    for shard, num_tokens in zip(
        sizes["shard"].to_pylist(), sizes["num_tokens_sum"].to_pylist(), strict=True
    ):
        path = shard_path(folder, split, shard)
        expected = num_tokens * dtype.itemsize
        actual = path.stat().st_size if path.is_file() else 0
        if actual != expected:
            raise DataError(f"{path}: {actual} bytes, expected {expected}; run tokenize again")
        shards.append(np.memmap(path, dtype=dtype, mode="r"))
    return shards
