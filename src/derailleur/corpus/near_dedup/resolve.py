"""The last task of near-dedup: which documents are dropped, and for the sake of which."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derailleur.corpus.arrays import map_arrays, scratch_array
from derailleur.corpus.near_dedup.clusters import (
    cluster_blocks,
    connected_components,
    place_clusters,
    sequential_clusters,
)
from derailleur.corpus.near_dedup.config import NearDedupConfig
from derailleur.corpus.near_dedup.memberships import BLOCK_DOCUMENTS, Block, Memberships
from derailleur.corpus.near_dedup.walk import similarities_of, walk
from derailleur.io import Progress, atomic_path, silent

NEAR_DUPLICATE, SHORT = 0, 1
REASONS = ("near_duplicate", "short")

DROPPED = np.dtype([("rank", "<i8"), ("survivor", "<i8"), ("similarity", "<f8"), ("reason", "<i8")])
"""One document that is dropped.

`survivor` is the rank of the kept document that it duplicates, -1 for a short one; `similarity` is their
exact Jaccard similarity, 0 for a short one; `reason` is an index into `REASONS`.
"""


@dataclass(frozen=True)
class NearDedupCounts:
    """What near-dedup did.

    Attributes:
        num_near_duplicates, num_short: documents dropped, by reason.
        num_candidates: pairs that met while one of them was kept; 0 where nothing is verified.
        num_verified: pairs whose exact similarity was computed to decide.
        num_capped: documents with more than `max_candidates` candidates.
    """

    num_near_duplicates: int
    num_short: int
    num_candidates: int
    num_verified: int
    num_capped: int


def read_dropped(path: Path) -> NDArray[Any]:
    """Map what `resolve` wrote: [dropped] of `DROPPED`, by rank."""
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, DROPPED)
    return np.asarray(np.memmap(path, DROPPED, mode="r"))


def find_dropped(dropped: NDArray[Any], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in `dropped` each rank is, -1 for the ranks that are kept."""
    places = np.searchsorted(dropped["rank"], ranks)
    found = np.zeros(len(ranks), bool)
    inside = places < len(dropped)
    found[inside] = dropped["rank"][places[inside]] == ranks[inside]
    return np.where(found, places, -1)


def resolve(
    sketches: Sequence[Path],
    partitions: Sequence[Path],
    num_documents: int,
    config: NearDedupConfig,
    out: Path,
    *,
    progress: Progress = silent,
) -> NearDedupCounts:
    """Decide which documents are dropped.

    The result depends on the documents and their ranks alone, not on how they were cut into shards and
    partitions.

    Args:
        sketches: what `sketch_shard` wrote for every shard.
        partitions: what `join_partition` wrote for every partition.
        num_documents: how many there are in all shards; their ranks are 0 to `num_documents - 1`.
        out: the file to write, see `read_dropped`. What memory need not hold lies beside it meanwhile.
    """
    counts = np.zeros(3, np.int64)
    num_dropped = np.zeros(len(REASONS), np.int64)
    with _scratch_folder(out) as scratch, atomic_path(out) as temporary, temporary.open("wb") as stream:
        sets = _Sets(sketches, num_documents, scratch)
        memberships = Memberships(partitions, num_documents)
        for first, survivors, similarities in _RULES[config.rule](memberships, sets, config, scratch, counts):
            dropped = _dropped(first, survivors, similarities)
            if config.short_documents == "drop":
                dropped = _with_short(dropped, first, sets.sizes[first : first + len(survivors)])
            stream.write(dropped.tobytes())
            num_dropped += np.bincount(dropped["reason"], minlength=len(REASONS))
            progress("near-dedup: compare", first + len(survivors), num_documents)
    near, short = num_dropped.tolist()
    return NearDedupCounts(near, short, *counts.tolist())


class _Sets:
    """Where the shingle set of each rank lies, in the memory maps of all shards."""

    def __init__(self, sketches: Sequence[Path], num_documents: int, scratch: Path) -> None:
        self.addresses = scratch_array(scratch / "addresses", num_documents, np.int64)
        self.sizes = scratch_array(scratch / "sizes", num_documents, np.int32)
        self._maps = [map_arrays(path) for path in sketches]  # addresses are good while these live
        for shard in self._maps:
            self.addresses[shard["ranks"]] = shard["shingles"].ctypes.data + 8 * shard["offsets"][:-1]
            self.sizes[shard["ranks"]] = np.diff(shard["offsets"])


