"""Finds the files of source folders and puts them in the order of their rank. Opens no file."""

import hashlib
import os
import re
import stat
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from derailleur.corpus.languages import language_of
from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.opening import _INSTALLED, PYTHON_STDLIB
from derailleur.errors import DataError

HELDOUT, TRAIN = "heldout", "train"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        location: what to open; may hold undecodable bytes as surrogates.
        repository: the folder's name, or its path under the source where a `.git` marks a repository.
        path: relative to the repository, with `/`; undecodable bytes as `\\xNN`.
        num_bytes: size when it was found.
        split: "heldout" or "train".
        language: by its name, None if unknown.
        verdict: set if the file is ruled out before it is opened.
    """

    location: str
    repository: str
    path: str
    num_bytes: int
    split: str
    language: str | None
    verdict: Verdict | None


def resolve_sources(sources: Sequence[Path], *, out: Path) -> list[Path]:
    """The folders that the sources name; resolved folders stay as they are.

    Raises:
        DataError: if a source is no folder or is given twice, or if `out` lies inside one.
    """
    folders = [_resolve(source) for source in sources]
    for folder, times in Counter(folders).items():
        if times > 1:
            raise DataError(f"{folder}: given twice as a source")
        if out.resolve().is_relative_to(folder):
            raise DataError(f"{out}: lies inside the source {folder}; give another --out")
    return folders


def find_files(config: SourceConfig, folders: Sequence[Path]) -> list[SourceFile]:
    """Every file of the folders, ranked: held-out first, then by repository and path.

    Symbolic links are not followed; they, devices, pipes and sockets are listed with a verdict.

    Args:
        folders: as `resolve_sources` gives them.

    Raises:
        DataError: if there is no file at all.
    """
    selection = _Selection(config)
    files = [
        selection.judge(found)
        for folder, name in zip(folders, _names(folders), strict=True)
        for found in _walk(folder, name, excluded=_excluded(folder, config))
    ]
    if not files:
        raise DataError(f"{', '.join(map(str, folders))}: no files found")
    return sorted(files, key=lambda file: (file.split != HELDOUT, file.repository, file.path))


def fingerprint(config: SourceConfig, folder: Path) -> str:
    """SHA-256 over names, sizes and times of the files that `find_files` would give for one folder."""
    digest = hashlib.sha256()
    for file in find_files(config, [folder]):
        if file.verdict is None:
            modified = Path(file.location).stat().st_mtime_ns
            digest.update(f"{file.location}\0{file.num_bytes}\0{modified}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_heldout(path: str, *, fraction: float, salt: str) -> bool:
    """Whether a path within its repository belongs to the held-out share; depends on nothing else."""
    digest = hashlib.sha256(f"{salt}\0{path}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


@dataclass(frozen=True, slots=True)
class _Found:
    location: str
    repository: str
    path: str
    num_bytes: int
    verdict: Verdict | None = None


class _Selection:
    """Judges a file by what is known without opening it."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._include = [_glob(pattern) for pattern in config.include]

    def judge(self, found: _Found) -> SourceFile:
        heldout = is_heldout(
            found.path, fraction=self._config.heldout_fraction, salt=self._config.heldout_salt
        )
        language = language_of(found.path)
        return SourceFile(
            location=found.location,
            repository=found.repository,
            path=found.path,
            num_bytes=found.num_bytes,
            split=HELDOUT if heldout else TRAIN,
            language=language,
            verdict=found.verdict or self._verdict(found, language),
        )

    def _verdict(self, found: _Found, language: str | None) -> Verdict | None:
        if self._include and not any(pattern.fullmatch(found.path) for pattern in self._include):
            return Verdict("dropped", "not_included")
        if language is None:
            return Verdict("dropped", "unknown_language")
        if self._config.languages and language not in self._config.languages:
            return Verdict("dropped", "other_language", language)
        if found.num_bytes > self._config.max_file_bytes:
            return Verdict("dropped", "too_large", f"{found.num_bytes} bytes")
        return None


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each source: the folder's own, or its whole path where two have the same."""
    names = [PYTHON_STDLIB if folder == _stdlib() else folder.name or "/" for folder in folders]
    times = Counter(names)
    return [str(folder) if times[name] > 1 else name for folder, name in zip(folders, names, strict=True)]


def _excluded(folder: Path, config: SourceConfig) -> frozenset[str]:
    return frozenset(config.exclude_folders) | (_INSTALLED if folder == _stdlib() else frozenset())


def _resolve(source: Path) -> Path:
    folder = _stdlib() if str(source) == PYTHON_STDLIB else source
    if not folder.exists():
        raise DataError(f"{source}: no such folder")
    if not folder.is_dir():
        raise DataError(f"{source}: expected a folder or '{PYTHON_STDLIB}'")
    return folder.resolve()


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()


def _walk(source: Path, name: str, *, excluded: frozenset[str]) -> Iterator[_Found]:
    pending = [(str(source), name, "")]  # folder, its repository, its path in there with a final slash
    while pending:
        folder, repository, prefix = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            yield _Found(folder, repository, prefix or "./", 0, _unreadable(error))
            continue
        if prefix and any(entry.name == ".git" for entry in entries):
            repository, prefix = f"{repository}/{prefix.rstrip('/')}", ""
        for entry in entries:
            path = prefix + _printable(entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield _found(entry, repository, path)
            elif entry.name not in excluded:
                pending.append((entry.path, repository, f"{path}/"))


def _found(entry: os.DirEntry[str], repository: str, path: str) -> _Found:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return _Found(entry.path, repository, path, 0, _unreadable(error))
    if stat.S_ISLNK(status.st_mode):
        return _Found(entry.path, repository, path, 0, Verdict("dropped", "symbolic_link"))
    if not stat.S_ISREG(status.st_mode):
        return _Found(entry.path, repository, path, 0, Verdict("dropped", "not_a_regular_file"))
    return _Found(entry.path, repository, path, status.st_size)


def _unreadable(error: OSError) -> Verdict:
    return Verdict("quarantined", "unreadable", error.strerror or str(error))


def _printable(name: str) -> str:
    """A file's name as text; bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _glob(pattern: str) -> re.Pattern[str]:
    """A path glob as a regular expression: `**/` is any folders, `*` and `?` stay within a name."""
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(forms.get(part, re.escape(part)) for part in parts), re.DOTALL)
