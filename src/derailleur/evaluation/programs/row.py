"""One program with what it is judged by, and how such rows are read from a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from derailleur.errors import DataError
from derailleur.evaluation.json_lines import Record, read_records


class Language(StrEnum):
    """The languages whose programs are judged."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    JAVA = "java"


@dataclass(frozen=True, slots=True)
class Row:
    """One program.

    Attributes:
        tests: code that fails where the program is wrong, joined behind it; None where `expected` decides.
        stdin: what the program reads on its standard input.
        expected: what it must write on its standard output; None where `tests` decide.
    """

    id: str
    language: Language
    program: str
    tests: str | None = None
    stdin: str = ""
    expected: str | None = None

    def joined(self) -> str:
        """The program, and its tests from the next line on."""
        newline = "" if self.program.endswith("\n") else "\n"
        return self.program + newline + (self.tests or "")


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON-lines file, `.gz` or not.

    Raises:
        DataError: naming the file, the line and the key.
    """
    return list(_distinct(_row(record) for record in read_records(path)))


def _distinct(rows: Iterator[tuple[str, Row]]) -> Iterator[Row]:
    first_seen: dict[str, str] = {}
    for where, row in rows:
        if row.id in first_seen:
            raise DataError(f"{where}: id: '{row.id}' is already the id of {first_seen[row.id]}")
        first_seen[row.id] = where
        yield row


def _row(record: Record) -> tuple[str, Row]:
    tests, expected = record.optional_text("tests"), record.optional_text("expected")
    if (tests is None) == (expected is None):
        raise DataError(f"{record.where}: expected either the key 'tests', or 'stdin' and 'expected'")
    row = Row(
        id=record.text("id"),
        language=_language(record),
        program=record.text("program"),
        tests=tests,
        stdin="" if expected is None else record.text("stdin"),
        expected=expected,
    )
    return record.where, row


def _language(record: Record) -> Language:
    name = record.text("language")
    try:
        return Language(name)
    except ValueError:
        known = ", ".join(Language)
        raise DataError(f"{record.where}: language: unknown '{name}'; known: {known}") from None