_Decisions = Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]


def _verified(
    memberships: Memberships, sets: _Sets, config: NearDedupConfig, scratch: Path, counts: NDArray[np.int64]
) -> _Decisions:
    """Every document against the kept ones that share a bucket with it."""
    room = scratch_array(scratch / "kept", memberships.room, np.int64)
    return _walk(memberships.blocks(), room, sets, config, counts)


def _extremes(
    memberships: Memberships, sets: _Sets, config: NearDedupConfig, scratch: Path, counts: NDArray[np.int64]
) -> _Decisions:
    """Every document against the kept ones of its cluster."""
    num_documents = len(sets.sizes)
    bases = scratch_array(scratch / "bases", num_documents, np.int64)
    sequential_clusters(memberships, bases, scratch_array(scratch / "index", memberships.room, np.int64))
    places = scratch_array(scratch / "places", num_documents, np.int64)
    room = scratch_array(scratch / "kept", place_clusters(bases, places), np.int64)
    return _walk(cluster_blocks(bases, places), room, sets, config, counts)


def _components(
    memberships: Memberships, sets: _Sets, config: NearDedupConfig, scratch: Path, counts: NDArray[np.int64]
) -> _Decisions:
    """The best document of each connected component survives; similarities are for information."""
    leaders = scratch_array(scratch / "leaders", len(sets.sizes), np.int64)
    leaders[:] = np.arange(len(leaders))
    connected_components(memberships, leaders, scratch_array(scratch / "index", memberships.room, np.int64))
    for first in range(0, len(leaders), BLOCK_DOCUMENTS):
        survivors = leaders[first : first + BLOCK_DOCUMENTS]
        documents = np.arange(first, first + len(survivors))
        similarities = np.ones(len(survivors))
        is_dropped = survivors != documents
        similarities[is_dropped] = similarities_of(
            documents[is_dropped], survivors[is_dropped], sets.addresses, sets.sizes, 0.0
        )
        yield first, survivors, similarities


_RULES = {"verified": _verified, "extremes": _extremes, "components": _components}


def _walk(
    blocks: Iterable[Block],
    room: NDArray[np.int64],
    sets: _Sets,
    config: NearDedupConfig,
    counts: NDArray[np.int64],
) -> _Decisions:
    shared_buckets = np.zeros(len(sets.sizes), np.uint16)
    for block in blocks:
        survivors = np.empty(len(block.rows) - 1, np.int64)
        similarities = np.empty(len(survivors), np.float64)
        walk(
            block.first,
            block.rows,
            block.buckets,
            room,
            sets.addresses,
            sets.sizes,
            shared_buckets,
            config.threshold,
            config.max_candidates,
            survivors,
            similarities,
            counts,
        )
        yield block.first, survivors, similarities


def _dropped(first: int, survivors: NDArray[np.int64], similarities: NDArray[np.float64]) -> NDArray[Any]:
    rows = np.flatnonzero(survivors != np.arange(first, first + len(survivors)))
    dropped = np.empty(len(rows), DROPPED)
    dropped["rank"] = first + rows
    dropped["survivor"], dropped["similarity"] = survivors[rows], similarities[rows]
    dropped["reason"] = NEAR_DUPLICATE
    return dropped


def _with_short(dropped: NDArray[Any], first: int, sizes: NDArray[np.int32]) -> NDArray[Any]:
    rows = np.flatnonzero(sizes == 0)
    short = np.empty(len(rows), DROPPED)
    short["rank"] = first + rows
    short["survivor"], short["similarity"], short["reason"] = -1, 0, SHORT
    return np.sort(np.concatenate([dropped, short]), order="rank")


@contextlib.contextmanager
def _scratch_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` for what does not fit in memory; clears what a killed call left."""
    scratch = out.with_name(f".{out.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)
