"""How much each filter removed and what it measured: a Parquet file a shard, a table over all of them."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.corpus.filters.judge import Judgement, Step
from derailleur.errors import DataError
from derailleur.io import atomic_path

_STEPS = b"derailleur.steps"
_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """What one rule of a filter did.

    Attributes:
        files_before, bytes_before: what came to it.
        files_removed, bytes_removed: what it dropped.
        percentiles: of the measure, over the files for which it was measured; the nearest rank.
    """

    filter: str
    reason: str
    measure: str
    files_before: int
    bytes_before: int
    files_removed: int
    bytes_removed: int
    percentiles: dict[int, float]


def write_measures(path: Path, steps: Sequence[Step], judged: Iterable[tuple[int, str, Judgement]]) -> None:
    """Write what was measured of the documents of a shard.

    Args:
        steps: of the filters that judged.
        judged: size in bytes, language and judgement of each document, in the order of the shard.
    """
    measures = list(dict.fromkeys(step.measure for step in steps))
    schema = pa.schema(
        [
            ("num_bytes", pa.int64()),
            ("language", pa.string()),
            ("step", pa.int32()),
            *((measure, pa.float64()) for measure in measures),
        ],
        metadata={_STEPS: json.dumps([asdict(step) for step in steps]).encode()},
    )
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for rows in _batches(judged):
            columns = [
                [num_bytes for num_bytes, _, _ in rows],
                [language for _, language, _ in rows],
                [judgement.step for _, _, judgement in rows],
                *([judgement.measures.get(measure) for _, _, judgement in rows] for measure in measures),
            ]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(judged: Iterable[tuple[int, str, Judgement]]) -> Iterator[list[tuple[int, str, Judgement]]]:
    remaining = iter(judged)
    while rows := list(islice(remaining, _BATCH_ROWS)):
        yield rows


def volume_table(
    files: Sequence[Path], *, scratch: Path, memory_limit: str = "512MB", language: str | None = None
) -> list[VolumeRow]:
    """One row a rule, in the order in which they were applied.

    Args:
        files: as `write_measures` wrote them, all with the same filters.
        scratch: a folder for what does not fit `memory_limit`, as DuckDB spells it.
        language: only documents of one.

    Raises:
        DataError: naming the file that is none of these, or of other filters.
    """
    steps = _common_steps(files)
    with duckdb.connect(config={"memory_limit": memory_limit, "temp_directory": str(scratch)}) as database:
        documents = database.read_parquet([str(path) for path in files])
        if language is not None:
            documents = documents.filter(
                duckdb.ColumnExpression("language") == duckdb.ConstantExpression(language)
            )
        removed = {
            step: (num_files, num_bytes)
            for step, num_files, num_bytes in documents.aggregate(
                "step, count(*), sum(num_bytes)::BIGINT", "step"
            ).fetchall()
        }
        files_before = sum(num_files for num_files, _ in removed.values())
        bytes_before = sum(num_bytes for _, num_bytes in removed.values())
        rows = []
        for number, step in enumerate(steps):
            num_files, num_bytes = removed.get(number, (0, 0))
            percentiles = _percentiles(documents, step.measure, step.percentiles)
            rows.append(
                VolumeRow(
                    step.filter,
                    step.reason,
                    step.measure,
                    files_before,
                    bytes_before,
                    num_files,
                    num_bytes,
                    percentiles,
                )
            )
            files_before, bytes_before = files_before - num_files, bytes_before - num_bytes
        return rows


def _percentiles(documents: duckdb.DuckDBPyRelation, measure: str, wanted: Sequence[int]) -> dict[int, float]:
    """Values at ranks, by sorting: unlike the quantiles that DuckDB has, that can spill to disk."""
    measured = documents.filter(f'"{measure}" IS NOT NULL')
    (total,) = measured.aggregate("count(*)").fetchall()[0]
    if total == 0:
        return {}
    ranks = {percentile: max(1, math.ceil(percentile * total / 100)) for percentile in wanted}
    ordered = measured.project(f'"{measure}" AS value, row_number() OVER (ORDER BY "{measure}") AS rank')
    at_rank = {rank: value for value, rank in ordered.filter(f"rank IN {(*ranks.values(), -1)}").fetchall()}
    return {percentile: at_rank[rank] for percentile, rank in ranks.items()}


def _common_steps(files: Sequence[Path]) -> list[Step]:
    found: list[Step] | None = None
    for path in files:
        steps = _read_steps(path)
        if found is not None and steps != found:
            raise DataError(f"{path}: measured by other filters than {files[0]}")
        found = steps
    return found or []


def _read_steps(path: Path) -> list[Step]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if _STEPS not in metadata:
        raise DataError(f"{path}: holds no measures of filters")
    return [
        Step(**step | {"percentiles": tuple(step["percentiles"])}) for step in json.loads(metadata[_STEPS])
    ]
