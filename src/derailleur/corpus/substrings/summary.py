"""The last task: how much of the corpus is repeated, by language, and the passages that repeat most."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.corpus.substrings.config import SubstringConfig
from derailleur.io import atomic_path

TOP_PASSAGES = "repeated-passages.parquet"

_MEMORY = "600MB"
_NUM_PLACES = 10

_SUMS = ("count(*)", "sum(num_bytes)", "sum(repeated_bytes)", "sum(later_bytes)")

# The first place of a passage stands for all of them. One that lies for the most part in a passage which at
# least as many documents share, and another document has first, is a piece of that one: at its ends winnowing
# selects some fingerprints in a part of the documents only.
_CANDIDATES = """
WITH passages AS (FROM read_parquet($passages))
SELECT document, start, stop, num_documents FROM passages AS own WHERE is_first AND NOT EXISTS (
    FROM passages AS other WHERE other.document = own.document AND NOT other.is_first
        AND other.num_documents >= own.num_documents
        AND 2 * (least(other.stop, own.stop) - greatest(other.start, own.start)) > own.stop - own.start
)
ORDER BY (num_documents - 1) * (stop - start) DESC, document, start
"""

# Where a passage would begin in another document, by the longest part of it that was found there: ends that
# others share, too, stand in rows of their own.
_PLACES = """
WITH places AS (
    SELECT top.number, passage.document,
        greatest(0, arg_max(
            passage.start + top.start - passage.partner_start, (
                least(passage.partner_start + passage.stop - passage.start, top.stop)
                    - greatest(passage.partner_start, top.start), -passage.start
            )
        )) AS start
    FROM top JOIN read_parquet($passages) AS passage ON passage.partner = top.document
        AND passage.document > top.document
        AND passage.partner_start < top.stop
        AND passage.partner_start + passage.stop - passage.start > top.start
    GROUP BY top.number, passage.document
    UNION ALL
    SELECT number, document, start FROM top
)
SELECT number, repository || '/' || path, start FROM places JOIN read_parquet($documents) USING (document)
QUALIFY row_number() OVER (PARTITION BY number ORDER BY document) <= $num_places
ORDER BY number, document
"""

_SCHEMA = pa.schema(
    [
        ("num_documents", pa.int64()),
        ("num_bytes", pa.int64()),
        ("places", pa.list_(pa.struct([("file", pa.string()), ("start", pa.int64())]))),
    ]
)


def summarise(
    passages: Sequence[Path], documents: Sequence[Path], config: SubstringConfig, out: Path
) -> dict[str, Any]:
    """Sum up what `find_passages` wrote for every shard.

    Args:
        out: Parquet to write, the passages that repeat most bytes, the first copy not counted:
            `num_documents`, `num_bytes` and `places`, up to ten of the files that hold it (or, seldom, a
            part of it), with the offset in each in bytes.

    Returns:
        `documents`, `bytes`, `repeated_bytes` and `later_bytes`, in all and `by_language`.
    """
    files = {"passages": [str(path) for path in passages], "documents": [str(path) for path in documents]}
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": _MEMORY,
        "temp_directory": str(out.with_name(f".{out.name}.spill")),
    }
    with duckdb.connect(":memory:", config=settings) as database:
        top = _top_passages(database, files["passages"], config.num_top)
        _write_top(top, _places(database, top, files), out)
        return _counts(database, files["documents"])


@dataclass(frozen=True)
class _Passage:
    """A passage where it stands first."""

    document: int
    start: int
    stop: int
    num_documents: int

    def overlaps(self, other: "_Passage") -> bool:
        """Whether the two share a byte."""
        return self.document == other.document and self.start < other.stop and other.start < self.stop


def _top_passages(
    database: duckdb.DuckDBPyConnection, passages: Sequence[str], num_top: int
) -> list[_Passage]:
    """The passages that repeat most bytes, none of which overlaps a better one."""
    top: list[_Passage] = []
    with database.cursor() as rows:
        rows.execute(_CANDIDATES, {"passages": passages})
        while len(top) < num_top and (row := rows.fetchone()):
            found = _Passage(*row)
            if not any(found.overlaps(better) for better in top):
                top.append(found)
    return top


def _places(
    database: duckdb.DuckDBPyConnection, top: Sequence[_Passage], files: dict[str, list[str]]
) -> list[list[tuple[str, int]]]:
    """Files that hold each passage and where, the first one at the head."""
    columns = {name: [getattr(passage, name) for passage in top] for name in ("document", "start", "stop")}
    types = pa.schema([(name, pa.int64()) for name in ("number", *columns)])
    database.register("top", pa.table({"number": range(len(top))} | columns, schema=types))
    places: list[list[tuple[str, int]]] = [[] for _ in top]
    for number, file, start in database.execute(_PLACES, files | {"num_places": _NUM_PLACES}).fetchall():
        places[number].append((file, start))
    return places


def _write_top(top: Sequence[_Passage], places: Sequence[Sequence[tuple[str, int]]], out: Path) -> None:
    columns = {
        "num_documents": [passage.num_documents for passage in top],
        "num_bytes": [passage.stop - passage.start for passage in top],
        "places": [[{"file": file, "start": start} for file, start in own] for own in places],
    }
    with atomic_path(out) as temporary:
        pq.write_table(pa.table(columns, schema=_SCHEMA), temporary, compression="zstd")


def _counts(database: duckdb.DuckDBPyConnection, documents: Sequence[str]) -> dict[str, Any]:
    """The sums of all documents, and of each language."""
    sums = ", ".join(f"{expression}::BIGINT" for expression in _SUMS)
    query = f"""
        SELECT language, {sums} FROM read_parquet($documents)
        GROUP BY GROUPING SETS ((), (language)) ORDER BY grouping(language) DESC, language
    """  # noqa: S608
    names = ("documents", "bytes", "repeated_bytes", "later_bytes")
    (_, *whole), *parts = database.execute(query, {"documents": documents}).fetchall()
    by_language = {language: dict(zip(names, sums, strict=True)) for language, *sums in parts}
    return {name: value or 0 for name, value in zip(names, whole, strict=True)} | {"by_language": by_language}
