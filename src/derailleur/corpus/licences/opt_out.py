"""Owners and repositories that asked to be left out, whatever their licence."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.corpus.ledger import Verdict
from derailleur.errors import DataError


@dataclass(frozen=True)
class OptOut:
    """Who opted out; names in lower case, as hosts compare them.

    Attributes:
        owners: all of whose repositories are left out.
        repositories: `owner/name`.
    """

    owners: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()

    @classmethod
    def load(cls, paths: Iterable[Path]) -> "OptOut":
        """Read lists: text (one a line, `#` comments), JSON (an array) or JSONL.

        An entry is `owner/name`, `owner` or `owner/*`; a JSON object has `repository` or `owner`.

        Raises:
            DataError: naming the file and the line of what is no such entry.
        """
        owners, repositories = set(), set()
        for path in paths:
            for entry in _entries(Path(path)):
                owner, _, name = entry.lower().partition("/")
                if name in ("", "*"):
                    owners.add(owner)
                else:
                    repositories.add(f"{owner}/{name}")
        return cls(frozenset(owners), frozenset(repositories))

    def covers(self, repository: str) -> bool:
        """Whether a repository, or its owner, has opted out."""
        name = repository.lower()
        return name in self.repositories or name.partition("/")[0] in self.owners

    def judge(self, repository: str) -> Verdict | None:
        """The reason to drop a repository's files, or None."""
        return Verdict("dropped", "opted_out", repository) if self.covers(repository) else None


def _entries(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    if path.suffix == ".json":
        yield from _from_array(path, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}:{number}"
        if path.suffix == ".jsonl" and line.strip():
            yield _checked(_from_json(line, where), where)
        elif path.suffix != ".jsonl" and (entry := line.partition("#")[0].strip()):
            yield _checked(entry, where)


def _from_array(path: Path, text: str) -> Iterator[str]:
    values = _loads(text, str(path))
    if not isinstance(values, list):
        raise DataError(f"{path}: expected a JSON array, got {type(values).__name__}")
    for number, value in enumerate(values, start=1):
        where = f"{path}: entry {number}"
        yield _checked(_name(value, where), where)


def _from_json(line: str, where: str) -> str:
    return _name(_loads(line, where), where)


def _name(value: Any, where: str) -> str:
    found = value.get("repository") or value.get("owner") if isinstance(value, dict) else value
    if not isinstance(found, str):
        raise DataError(f"{where}: expected a name, or an object with `repository` or `owner`")
    return found.strip()


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {getattr(error, 'msg', error)}") from None


def _checked(entry: str, where: str) -> str:
    owner, _, name = entry.partition("/")
    if not owner or "/" in name or any(letter.isspace() for letter in entry) or ":" in owner:
        raise DataError(f"{where}: expected owner, owner/* or owner/name, got '{entry}'")
    return entry
