"""The ranks of rows from Parquet and JSONL files, and who survives whom, by DuckDB, which sorts on disk."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from derailleur.corpus.near_dedup import REASONS
from derailleur.corpus.ranking import DISTINCT
from derailleur.errors import DataError

_MEMORY = "600MB"
_BATCH_ROWS = 1 << 16
_INSERT_ROWS = 1 << 20
_NO_MORE = 1 << 62

ROWS = pa.schema(
    [
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("repository", pa.string()),
        ("path", pa.string()),
        ("stars", pa.int64()),
        ("sha256", pa.binary(32)),
    ]
)
"""What decides a row's rank, and where the row is."""

# by our names and The Stack's
_RANK_COLUMNS = {
    "repository": ("repository", "max_stars_repo_name"),
    "path": ("path", "max_stars_repo_path"),
    "stars": ("stars", "max_stars_count"),
}

_RANKED = f"""
CREATE TEMP TABLE ranked AS
WITH ordered AS (
    SELECT file, row, id, sha256, row_number() OVER (
        ORDER BY coalesce(stars, 0) DESC, coalesce(repository, ''), coalesce(path, ''), id
    ) AS place FROM read_parquet($rows)
), {DISTINCT}
SELECT file, row, id, rank, ordered.place = numbered.place AS is_first
FROM ordered JOIN numbered USING (sha256)
"""  # noqa: S608

_TWICE = "SELECT id, max(file) FROM read_parquet($rows) GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 1"

_CLUSTERS = """
SELECT mine.id, survivor.id AS survivor, if(survivor.id IS NULL, NULL, mine.similarity) AS similarity,
    CASE WHEN mine.id = survivor.id THEN NULL WHEN is_first OR survivor.id IS NULL THEN reason
        ELSE 'exact_duplicate' END AS reason
FROM (
    SELECT file, row, id, is_first, coalesce(survivor, rank) AS survivor_rank,
        coalesce(similarity, 1.0) AS similarity, reason
    FROM ranked LEFT JOIN dropped USING (rank)
) AS mine LEFT JOIN (SELECT rank, id FROM ranked WHERE is_first) AS survivor
    ON survivor.rank = mine.survivor_rank
ORDER BY mine.file, mine.row
"""


def rank_columns(
    batch: pa.RecordBatch, digests: Sequence[bytes], file: int, first: int, path: Path
) -> pa.Table:
    """The rows of a batch as `ROWS`.

    Args:
        digests: SHA-256 of each content.
        file, first: the number of the file, and of the first row in it.
        path: of the file, for messages.
    """
    columns = {
        "file": pa.array(np.full(len(batch), file, np.int32)),
        "row": pa.array(np.arange(first, first + len(batch))),
        "id": batch.column("id"),
        "sha256": pa.array(digests, pa.binary(32)),
    }
    for column, names in _RANK_COLUMNS.items():
        kind = ROWS.field(column).type
        name = next((name for name in names if name in batch.schema.names), None)
        try:
            columns[column] = pa.nulls(len(batch), kind) if name is None else batch.column(name).cast(kind)
        except pa.ArrowException:
            got = batch.column(name).type
            raise DataError(f"{path}: column '{name}' must hold {kind} for the rank, got {got}") from None
    return pa.table(columns).select(ROWS.names)


class RowRanks:
    """Ranks the rows of all files: most stars first, then by repository, path and id.

    Attributes:
        num_texts: distinct texts; their ranks are 0 to `num_texts - 1`, each that of its best row.
    """

    def __init__(self, scratch: Path, files: Sequence[Path]) -> None:
        """Rank the rows of `rows-*.parquet` in `scratch`.

        Raises:
            DataError: if there are none, or an id appears twice.
        """
        rows = {"rows": str(scratch / "rows-*.parquet")}
        self._database = duckdb.connect(
            config={"memory_limit": _MEMORY, "temp_directory": str(scratch / "duckdb")}
        )
        if twice := self._one(_TWICE, rows):
            raise DataError(f"{files[twice[1]]}: id '{twice[0]}' appears twice; ids must be unique")
        self._database.execute(_RANKED, rows)
        self.num_texts: int = self._one("SELECT count(*) FROM ranked WHERE is_first")[0]
        if self.num_texts == 0:
            raise DataError(f"{', '.join(map(str, files))}: no rows")

    def __enter__(self) -> "RowRanks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def write(self, paths: Sequence[Path], num_rows: Sequence[int]) -> None:
        """Write [rows] int64 for each shard, in the order of the input; -1 for a copy of a better row."""
        shards = zip(paths, num_rows, strict=True)
        path, wanted = next(shards)
        pending = np.empty(0, np.int64)
        for batch in self._batches("SELECT if(is_first, rank, -1) FROM ranked ORDER BY file, row"):
            pending = np.concatenate([pending, batch.column(0).to_numpy(zero_copy_only=False)])
            while wanted <= len(pending):
                np.save(path, pending[:wanted])
                pending = pending[wanted:]
                path, wanted = next(shards, (path, _NO_MORE))

    def clusters(self, dropped: NDArray[Any]) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the input: id, survivor, similarity, and the reason if one is dropped.

        Args:
            dropped: what `near_dedup.read_dropped` gives for the texts by rank.
        """
        self._database.execute(
            "CREATE TEMP TABLE dropped (rank BIGINT, survivor BIGINT, similarity DOUBLE, reason VARCHAR)"
        )
        for first in range(0, len(dropped), _INSERT_ROWS):
            rows = dropped[first : first + _INSERT_ROWS]
            columns = {name: rows[name] for name in ("rank", "survivor", "similarity")}
            reasons = pa.DictionaryArray.from_arrays(rows["reason"], list(REASONS))
            self._database.register("more", pa.table(columns | {"reason": reasons}))
            self._database.execute("INSERT INTO dropped SELECT * FROM more")
            self._database.unregister("more")
        yield from self._batches(_CLUSTERS)

    def _one(self, query: str, parameters: dict[str, str] | None = None) -> Any:
        rows = self._database.execute(query, parameters).fetchall()
        return rows[0] if rows else None

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        yield from self._database.sql(query).to_arrow_reader(_BATCH_ROWS)
