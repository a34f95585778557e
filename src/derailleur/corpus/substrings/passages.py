"""The third task: a shard's repeated passages, verified byte by byte and extended as far as they reach."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.arrays import map_arrays
from derailleur.corpus.spool import Ragged
from derailleur.corpus.substrings.config import SubstringConfig
from derailleur.corpus.substrings.fingerprints import POSITION_BITS
from derailleur.io import atomic_path

_POSITION = np.uint64((1 << 32) - 1)


@dataclass(frozen=True)
class Labels:
    """What the report calls the documents of a shard: [rows] each."""

    repository: Sequence[str]
    path: Sequence[str]
    language: Sequence[str]


@dataclass(frozen=True)
class _Marks:
    """Shared fingerprints of a shard by place, as `join_fingerprints` writes them."""

    places: NDArray[np.uint64]
    partners: NDArray[np.uint64]
    is_first: NDArray[np.uint8]
    num_documents: NDArray[np.uint32]


def find_passages(
    shard: int,
    contents: Sequence[Ragged],
    is_kept: NDArray[np.bool_],
    labels: Labels,
    joined: Sequence[Path],
    config: SubstringConfig,
    *,
    passages: Path,
    documents: Path,
) -> None:
    """Find the passages of a shard's documents that stand in another document too.

    Neighbouring fingerprints that continue in the same way elsewhere make a passage. It is compared with
    that other place and extended there, at most by the window that winnowing may leave at either end.

    Args:
        contents: those of all shards, memory-mapped.
        is_kept: [rows of this shard].
        labels: of this shard.
        joined: what `join_fingerprints` wrote for every range.
        passages: Parquet to write, a row a passage: `document`, `start`, `stop` (bytes), `num_documents`
            that hold it, `is_first` for the earliest of them, `partner` and `partner_start`, the place it
            was compared with.
        documents: Parquet to write, a row a kept document: `document`, `repository`, `path`, `language`,
            `num_bytes`, `repeated_bytes` and `later_bytes`, those of them that an earlier document holds.
    """
    firsts = np.cumsum([0, *map(len, contents)])
    first = int(firsts[shard])
    marks = _marks_of(joined, first, int(firsts[shard + 1]))
    chains = _chains(marks, config.window)
    rows = [row for chain in chains if (row := _verified(*chain, marks, contents, firsts, config))]
    _write(passages, pa.Table.from_pylist(rows, schema=_PASSAGES))
    own = contents[shard]
    kept = np.flatnonzero(is_kept)
    later = [row for row in rows if row["partner"] < row["document"]]
    columns = {
        "document": kept + first,
        **{name: [values[row] for row in kept.tolist()] for name, values in asdict(labels).items()},
        "num_bytes": np.diff(own.offsets)[kept],
        "repeated_bytes": _covered(rows, len(own), first)[kept],
        "later_bytes": _covered(later, len(own), first)[kept],
    }
    _write(documents, pa.table(columns, schema=_DOCUMENTS))


_PASSAGES = pa.schema(
    [
        ("document", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("num_documents", pa.int64()),
        ("is_first", pa.bool_()),
        ("partner", pa.int64()),
        ("partner_start", pa.int64()),
    ]
)
_DOCUMENTS = pa.schema(
    [
        ("document", pa.int64()),
        ("repository", pa.string()),
        ("path", pa.string()),
        ("language", pa.string()),
        ("num_bytes", pa.int64()),
        ("repeated_bytes", pa.int64()),
        ("later_bytes", pa.int64()),
    ]
)


def _marks_of(joined: Sequence[Path], first: int, stop: int) -> _Marks:
    """What all ranges know of the documents `first` to `stop`."""
    limits = np.array([first, stop], np.uint64) << POSITION_BITS
    pieces: dict[str, list[NDArray[Any]]] = {}
    for path in joined:
        arrays = map_arrays(path)
        begin, end = np.searchsorted(arrays["places"], limits)
        for name, array in arrays.items():
            pieces.setdefault(name, []).append(array[begin:end])
    whole = {name: np.concatenate(arrays) for name, arrays in pieces.items()}
    order = np.argsort(whole["places"])
    return _Marks(**{name: array[order] for name, array in whole.items()})


def _chains(marks: _Marks, window: int) -> list[tuple[int, int]]:
    """First and last of the marks that continue each other, here as at their partner."""
    if not len(marks.places):
        return []
    steps = np.diff(marks.places)
    parted = (
        (steps > window)  # a larger step passes a fingerprint that is not shared, or into another document
        | (np.diff(marks.partners) != steps)
        | (np.diff(marks.num_documents.astype(np.int64)) != 0)
    )
    ends = np.flatnonzero(parted)
    return list(zip([0, *(ends + 1).tolist()], [*ends.tolist(), len(steps)], strict=True))


def _verified(
    begin: int,
    end: int,
    marks: _Marks,
    contents: Sequence[Ragged],
    firsts: NDArray[np.int64],
    config: SubstringConfig,
) -> dict[str, Any] | None:
    """The passage of a chain of marks; None if its bytes differ, where two hashes were equal by chance."""
    document, start = _split(marks.places[begin])
    partner, partner_start = _split(marks.partners[begin])
    length = int(marks.places[end] - marks.places[begin]) + config.min_bytes
    before, after = extent(
        _text(document, contents, firsts),
        start,
        _text(partner, contents, firsts),
        partner_start,
        length,
        config.window - 1,
    )
    if before < 0:
        return None
    return {
        "document": document,
        "start": start - before,
        "stop": start + length + after,
        "num_documents": int(marks.num_documents[begin]),
        "is_first": bool(marks.is_first[begin]),
        "partner": partner,
        "partner_start": partner_start - before,
    }


def _split(place: np.uint64) -> tuple[int, int]:
    return int(place >> POSITION_BITS), int(place & _POSITION)


def _text(document: int, contents: Sequence[Ragged], firsts: NDArray[np.int64]) -> NDArray[np.uint8]:
    shard = int(np.searchsorted(firsts, document, side="right")) - 1
    return contents[shard][document - int(firsts[shard])]


@compiled
def extent(
    left: NDArray[np.uint8],
    left_start: int,
    right: NDArray[np.uint8],
    right_start: int,
    length: int,
    reach: int,
) -> tuple[int, int]:
    """How far, at most `reach` bytes, two equal passages stay equal before and after; -1 if they are not."""
    for index in range(length):
        if left[left_start + index] != right[right_start + index]:
            return -1, -1
    before = 0
    most = min(reach, left_start, right_start)
    while before < most and left[left_start - before - 1] == right[right_start - before - 1]:
        before += 1
    left_stop, right_stop = left_start + length, right_start + length
    after = 0
    most = min(reach, len(left) - left_stop, len(right) - right_stop)
    while after < most and left[left_stop + after] == right[right_stop + after]:
        after += 1
    return before, after


def _covered(rows: Sequence[dict[str, Any]], num_rows: int, first_document: int) -> NDArray[np.int64]:
    """[rows of the shard] how many bytes of each its passages cover together."""
    covered = np.zeros(num_rows, np.int64)
    reached = (-1, 0)  # the document, and how far into it bytes are counted
    for row in sorted(rows, key=lambda row: (row["document"], row["start"])):
        document, start = row["document"], row["start"]
        if reached[0] == document:
            start = max(start, reached[1])
        covered[document - first_document] += max(row["stop"] - start, 0)
        reached = (document, max(row["stop"], start))
    return covered


def _write(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
