"""Folders: walked in the order of their paths, without following links."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.archive import ArchiveSource, is_archive
from derailleur.corpus.sources.batching import batches
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import Entry, Source, Unit
from derailleur.corpus.sources.files import open_regular, reason
from derailleur.corpus.sources.git import GitSource, is_bare_repository
from derailleur.corpus.sources.selection import Selection, lfs_pointer, printable

FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class _Folder:
    """One folder below a source.

    Attributes:
        location: where it lies; may hold undecodable bytes as surrogates.
        repository: the one that it belongs to.
        prefix: its path inside the repository, with a final slash unless it is empty.
    """

    location: str
    repository: str
    prefix: str

    def below(self, name: str) -> "_Folder":
        return _Folder(f"{self.location}/{name}", self.repository, f"{self.prefix}{printable(name)}/")

    def as_repository(self) -> "_Folder":
        """The folder, if a repository begins with it."""
        return _Folder(self.location, f"{self.repository}/{self.prefix.rstrip('/')}", "")


@dataclass(frozen=True, slots=True)
class _File:
    folder: _Folder
    name: str  # empty for a folder that cannot be listed

    @property
    def location(self) -> str:
        return f"{self.folder.location}/{self.name}"


@dataclass(frozen=True)
class FolderSource:
    """A folder of source files; a `.git` in a folder below makes that one a repository of its own.

    Bare repositories below are read from their object stores, archives if `limits.depth` allows.

    Attributes:
        name: also that of the repository whose files belong to no other.
        excluded: names of folders that are not entered.
    """

    name: str
    path: Path
    excluded: frozenset[str]
    config: SourceConfig

    def fingerprint(self) -> str:
        """SHA-256 over the paths, sizes and times of all files."""
        digest = hashlib.sha256()
        for found in self._walk():
            if isinstance(found, _File):
                line = f"{found.location}\0{_state(found)}\n"
            else:
                line = f"{found.name}\0{found.fingerprint()}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """Files in the order of their paths; the names of one folder and its parents are held at a time."""
        for is_file, found in groupby(self._walk(), key=lambda each: isinstance(each, _File)):
            if is_file:
                yield from self._file_units((file for file in found if isinstance(file, _File)), unit_bytes)
            else:
                for source in found:
                    assert not isinstance(source, _File)
                    yield from (replace(unit, source=self.name) for unit in source.units(unit_bytes))

    def _file_units(self, files: Iterable[_File], unit_bytes: int) -> Iterator[Unit]:
        sized = ((file, _num_bytes(file, self.config.max_file_bytes)) for file in files)
        for batch, num_bytes in batches(sized, unit_bytes):
            groups = [
                [folder.location, folder.repository, folder.prefix, [file.name for file in group]]
                for folder, group in groupby(batch, key=lambda file: file.folder)
            ]
            yield Unit(self.name, FOLDER, num_bytes, len(batch), {"groups": groups})

    def _walk(self) -> Iterator[_File | Source]:
        pending = [self._listing(_Folder(str(self.path), self.name, ""))]
        while pending:  # no recursion: folders may be nested deeper than calls
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
            elif isinstance(found, _Folder):
                pending.append(self._listing(found))
            else:
                yield found

    def _listing(self, folder: _Folder) -> Iterator[_Folder | _File | Source]:
        try:
            with os.scandir(folder.location) as entries:
                names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
        except OSError:
            yield _File(folder, "")
            return
        if folder.prefix and is_bare_repository(names):
            repository = folder.as_repository().repository.removesuffix(".git")
            yield GitSource(self.name, repository, Path(folder.location), None, self.config.limits.members)
            return
        if folder.prefix and (".git" in names or ".git/" in names):
            folder = folder.as_repository()
        for name in sorted(names):  # a folder's slash puts what is in it where its path belongs
            if not name.endswith("/"):
                yield self._file(folder, name)
            elif name[:-1] not in self.excluded:
                yield folder.below(name[:-1])

    def _file(self, folder: _Folder, name: str) -> _File | Source:
        file = _File(folder, name)
        if self.config.limits.depth and is_archive(name) and stat.S_ISREG(_mode(file)):
            path = f"{folder.prefix}{printable(name)}"
            return ArchiveSource(f"{folder.repository}/{path}", Path(file.location), self.config, depth=1)
        return file


def read_folder(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """Read the files of a unit, each as it is by now."""
    selection = Selection(config)
    for location, repository, prefix, names in unit.payload["groups"]:
        for name in names:
            yield _read(_File(_Folder(location, repository, prefix), name), selection)


def _read(file: _File, selection: Selection) -> Entry:
    repository, path = file.folder.repository, file.folder.prefix + printable(file.name)
    num_bytes, data = 0, None
    try:
        status = os.lstat(file.location)
        num_bytes = status.st_size
        verdict = _not_a_file(file, status.st_mode) or selection.rule_out(path, num_bytes)
        if verdict is None:
            with open_regular(file.location) as stream:
                data = stream.read(selection.max_file_bytes + 1)  # it may have grown
            num_bytes = len(data)
            verdict = selection.rule_out(path, num_bytes) or lfs_pointer(data)
    except OSError as error:
        verdict = Verdict("quarantined", "unreadable", reason(error))
    return Entry(repository, path or "./", num_bytes, None if verdict else data, verdict)


def _not_a_file(file: _File, mode: int) -> Verdict | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISLNK(mode):
        return Verdict("dropped", "symbolic_link")
    if stat.S_ISDIR(mode):
        os.scandir(file.location).close()  # says why it could not be listed
        return Verdict("quarantined", "unreadable", "a folder")
    return Verdict("dropped", "not_a_regular_file")


def _num_bytes(file: _File, most: int) -> int:
    """What reading will take: files that are too large are left alone."""
    try:
        status = os.lstat(file.location)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size <= most else 0


def _mode(file: _File) -> int:
    try:
        return os.lstat(file.location).st_mode
    except OSError:
        return 0


def _state(file: _File) -> str:
    try:
        status = os.lstat(file.location)
    except OSError as error:
        return reason(error)
    return f"{status.st_mode}\0{status.st_size}\0{status.st_mtime_ns}"
