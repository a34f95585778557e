"""Puts the texts of all shards in one order, the best first, and finds those that are the same byte for byte.

DuckDB sorts and groups on disk where memory does not suffice, so that this does not grow with the corpus.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from derailleur.corpus.sources import HELDOUT
from derailleur.corpus.spool import Ragged, Spool
from derailleur.io import atomic_path

_MEMORY = "600MB"
_BATCH_ROWS = 1 << 16

NO_RANK = -1
"""The rank of a text that was ruled out before."""

# What decides who survives. Place and shard only part copies that are alike in all else.
_BETTER = "heldout DESC, stars DESC, repository, path, sha256, source, origin, shard, text"


@dataclass(frozen=True)
class Ranks:
    """The ranks of one shard's texts.

    Attributes:
        own: [texts] int64, the text's rank; `NO_RANK` where it has none.
        first: [texts] int64, the rank of the best text with the same bytes: `own` where that is itself.
    """

    own: NDArray[np.int64]
    first: NDArray[np.int64]


@dataclass(frozen=True)
class Names:
    """Repository and path of every ranked text.

    Attributes:
        rows: by rank, UTF-8; the first byte says whether the text is held out.
    """

    rows: Ragged

    def __getitem__(self, rank: int) -> tuple[str, bool]:
        """The name of a text, and whether it is held out."""
        row = self.rows[rank].tobytes()
        return row[1:].decode(), row[:1] == b"H"


def rank_texts(judged: Sequence[Path], num_texts: Sequence[int], ranks: Sequence[Path], names: Path) -> int:
    """Rank the texts that nothing speaks against yet, and write what `read_ranks` and `read_names` read.

    Args:
        judged: the shards' records, as `write_records` writes them.
        num_texts: of each shard.
        ranks, names: files to write.

    Returns:
        How many distinct texts have a rank: 0, 1, ... without a gap.
    """
    with _database(names.parent) as database:
        database.execute(_RANKED, {"files": [str(path) for path in judged], "heldout": HELDOUT})
        _write_ranks(database, num_texts, ranks)
        return _write_names(database, names)


DISTINCT = """firsts AS (
    SELECT sha256, min(place) AS place FROM ordered GROUP BY sha256
), numbered AS (
    SELECT sha256, place, row_number() OVER (ORDER BY place) - 1 AS rank FROM firsts
)"""
"""SQL: the rank of each distinct text in `ordered`, by its best place there."""

_RANKED = f"""
CREATE TEMP TABLE ranked AS
WITH texts AS (
    SELECT shard, text, sha256, repository, path, source, origin,
        split = $heldout AS heldout, coalesce(stars, 0) AS stars
    FROM read_parquet($files) WHERE text IS NOT NULL AND action IS NULL
), ordered AS (
    SELECT *, row_number() OVER (ORDER BY {_BETTER}) AS place FROM texts
), {DISTINCT}
SELECT shard, text, repository || '/' || path AS name, heldout, rank, ordered.place = numbered.place AS first
FROM ordered JOIN numbered USING (sha256)
"""  # noqa: S608


def read_ranks(path: Path) -> Ranks:
    """The ranks of a shard's texts."""
    own, first = np.load(path)
    return Ranks(own, first)


def read_names(path: Path) -> Names:
    """The names by rank, memory-mapped."""
    return Names(Ragged.mapped(path, np.uint8))


def _write_ranks(
    database: duckdb.DuckDBPyConnection, num_texts: Sequence[int], ranks: Sequence[Path]
) -> None:
    rows = _rows(database, "SELECT shard, text, rank, first FROM ranked ORDER BY shard, text")
    shard = 0
    current = np.full((2, num_texts[0]), NO_RANK)
    for batch in rows:
        shards, texts, numbers, firsts = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
        for number in np.unique(shards):
            while shard < number:
                _save(ranks[shard], current)
                shard += 1
                current = np.full((2, num_texts[shard]), NO_RANK)
            here = shards == number
            current[0, texts[here & firsts]] = numbers[here & firsts]
            current[1, texts[here]] = numbers[here]
    while shard < len(ranks):
        _save(ranks[shard], current)
        shard += 1
        if shard < len(ranks):
            current = np.full((2, num_texts[shard]), NO_RANK)


def _save(path: Path, ranks: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, ranks)


def _write_names(database: duckdb.DuckDBPyConnection, names: Path) -> int:
    rows = _rows(database, "SELECT heldout, name FROM ranked WHERE first ORDER BY rank")
    with Spool(names, np.uint8) as spool:
        for batch in rows:
            for heldout, name in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                spool.append(("H" if heldout else "T").encode() + name.encode())
        return len(spool.finish(keep_offsets=True))


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    yield from database.sql(query).to_arrow_reader(_BATCH_ROWS)


def _database(scratch: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(scratch / "duckdb")})
