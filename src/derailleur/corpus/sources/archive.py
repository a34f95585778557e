"""Archives as sources: tar and zip in all their dresses, read without being unpacked to disk."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.batching import batches
from derailleur.corpus.sources.compression import COMPRESSIONS, RefusedError, Unpacked
from derailleur.corpus.sources.config import SourceConfig
from derailleur.corpus.sources.entry import Entry, Unit, refused
from derailleur.corpus.sources.files import file_fingerprint, num_bytes, open_regular, reason
from derailleur.corpus.sources.members import Member, member_path, survey
from derailleur.corpus.sources.selection import Selection, lfs_pointer, printable
from derailleur.corpus.sources.tar import tar_members
from derailleur.corpus.sources.zip import zip_members

ARCHIVE = "archive"

_ZIPS = (".zip", ".whl", ".jar", ".egg")
_TARS: Mapping[str, str | None] = {
    ".tar": None,
    ".tgz": "gzip",
    ".crate": "gzip",
    ".tbz2": "bz2",
    ".txz": "xz",
    ".tzst": "zstd",
} | {f".tar{suffix}": compression for suffix, compression in COMPRESSIONS.items()}

_SUFFIXES = sorted({*_ZIPS, *_TARS}, key=len, reverse=True)

_KEEP_BYTES = 128 << 20
"""Unpacking takes longer than all else that is done to a file of an .xz or .bz2."""

_WHEEL_TAGS = re.compile(r"(?<=\d)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+$")


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return _suffix(name) is not None


def archive_name(name: str) -> str:
    """What an archive's content is called: `requests-2.32.0` for its sdist and its wheel alike."""
    suffix = _suffix(name) or ""
    stem = printable(name[: len(name) - len(suffix)])
    return _WHEEL_TAGS.sub("", stem) if suffix == ".whl" else stem.removesuffix(".orig")


@dataclass(frozen=True)
class ArchiveSource:
    """The files of one archive; if all lie in one folder, their paths begin inside it.

    Attributes:
        name: also the repository's.
        depth: in how many other archives or folders this one was found.
    """

    name: str
    path: Path
    config: SourceConfig
    depth: int = 0

    def fingerprint(self) -> str:
        """SHA-256 over the archive's path, size and time."""
        return file_fingerprint(self.path)

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """Runs of members of a zip archive; a tar archive has no directory and is one unit."""
        where = {"path": str(self.path), "repository": self.name, "depth": self.depth}
        packed_bytes = num_bytes(self.path)
        if _suffix(self.path.name) not in _ZIPS:
            yield Unit(self.name, ARCHIVE, packed_bytes, None, where | {"first": 0, "last": None})
            return
        try:
            with open_regular(self.path) as stream:
                members = list(_Archive(stream, self.path.name, self.config).members())
        except (RefusedError, OSError) as error:
            place = _Place(self.path.name, self.name, "", self.depth)
            yield refused(self.name, _refusal(place, _verdict(error), packed_bytes))
            return
        most = self.config.max_file_bytes
        sized = ((None, member.num_bytes if member.num_bytes <= most else 0) for member in members)
        first = 0
        may_nest = self.depth < self.config.limits.depth
        for batch, batch_bytes in batches(sized, unit_bytes):
            last = first + len(batch)
            num_files = None if may_nest else len(batch)
            yield Unit(self.name, ARCHIVE, batch_bytes, num_files, where | {"first": first, "last": last})
            first = last


