"""Tables of source files: which of their columns mean what.

The Stack, The Stack v2 and the sets derived from them each have their own names for the same things.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.entry import Entry
from derailleur.corpus.sources.selection import Selection

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "content": ("content", "code", "text"),
    "repository": ("max_stars_repo_name", "repo_name", "repository", "repo"),
    "path": ("max_stars_repo_path", "path", "repo_path", "file_path"),
    "stars": ("max_stars_count", "star_events_count", "stars", "stargazers_count"),
    "licences": (
        "max_stars_repo_licenses",
        "detected_licenses",
        "licenses",
        "license",
        "licences",
        "licence",
    ),
    "language": ("lang", "language", "programming_language"),
    "revision": ("max_stars_repo_head_hexsha", "revision_id", "revision", "commit"),
    "extension": ("ext", "extension"),
}
"""What an entry takes from a row: the first of these columns that the table has."""

_MOST_STARS = 1 << 53
"""Tables that have nulls hold integers as doubles, exact up to here."""


def columns_of(names: Iterable[str]) -> dict[str, str]:
    """Which column of a table holds what, as far as it has one."""
    there = set(names)
    found = {
        meaning: next((alias for alias in aliases if alias in there), None)
        for meaning, aliases in COLUMNS.items()
    }
    return {meaning: column for meaning, column in found.items() if column is not None}


def row_entry(row: Mapping[str, Any], *, table: str, number: int, origin: str, selection: Selection) -> Entry:
    """The entry of one row.

    Args:
        row: by meaning, as `columns_of` names it; `content` is bytes, or None.
        table: the repository of rows that name none.
        number: the path of rows that have none, with their extension.
    """
    content = row.get("content")
    extension = _text(row.get("extension")).lstrip(".")
    path = _text(row.get("path")).lstrip("/") or f"{number:08d}{'.' + extension if extension else ''}"
    num_bytes = 0 if content is None else len(content)
    verdict = selection.rule_out(path, num_bytes)
    if content is None:
        verdict = Verdict("quarantined", "no_content")
    return Entry(
        _text(row.get("repository")) or table,
        path,
        num_bytes,
        None if verdict else content,
        verdict,
        origin=origin,
        revision=_text(row.get("revision")),
        stars=_count(row.get("stars")),
        licences=_texts(row.get("licences")),
        language=_text(row.get("language")) or None,
    )


def _count(value: Any) -> int | None:
    """A number of stars; None where it cannot be one."""
    is_number = isinstance(value, int | float) and abs(value) <= _MOST_STARS
    return int(value) if is_number else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    """A list of texts, or a single one."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(text for text in map(_text, values) if text)
