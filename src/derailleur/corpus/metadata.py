"""A table of repositories: stars, licences and opt-outs, looked up for one shard's repositories at a time."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from derailleur.corpus.database_errors import plain_errors
from derailleur.corpus.licences.declared import named_licence
from derailleur.corpus.rows import COMPRESSIONS
from derailleur.errors import DataError

_READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, header = true, all_varchar = true)",
    ".jsonl": "read_json(?, format = 'newline_delimited')",
}

# Column names that mean the same, The Stack's among them; the first that a table has counts.
_REPOSITORY = ("repository", "repo", "repo_name", "max_stars_repo_name", "full_name")
_STARS = ("stars", "star_count", "stargazers_count", "star_events_count", "max_stars_count")
_LICENCES = ("licences", "licenses", "licence", "license", "max_stars_repo_licenses", "detected_licenses")
_OPTED_OUT = ("opted_out", "opt_out")

_MEMORY = "256MB"
_GLOB = re.compile(r"[*?\[]")  # what DuckDB takes for a pattern
_SPLIT = re.compile(r"[,;|]")
_MOST_STARS = 1 << 53  # beyond, a double is no exact number
_TRUE = frozenset(["true", "t", "1", "yes", "y"])


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a table says of one repository; None or empty where it says nothing."""

    stars: int | None = None
    licences: tuple[str, ...] = ()
    opted_out: bool = False


class RepositoryMetadata:
    """A Parquet, CSV or JSONL(.gz, .zst) file with a row a repository.

    It is read anew at each lookup and never held in memory; a process may use it as long as it likes.
    """

    def __init__(self, path: Path) -> None:
        """Check that the file can be read.

        Raises:
            DataError: if it is missing, is no such table, or has no column of repositories.
        """
        self._path = Path(path)
        suffixes = [suffix.lower() for suffix in self._path.suffixes]
        kind = next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSIONS), "")
        if kind not in _READERS:
            raise DataError(f"{path}: expected .parquet, .csv or .jsonl, the latter two also .gz or .zst")
        self._table = _READERS[kind]
        if not self._path.is_file():
            raise DataError(f"{path}: no such file")
        columns = self._query(f"DESCRIBE SELECT * FROM {self._table}", [])  # noqa: S608
        self._columns = {str(name).lower(): str(name) for name, *_ in columns}
        if self._column(_REPOSITORY) is None:
            raise DataError(f"{path}: no column of repositories; one of {', '.join(_REPOSITORY)} is needed")

    def lookup(self, repositories: Sequence[str]) -> dict[str, Metadata]:
        """What the table says of some repositories, by the names given; names are compared in lower case.

        Of several rows for one repository the stars are the most, the licences are joined, and one opt-out is
        enough.

        Raises:
            DataError: if the file cannot be read, or holds what is no number of stars.
        """
        given: dict[str, list[str]] = {}
        for name in repositories:
            given.setdefault(name.lower(), []).append(name)
        key = f"lower({_quoted(self._column(_REPOSITORY))}::VARCHAR)"
        values = ", ".join(_quoted(self._column(names)) for names in (_STARS, _LICENCES, _OPTED_OUT))
        statement = f"""
            SELECT {key}, {values} FROM {self._table}
            WHERE {key} IN (SELECT unnest(?::VARCHAR[]))
        """  # noqa: S608
        found: dict[str, Metadata] = {}
        for name, *row in self._query(statement, [list(given)]):
            found[name] = _merged(found.get(name), self._metadata(name, *row))
        return {spelled: found[name] for name, every in given.items() if name in found for spelled in every}

    def _column(self, names: Sequence[str]) -> str | None:
        return next((self._columns[name] for name in names if name in self._columns), None)

    def _query(self, statement: str, values: list[Any]) -> list[tuple]:
        literal_path = _GLOB.sub(r"[\g<0>]", str(self._path))
        try:
            with (
                plain_errors(),
                closing(duckdb.connect(config={"memory_limit": _MEMORY, "threads": 1})) as database,
            ):
                return database.execute(statement, [literal_path, *values]).fetchall()
        except (duckdb.Error, UnicodeDecodeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"{self._path}: {reason}") from None

    def _metadata(self, name: str, stars: Any, licences: Any, opted_out: Any) -> Metadata:
        return Metadata(
            stars=self._number(name, stars),
            licences=licence_expressions(licences),
            opted_out=str(opted_out).strip().lower() in _TRUE,
        )

    def _number(self, name: str, stars: Any) -> int | None:
        if stars is None or str(stars).strip() == "":
            return None
        try:
            number = int(float(stars))
        except (ValueError, OverflowError):
            number = None
        if number is None or abs(number) > _MOST_STARS:
            raise DataError(f"{self._path}: {name}: expected a number of stars, got {stars!r}")
        return number


def _quoted(column: str | None) -> str:
    return "NULL" if column is None else '"' + column.replace('"', '""') + '"'


def licence_expressions(value: Any) -> tuple[str, ...]:
    """The SPDX expressions of one cell: a list, a list in words, or names between `,`, `;` or `|`."""
    names = value if isinstance(value, list | tuple) else _SPLIT.split(str(value or "").strip("[]"))
    found = [named_licence(str(name).strip(" \"'")) for name in names if name]
    return tuple(dict.fromkeys(str(expression) for expression in found if expression is not None))


def _merged(first: Metadata | None, second: Metadata) -> Metadata:
    if first is None:
        return second
    stars = [count for count in (first.stars, second.stars) if count is not None]
    return Metadata(
        max(stars, default=None),
        tuple(sorted({*first.licences, *second.licences})),
        first.opted_out or second.opted_out,
    )
