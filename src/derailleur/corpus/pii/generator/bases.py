"""Real files to plant values in, freed of lines that might hold a value of their own.

A base file's own personal data would count against a detector that finds it. So every line that could hold
any is left out, by checks far cruder than a detector's: letters next to an at sign, four numbers with dots,
groups of hexadecimal digits with colons, long runs with digits in them, PEM marks, and words such as
"password" or "token" beside a literal.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from derailleur.corpus.pii.generator.places import SUFFIXES
from derailleur.errors import DataError

_MIN_LINES, _MAX_LINES = 8, 300
_MAX_FILE_BYTES = 200_000
_MAX_LINE = 300  # characters; longer ones are data
_MAX_FILES = 4_000  # of one language that are considered

_SUSPECT = re.compile(
    r"[\w.+%-]@|\(at\)|"  # a @decorator may stay
    r"[0-9]+\.[0-9]+\.[0-9]+|"
    r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:|"
    r"-----|://[^/\s]*:|"
    r"[A-Za-z0-9+/=]*[0-9][A-Za-z0-9+/=]*[0-9][A-Za-z0-9+/=]{10,}|[A-Za-z0-9+/=_-]{28,}"
)
_SECRET_WORD = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|api.?key|private.?key|auth", re.IGNORECASE
)
_LITERAL = re.compile(r"[\"'`0-9]|[:=]\s*[^\s(\[{]+\s*$")  # a call is none


@dataclass(frozen=True, slots=True)
class Base:
    """A real file's lines that are sure to hold nothing."""

    path: str
    language: str
    lines: list[str]


def find_bases(sources: Sequence[Path]) -> dict[str, list[Path]]:
    """The files below `sources` that values can be planted in, by language, sorted.

    Raises:
        DataError: if a source is missing, or none has a file of a known language.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        for path in _files(source):
            language = SUFFIXES.get(path.suffix) or SUFFIXES.get(path.name)
            if language:
                found[language].append(path)
    if not found:
        raise DataError(f"{', '.join(map(str, sources))}: no file of a known language")
    return {language: sorted(found[language]) for language in sorted(found)}


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names if not Path(folder, name).is_symlink())


def draw_bases(files: Mapping[str, Sequence[Path]], number: int, random: Random) -> Iterator[Base]:
    """So many files, spread evenly over the languages; one is used again only where they run out.

    Raises:
        DataError: if no file is left with enough lines.
    """
    pools = {language: _Pool(language, paths, random) for language, paths in files.items()}
    while number:
        for language in list(pools):
            base = pools[language].draw() if number else None
            if base:
                number -= 1
                yield base
            elif number:
                del pools[language]
        if number and not pools:
            raise DataError("no source file has enough lines that are free of values of their own")


class _Pool:
    """The files of one language, in a random order, round and round."""

    def __init__(self, language: str, paths: Sequence[Path], random: Random) -> None:
        self._language = language
        self._paths = random.sample(list(paths), min(len(paths), _MAX_FILES))
        self._next = 0

    def draw(self) -> Base | None:
        """The next file that will do; None if none will."""
        for _ in range(len(self._paths)):
            path = self._paths[self._next % len(self._paths)]
            self._next += 1
            lines = _clean_lines(path)
            if len(lines) >= _MIN_LINES:
                return Base(str(path), self._language, lines)
        return None


def _clean_lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return []
        lines = path.read_bytes().decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line for line in lines if not is_suspect(line)][:_MAX_LINES]


def is_suspect(line: str) -> bool:
    """Whether a line might hold personal data or a secret, by the crude checks above."""
    return bool(
        len(line) > _MAX_LINE
        or _SUSPECT.search(line)
        or (_SECRET_WORD.search(line) and _LITERAL.search(line))
    )
