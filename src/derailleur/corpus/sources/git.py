"""Git repositories, read from their object stores by libgit2: no hook runs, nothing is checked out.

Of the history only the id of the commit is told; authors, dates and messages are not looked at.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.batching import batches
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import Entry, Unit, refused
from derailleur.corpus.sources.selection import Selection, lfs_pointer, printable
from derailleur.errors import DataError

if TYPE_CHECKING:
    import pygit2

GIT = "git"

_File: TypeAlias = tuple[str, int, str]
"""Path, mode and id of an object, as a tree tells them."""

_TREE, _LINK, _SUBMODULE = 0o040000, 0o120000, 0o160000

_HOSTED = re.compile(
    r"(?:[a-z+]+://(?:[^/@]*@)?|[^/:@]+@)[^/:@]+(?::\d+)?[/:]+(?:[^@]*/)?([^/@]+/[^/@]+?)(?:\.git)?/*",
    re.IGNORECASE,
)
"""A remote on another machine: a web address or `user@host:path`; it ends in owner and repository."""

_CACHE_BYTES = 64 << 20


@dataclass(frozen=True)
class GitSource:
    """The files of one commit.

    Attributes:
        repository: its name, unless its remote tells owner and name.
        path: a bare repository, or a folder with a `.git`.
        revision: as `git rev-parse` takes it; None is HEAD.
        max_files: a few trees that hold each other can stand for any number of files.
    """

    name: str
    repository: str
    path: Path
    revision: str | None
    max_files: int

    def check_revision(self) -> None:
        """Raise a DataError if the repository has no such commit."""
        try:
            _commit(_open(self.path), self.revision)
        except _git_errors() as error:
            raise DataError(f"{self.path}: no revision '{self.revision}': {_reason(error)}") from None

    def fingerprint(self) -> str:
        """SHA-256 of the commit's id."""
        try:
            commit = str(_commit(_open(self.path), self.revision).id)
        except _git_errors() as error:
            commit = _reason(error)
        return hashlib.sha256(f"{self.path}\0{commit}".encode(errors="surrogateescape")).hexdigest()

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """The commit's files in the order of their paths; the object store tells their sizes."""
        try:
            git = _open(self.path)
            commit = _commit(git, self.revision)
            repository = _origin(git) or self.repository
        except _git_errors() as error:
            verdict = Verdict("quarantined", "corrupt_repository", _reason(error))
            yield refused(
                self.name, Entry(self.repository, "./", 0, None, verdict, origin=printable(str(self.path)))
            )
            return
        where = {"path": str(self.path), "repository": repository, "revision": str(commit.id)}
        if sum(1 for _ in islice(_walk(git, commit.tree_id), self.max_files + 1)) > self.max_files:
            verdict = Verdict("quarantined", "bomb", f"over {self.max_files} files")
            yield refused(self.name, Entry(repository, "./", 0, None, verdict, revision=str(commit.id)))
            return
        sized = ((file, _num_bytes(git, file)) for file in _walk(git, commit.tree_id))
        for files, num_bytes in batches(sized, unit_bytes):
            yield Unit(self.name, GIT, num_bytes, len(files), where | {"files": files})


def is_bare_repository(names: Collection[str]) -> bool:
    """Whether a folder with these names in it, folders with a final slash, is a repository's own."""
    return "HEAD" in names and "objects/" in names and "refs/" in names


def read_git(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """Read the blobs of a unit."""
    selection = Selection(config)
    where = unit.payload
    try:
        git = _open(Path(where["path"]))
    except _git_errors() as error:  # it was there when it was listed
        gone = Verdict("quarantined", "unreadable", _reason(error))
        for path, _, object_id in where["files"]:
            yield Entry(
                where["repository"], path, 0, None, gone, origin=object_id, revision=where["revision"]
            )
        return
    for path, mode, object_id in where["files"]:
        verdict, data = _not_a_file(mode, object_id), None
        num_bytes = 0
        if verdict is None:
            try:
                num_bytes = git.odb.read_header(object_id)[1]  # what unpacks to more is never unpacked
                verdict = selection.rule_out(path, num_bytes)
                data = git.odb.read(object_id)[1] if verdict is None else None
                verdict = verdict or lfs_pointer(data or b"")
            except _git_errors() as error:
                verdict = Verdict("quarantined", "unreadable", _reason(error))
        yield Entry(
            where["repository"],
            path,
            num_bytes,
            None if verdict else data,
            verdict,
            origin=object_id,
            revision=where["revision"],
        )


def _not_a_file(mode: int, object_id: str) -> Verdict | None:
    if mode == _TREE:
        return Verdict("quarantined", "unreadable", f"tree {object_id} is missing or damaged")
    if mode == _LINK:
        return Verdict("dropped", "symbolic_link")
    return Verdict("dropped", "submodule", object_id) if mode == _SUBMODULE else None


def _walk(git: "pygit2.Repository", tree_id: "pygit2.Oid") -> Iterator[_File]:
    """All that is no folder, in the order of paths; a folder that does not read is given itself."""
    import pygit2

    pending: list[_File] = [("", _TREE, str(tree_id))]
    while pending:
        path, mode, object_id = pending.pop()
        if mode != _TREE:
            yield path, mode, object_id
            continue
        prefix = f"{path}/" if path else ""
        try:
            entries = [
                (prefix + printable(e.raw_name or b""), int(e.filemode), str(e.id))
                for e in git[object_id].peel(pygit2.Tree)
            ]
        except _git_errors():
            yield prefix or "./", _TREE, object_id
        else:
            pending += reversed(entries)


def _num_bytes(git: "pygit2.Repository", file: _File) -> int:
    _, mode, object_id = file
    try:
        return git.odb.read_header(object_id)[1] if _not_a_file(mode, object_id) is None else 0
    except _git_errors():
        return 0


def _commit(git: "pygit2.Repository", revision: str | None) -> "pygit2.Commit":
    import pygit2

    return git.revparse_single(revision or "HEAD").peel(pygit2.Commit)


def _origin(git: "pygit2.Repository") -> str | None:
    """ "owner/name" by the repository's own configuration."""
    try:
        match = _HOSTED.fullmatch(git.remotes["origin"].url or "")
    except _git_errors():
        return None
    return match[1] if match else None


def _open(path: Path) -> "pygit2.Repository":
    import pygit2
    from pygit2.enums import RepositoryOpenFlag

    _configure()
    return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)


@cache
def _configure() -> None:
    """Keep libgit2 to the repository: it shall not look into anybody's configuration."""
    import pygit2
    from pygit2.enums import ConfigLevel

    for level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.owner_validation = False  # it protects those who run hooks and filters
    pygit2.settings.cache_max_size(_CACHE_BYTES)


@cache
def _git_errors() -> tuple[type[Exception], ...]:
    import pygit2

    # A damaged object may claim any size: to libgit2 that is a lack of memory.
    return (pygit2.GitError, KeyError, ValueError, OSError, MemoryError)


def _reason(error: Exception) -> str:
    return f"not found: {error.args[0]}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
