"""Which source a user means by a path, and which reader a unit needs."""

import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from derailleur.corpus.rows import is_jsonl, is_parquet
from derailleur.corpus.sources.archive import ARCHIVE, ArchiveSource, archive_name, is_archive, read_archive
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import REFUSED, Entry, Source, Unit, read_refused
from derailleur.corpus.sources.folder import FOLDER, FolderSource, read_folder
from derailleur.corpus.sources.git import GIT, GitSource, is_bare_repository, read_git
from derailleur.corpus.sources.jsonl import JSONL, JsonlSource, read_jsonl
from derailleur.corpus.sources.parquet import PARQUET, ParquetSource, read_parquet
from derailleur.corpus.sources.selection import printable
from derailleur.errors import DataError

PYTHON_STDLIB = "python-stdlib"
"""The source that means the standard library of the running interpreter."""

_INSTALLED = frozenset({"site-packages", "dist-packages", "__pycache__"})

_READERS: Mapping[str, Callable[[Unit, SourceConfig], Iterator[Entry]]] = {
    ARCHIVE: read_archive,
    FOLDER: read_folder,
    GIT: read_git,
    JSONL: read_jsonl,
    PARQUET: read_parquet,
}


class _Given(NamedTuple):
    """A source as it was given, with its links resolved."""

    path: Path
    revision: str | None

    def __str__(self) -> str:
        return f"{self.path}@{self.revision}" if self.revision else str(self.path)


def open_sources(sources: Sequence[str | Path], config: SourceConfig, *, out: Path) -> list[Source]:
    """The sources that paths name, sorted by their own names.

    Args:
        sources: folders, git repositories (`PATH@REVISION`, or bare), archives, Parquet and JSONL files,
            or `python-stdlib`.
        out: where the run will write; not inside a source.

    Raises:
        DataError: if one is missing, of no known kind, or given twice; if a revision is not there.
    """
    given = [_resolve(str(source)) for source in sources]
    for source, times in Counter(given).items():
        if times > 1:
            raise DataError(f"{source}: given twice as a source")
        if out.resolve().is_relative_to(source.path):
            raise DataError(f"{out}: lies inside the source {source}; give another --out")
    opened = [_open(*source_and_name, config) for source_and_name in zip(given, _names(given), strict=True)]
    return sorted(opened, key=lambda source: source.name)


def read_unit(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """The entries of a unit, one at a time."""
    return read_refused(unit) if unit.kind == REFUSED else _READERS[unit.kind](unit, config)


def _resolve(source: str) -> _Given:
    if source == PYTHON_STDLIB:
        return _Given(_stdlib(), None)
    path = Path(source)
    if path.exists():
        return _Given(path.resolve(), None)
    before, at, revision = source.rpartition("@")
    if at and revision and Path(before).is_dir():
        return _Given(Path(before).resolve(), revision)
    raise DataError(f"{source}: no such file or folder")


def _open(given: _Given, repository: str, config: SourceConfig) -> Source:
    path = given.path
    if given.revision or (path.is_dir() and is_bare_repository(_names_in(path))):
        name = f"{repository}@{given.revision}" if given.revision else repository
        git = GitSource(name, repository.removesuffix(".git"), path, given.revision, config.limits.members)
        if given.revision:
            git.check_revision()
        return git
    if path.is_dir():
        excluded = frozenset(config.exclude_folders) | (_INSTALLED if path == _stdlib() else frozenset())
        return FolderSource(repository, path, excluded, config)
    if path.is_file() and is_archive(path.name):
        return ArchiveSource(repository, path, config)
    if path.is_file() and is_parquet(path):
        return ParquetSource(repository, path, config)
    if path.is_file() and is_jsonl(path):
        return JsonlSource(repository, path)
    raise DataError(
        f"{path}: expected a folder, a git repository, an archive (.zip, .whl, .tar, .tgz, .tar.zst, ...), "
        f"a .parquet or a .jsonl[.gz|.zst] file, or '{PYTHON_STDLIB}'"
    )


def _names_in(folder: Path) -> list[str]:
    return [f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()]


def _names(given: Sequence[_Given]) -> list[str]:
    """A name for what each source holds: its own, or its whole path where another one has the same."""
    paths = {source.path for source in given}
    times = Counter(_name(path) for path in paths)
    return [
        printable(str(source.path)) if times[name] > 1 else name
        for source in given
        for name in [_name(source.path)]
    ]


def _name(path: Path) -> str:
    if path == _stdlib():
        return PYTHON_STDLIB
    if path.is_dir():
        return printable(path.name or "/")
    return archive_name(path.name) if is_archive(path.name) else printable(path.name.partition(".")[0])


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()
