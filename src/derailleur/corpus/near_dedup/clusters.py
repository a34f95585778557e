"""Clusters of candidates as SantaCoder's two rules make them, over the buckets of all documents."""

from collections.abc import Iterator

import numpy as np
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from derailleur.compiled import compiled, pointer
from derailleur.corpus.near_dedup.memberships import BLOCK_DOCUMENTS, Block, Memberships


def connected_components(
    memberships: Memberships, leaders: NDArray[np.int64], room: NDArray[np.int64]
) -> None:
    """Fill `leaders` with the best rank of all that a document's buckets connect it with.

    Args:
        leaders: [documents], filled with the documents' own ranks.
        room: zeros, for all buckets.
    """
    for block in memberships.blocks():
        unite_block(block.first, block.rows, block.buckets, leaders, room)
    flatten(leaders)


@compiled
def unite_block(
    first: int,
    rows: NDArray[np.int64],
    buckets: NDArray[np.int64],
    leaders: NDArray[np.int64],
    room: NDArray[np.int64],
) -> None:
    """Unite each document with the first one in each of its buckets; `room` holds that one's rank + 1."""
    for row in range(len(rows) - 1):
        for bucket in buckets[rows[row] : rows[row + 1]]:
            if room[bucket] == 0:
                room[bucket] = first + row + 1
            left, right = _find(leaders, room[bucket] - 1), _find(leaders, first + row)
            leaders[max(left, right)] = min(left, right)


@compiled
def _find(leaders: NDArray[np.int64], document: int) -> int:
    while leaders[document] != document:
        leaders[document] = leaders[leaders[document]]
        document = leaders[document]
    return document


@compiled
def flatten(leaders: NDArray[np.int64]) -> None:
    """Point every document at the end of its chain, which is never after itself."""
    for document in range(len(leaders)):
        leaders[document] = leaders[leaders[document]]


def sequential_clusters(memberships: Memberships, bases: NDArray[np.int64], room: NDArray[np.int64]) -> None:
    """Fill `bases` with the cluster of each document, named by its best-ranked one.

    Documents enter an index by rank. One that meets others there joins the cluster of the best of them
    that already has one by its own name; if none has, it opens one under the name of the best of all,
    which then is in no other (in the original it stays a member of the one that it had joined, too).

    Args:
        bases: [documents] to fill; a document that meets nobody is alone, unless others join it.
        room: zeros, for all buckets.
    """
    for block in memberships.blocks():
        join_clusters(block.first, block.rows, block.buckets, bases, room, memberships.table)


@compiled
def join_clusters(
    first: int,
    rows: NDArray[np.int64],
    buckets: NDArray[np.int64],
    bases: NDArray[np.int64],
    room: NDArray[np.int64],
    table: NDArray[np.int64],
) -> None:
    """Enter a block of documents; `room` holds of each bucket its first rank + 1, then its best base + 1."""
    nobody = np.int64(1) << 62
    for row in range(len(rows) - 1):
        document = first + row
        best, best_base = nobody, nobody
        for bucket in buckets[rows[row] : rows[row + 1]]:
            if room[bucket] == 0:
                room[bucket] = document + 1
            else:
                best = min(best, room[bucket] - 1)
                if room[bucket + 1] > 0:
                    best_base = min(best_base, room[bucket + 1] - 1)
        if best_base == nobody and best < nobody:
            best_base = best
            bases[best] = best  # out of whatever cluster it had joined
            _announce(best, room, table)
        bases[document] = document if best_base == nobody else best_base


@compiled
def _announce(base: np.int64, room: NDArray[np.int64], table: NDArray[np.int64]) -> None:
    """Tell a new base to all buckets that it is in."""
    for part in range(len(table)):
        ranks_address, buckets_address, num_members, first_room = table[part]
        ranks = carray(pointer(ranks_address), num_members, np.int64)
        buckets = carray(pointer(buckets_address), num_members, np.uint32)
        member = np.searchsorted(ranks, base)
        while member < num_members and ranks[member] == base:
            place = first_room + buckets[member] + 1
            if room[place] == 0 or base < room[place]:
                room[place] = base + 1
            member += 1


def cluster_blocks(bases: NDArray[np.int64], places: NDArray[np.int64]) -> Iterator[Block]:
    """Each document's cluster as its only bucket; none for a document that is alone.

    Args:
        places: [documents] what `place_clusters` filled.
    """
    for first in range(0, len(bases), BLOCK_DOCUMENTS):
        mine = places[bases[first : first + BLOCK_DOCUMENTS]]
        rows = np.cumsum(np.r_[0, mine >= 0])
        yield Block(first, rows, mine[mine >= 0])


@compiled
def place_clusters(bases: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    """Fill `places` with where the room of each base's cluster begins, -1 if it is alone; returns the end.

    Args:
        places: [documents] zeros.
    """
    for base in bases:
        places[base] += 1
    end = 0
    for base in range(len(bases)):
        size = int(places[base])
        places[base] = end if size > 1 else -1
        end += size + 1 if size > 1 else 0
    return end
