"""The second task of near-dedup: which documents share a band key, one range of keys at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.arrays import map_arrays, write_arrays
from derailleur.corpus.key_ranges import key_range, num_ranges, sort_pairs
from derailleur.corpus.near_dedup.config import NearDedupConfig

_PARTITION_BYTES = 64 << 20
_PAIR_BYTES = 24  # a key and a rank in the order of the shards, and again sorted, less what is let go before


def num_partitions(num_documents: int, config: NearDedupConfig) -> int:
    """How many ranges to part the band keys into, a power of two, so that one takes about 64 MB."""
    return num_ranges(num_documents * config.num_bands * _PAIR_BYTES, _PARTITION_BYTES)


def join_partition(partition: int, sketches: Sequence[Path], out: Path, *, num_partitions: int) -> None:
    """Find the buckets of one range of band keys: the keys that at least two documents share.

    Args:
        partition: which range, from 0.
        sketches: what `sketch_shard` wrote for every shard.
        out: the file to write, of these arrays: `ranks` [members] int64, ascending, a document as often
            as it is in a bucket; `buckets` [members] uint32, which bucket, named by where its room begins
            if every bucket has room for its members and one number more; `room` [1] int64, that of all.
    """
    keys, ranks = _gather(sketches, partition, num_partitions)
    keys, ranks = sort_pairs(keys, ranks, num_partitions.bit_length() - 1)
    ranks, runs = shared_keys(keys, ranks)
    members = ranks << 32 | runs  # one number sorts much faster than two; there are fewer than 2^31 of either
    members.sort()
    buckets, room = place_buckets(members & 0xFFFFFFFF)
    write_arrays(out, {"ranks": members >> 32, "buckets": buckets, "room": np.array([room])})


def _gather(
    sketches: Sequence[Path], partition: int, num_partitions: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    keys, ranks = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for path in sketches:
        shard = map_arrays(path)
        mine = key_range(shard["keys"], partition, num_ranges=num_partitions)
        keys.append(shard["keys"][mine])
        ranks.append(shard["ranks"][shard["rows"][mine]])
    return np.concatenate(keys), np.concatenate(ranks)


@compiled
def shared_keys(
    keys: NDArray[np.uint64], ranks: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ranks whose key is not theirs alone, and for each where the run of its key begins."""
    num_members = 0
    members, runs = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[begin]:
            if end - begin > 1:
                for index in range(begin, end):
                    members[num_members] = ranks[index]
                    runs[num_members] = num_members - (index - begin)
                    num_members += 1
            begin = end
    return members[:num_members].copy(), runs[:num_members].copy()


@compiled
def place_buckets(runs: NDArray[np.int64]) -> tuple[NDArray[np.uint32], int]:
    """Give the buckets room in the order in which they first appear; returns where each begins, and the end.

    So documents near in rank meet buckets near in memory.
    """
    sizes = np.zeros(len(runs), np.int64)
    for run in runs:
        sizes[run] += 1
    places = np.full(len(runs), -1, np.int64)
    buckets = np.empty(len(runs), np.uint32)
    end = 0
    for index, run in enumerate(runs):
        if places[run] < 0:
            places[run] = end
            end += sizes[run] + 1
        buckets[index] = places[run]
    return buckets, end