def read_archive(unit: Unit, config: SourceConfig) -> Iterator[Entry]:
    """Read an archive, or a run of its members; one that is damaged or dangerous gives a single entry."""
    where = unit.payload
    path = Path(where["path"])
    place = _Place(path.name, where["repository"], "", where["depth"])
    try:
        with open_regular(path) as stream:
            yield from _Reader(config).entries(stream, place, where["first"], where["last"])
    except OSError as error:
        yield _refusal(place, _verdict(error), unit.num_bytes)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an archive was found.

    Attributes:
        name: its file's.
        repository: what its files belong to.
        inside: the archives that it lies in, each followed by `!`.
        depth: how many folders and archives were opened to find it.
    """

    name: str
    repository: str
    inside: str
    depth: int

    @property
    def origin(self) -> str:
        return f"{self.inside}{printable(self.name)}"


class _Reader:
    """Reads archives, and archives in them as deep as the configuration allows."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._selection = Selection(config)

    def entries(
        self, stream: IO[bytes], place: _Place, first: int = 0, last: int | None = None
    ) -> Iterator[Entry]:
        """The files among the members `first` to `last`; before any is given, all are looked at."""
        limits = self._config.limits
        archive = _Archive(stream, place.name, self._config)
        damage = None
        try:
            seen = survey(archive.members(), limits, salvage=self._config.salvage)
            damage = seen.damage
            last = seen.num_members if last is None else last
            paths: set[str] = set()
            for index, member in enumerate(islice(archive.members(), last)):
                path, verdict = member_path(member.name, limits)
                path = path.removeprefix(seen.top) if verdict is None else path
                if path in paths:
                    verdict = verdict or Verdict("dropped", "duplicate_member")
                paths.add(path)
                if index >= first:
                    yield from self._entry(member, path, verdict or member.verdict, place)
        except RefusedError as error:
            damage = damage or error.verdict  # the last member is there, but not all of it
        if damage:
            yield _refusal(place, damage, archive.packed_bytes)

    def _entry(self, member: Member, path: str, verdict: Verdict | None, place: _Place) -> Iterator[Entry]:
        origin = f"{place.origin}!{printable(member.name)}"
        if verdict is None and place.depth < self._config.limits.depth and is_archive(path):
            inner = _Place(path, f"{place.repository}/{path}", f"{place.origin}!", place.depth + 1)
            yield from self._nested(member, inner)
            return
        verdict = verdict or self._selection.rule_out(path, member.num_bytes)
        data = member.read(self._config.max_file_bytes) if verdict is None else None
        if isinstance(data, Verdict):
            verdict, data = data, None
        elif data is not None and (verdict := lfs_pointer(data)):
            data = None
        yield Entry(place.repository, path, member.num_bytes, data, verdict, origin=origin)

    def _nested(self, member: Member, place: _Place) -> Iterator[Entry]:
        most = self._config.limits.nested_bytes
        data = member.read(most) if member.num_bytes <= most else _too_large(member.num_bytes)
        if isinstance(data, Verdict):
            yield _refusal(place, data, member.num_bytes)
        else:
            yield from self.entries(io.BytesIO(data), place)


class _Archive:
    """An archive whose members are gone through twice: to see what it is, and to read them."""

    def __init__(self, stream: IO[bytes], name: str, config: SourceConfig) -> None:
        suffix = _suffix(name)
        assert suffix is not None, name
        self._stream = stream
        self._suffix = suffix
        self._config = config
        self._kept: bytearray | None = None
        self.packed_bytes = stream.seek(0, io.SEEK_END)

    def members(self) -> Iterator[Member]:
        """The members from the first on; a tar archive is kept if it is small, not to be unpacked again."""
        limits = self._config.limits
        if self._suffix in _ZIPS:
            self._stream.seek(0)
            yield from zip_members(self._stream, limits, packed_bytes=self.packed_bytes)
        elif self._kept is not None:
            yield from tar_members(Unpacked(io.BytesIO(self._kept), None, most_bytes=len(self._kept)))
        else:
            self._stream.seek(0)
            stream = Unpacked(
                self._stream,
                _TARS[self._suffix],
                most_bytes=limits.unpacked_bytes(self.packed_bytes),
                keep_bytes=_KEEP_BYTES,
            )
            try:
                yield from tar_members(stream)
            finally:
                self._kept = stream.kept


def _refusal(place: _Place, verdict: Verdict, num_bytes: int) -> Entry:
    return Entry(place.repository, printable(place.name), num_bytes, None, verdict, origin=place.origin)


def _verdict(error: RefusedError | OSError) -> Verdict:
    if isinstance(error, RefusedError):
        return error.verdict
    return Verdict("quarantined", "unreadable", reason(error))


def _too_large(num_bytes: int) -> Verdict:
    return Verdict("dropped", "too_large", f"{num_bytes} bytes")


def _suffix(name: str) -> str | None:
    """The longest suffix that tells an archive."""
    lower = name.lower()
    return next((suffix for suffix in _SUFFIXES if lower.endswith(suffix)), None)
