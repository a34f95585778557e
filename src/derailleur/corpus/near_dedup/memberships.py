"""Which documents are in which buckets, read from the files of all partitions in the order of rank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.arrays import map_arrays

BLOCK_DOCUMENTS = 1 << 14


@dataclass(frozen=True)
class Block:
    """The buckets of documents that follow each other in rank.

    Attributes:
        first: the rank of the first document.
        rows: [documents + 1] int64, which part of `buckets` is a document's.
        buckets: int64, where each bucket's room begins among that of all partitions.
    """

    first: int
    rows: NDArray[np.int64]
    buckets: NDArray[np.int64]


class Memberships:
    """The memory-mapped output of `join_partition` for every partition.

    Attributes:
        room: what all buckets take together.
        table: [partitions, 4] int64 for kernels: the addresses of `ranks` and `buckets`, their length, and
            where the partition's room begins.
    """

    def __init__(self, partitions: Sequence[Path], num_documents: int) -> None:
        self._num_documents = num_documents
        self._parts = [map_arrays(path) for path in partitions]
        room = [int(part["room"][0]) for part in self._parts]
        self._first_rooms = np.cumsum([0, *room])
        self.room = sum(room)
        self.table: NDArray[np.int64] = np.array(
            [
                (part["ranks"].ctypes.data, part["buckets"].ctypes.data, len(part["ranks"]), first_room)
                for part, first_room in zip(self._parts, self._first_rooms, strict=False)
            ],
            np.int64,
        ).reshape(-1, 4)

    def blocks(self) -> Iterator[Block]:
        """All documents by rank, a bounded number at a time; every part of the files is read once."""
        for first in range(0, self._num_documents, BLOCK_DOCUMENTS):
            yield self._block(first, min(first + BLOCK_DOCUMENTS, self._num_documents))

    def _block(self, first: int, stop: int) -> Block:
        rows = np.zeros(stop - first + 1, np.int64)
        parts = []
        for part in self._parts:
            begin, end = np.searchsorted(part["ranks"], (first, stop))
            parts.append((part["ranks"][begin:end] - first, part["buckets"][begin:end]))
            count_rows(parts[-1][0], rows)
        np.cumsum(rows, out=rows)
        buckets, places = np.empty(rows[-1], np.int64), rows[:-1].copy()
        for (ranks, local), first_room in zip(parts, self._first_rooms, strict=False):
            fill_rows(ranks, local, first_room, places, buckets)
        return Block(first, rows, buckets)


@compiled
def count_rows(ranks: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Count each rank in the element of `rows` after its own."""
    for rank in ranks:
        rows[rank + 1] += 1


@compiled
def fill_rows(
    ranks: NDArray[np.int64],
    local: NDArray[np.uint32],
    first_room: int,
    places: NDArray[np.int64],
    buckets: NDArray[np.int64],
) -> None:
    """Put the buckets of one partition where their documents' rows are filled up to."""
    for index, rank in enumerate(ranks):
        buckets[places[rank]] = first_room + local[index]
        places[rank] += 1
