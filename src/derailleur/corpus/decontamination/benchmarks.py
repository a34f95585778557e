"""Reads benchmark files into the passages that no training document may hold.

Layouts recognised by their keys: HumanEval, its infilling and SantaCoder's, MultiPL-E, MBPP. Of
any other file the configuration names the columns.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator, model_validator

from derailleur.config import Config
from derailleur.errors import DataError

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_ID_KEYS = ("task_id", "name", "id")
_QUOTES = ('"""', "'''")

Row = Mapping[str, Any]


class BenchmarkConfig(Config):
    """One benchmark file; a path alone stands for one in a layout that is recognised."""

    path: Path = Field(description="JSONL (.gz, .zst), JSON list or Parquet")
    columns: tuple[str, ...] = Field((), description="columns of text; none: go by the layout")

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @field_validator("path")
    @classmethod
    def _named(cls, path: Path) -> Path:
        if not path.name:
            raise ValueError("expected a file")
        return path

    @field_validator("columns", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """The file's name up to its first dot."""
        return self.path.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a benchmark.

    Attributes:
        row: the row's id, or its number from 0 where it has none.
        kind: docstring, prompt, solution, problem (all of a program), tests, or the column's name.
    """

    benchmark: str
    row: str
    kind: str
    text: str


def read_passages(config: BenchmarkConfig) -> Iterator[Passage]:
    """The passages of one file, in the order of its rows; empty ones are left out.

    Raises:
        DataError: naming the file, and the row or key.
    """
    layout: Callable[[Row], Iterator[tuple[str, Any]]] | None = None
    number = -1
    for number, row in enumerate(_read_rows(config.path)):
        where = f"{config.path}: row {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected an object, got {type(row).__name__}")
        layout = layout or _layout(config, row)
        identifier = next((str(row[key]) for key in _ID_KEYS if row.get(key) is not None), str(number))
        try:
            found = [(kind, _as_text(value, kind)) for kind, value in layout(row)]
        except KeyError as error:
            raise DataError(f"{where}: no key {error}") from None
        except TypeError as error:
            raise DataError(f"{where}: {error}") from None
        yield from (Passage(config.name, identifier, kind, text) for kind, text in found if text.strip())
    if number < 0:
        raise DataError(f"{config.path}: no rows")


def _layout(config: BenchmarkConfig, row: Row) -> Callable[[Row], Iterator[tuple[str, Any]]]:
    if config.columns:
        return lambda row: ((column, row[column]) for column in config.columns)
    keys = row.keys()
    for needed, layout in _LAYOUTS:
        if needed <= keys:
            return layout
    raise DataError(
        f"{config.path}: not a layout that is recognised, it has {', '.join(keys)}; name the columns to use"
    )


def _infilling(row: Row) -> Iterator[tuple[str, Any]]:
    """Rows differ in where one program is cut: the whole of it is the same passage in all of them."""
    yield from _docstring(row)
    parts = (row[key] for key in ("prompt", "canonical_solution", "suffix"))
    yield "problem", "".join(_as_text(part, "problem") for part in parts)


def _human_eval(row: Row) -> Iterator[tuple[str, Any]]:
    yield from _docstring(row)
    yield "solution", row["canonical_solution"]
    yield "tests", row["test"]


def _multipl_e(row: Row) -> Iterator[tuple[str, Any]]:
    yield from _docstring(row)
    yield "prompt", row["prompt"]
    yield "tests", row["tests"]


def _mbpp(row: Row) -> Iterator[tuple[str, Any]]:
    yield "prompt", row["text"] if "text" in row else row["prompt"]
    yield "solution", row["code"]
    yield "tests", row["test_list"]


_LAYOUTS: tuple[tuple[set[str], Callable[[Row], Iterator[tuple[str, Any]]]], ...] = (
    ({"prompt", "canonical_solution", "suffix"}, _infilling),
    ({"prompt", "canonical_solution", "test"}, _human_eval),
    ({"prompt", "tests", "language"}, _multipl_e),
    ({"code", "test_list"}, _mbpp),
)


def _docstring(row: Row) -> Iterator[tuple[str, Any]]:
    """The last text of a prompt between triple quotes: earlier ones are those of helpers."""
    prompt = _as_text(row["prompt"], "prompt")
    for quotes in _QUOTES:
        parts = prompt.split(quotes)
        if len(parts) >= 3:
            yield "docstring", parts[-2]
            return


def _as_text(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise TypeError(f"'{kind}': expected a text or a list of texts, got {type(value).__name__}")
    return value


def _read_rows(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such benchmark file")
    bare = path.with_suffix("") if path.suffix in _COMPRESSIONS else path
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    yield from batch.to_pylist()
        elif bare.suffix in (".jsonl", ".json"):
            with pa.input_stream(path, compression=_COMPRESSIONS.get(path.suffix)) as stream:
                if bare.suffix == ".json":
                    yield from _json_list(json.loads(stream.read()), path)
                else:
                    yield from _json_lines(io.BufferedReader(stream), path)
        else:
            raise DataError(f"{path}: expected a .jsonl[.gz|.zst], .json or .parquet file")
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _json_list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of rows, got {type(value).__name__}")
    return value


def _json_lines(stream: io.BufferedReader, path: Path) -> Iterator[Any]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:  # also of numbers too long, and of endless nesting
                raise DataError(f"{path}:{number}: not JSON: {getattr(error, 'msg', error)}") from None
