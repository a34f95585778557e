"""What sources are made of: entries, and the units of work that read them."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from derailleur.corpus.ledger import Verdict


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a source as it was found.

    Attributes:
        repository: "owner/name" where the source says so, else a name made from the source's own.
        path: inside the repository, with `/`; undecodable bytes as `\\xNN`.
        num_bytes: raw size.
        data: raw bytes; None where there is a verdict.
        verdict: set if the file is ruled out before it is decoded.
        origin: where exactly: member of an archive, row of a table, blob id.
        revision: commit id of a git source.
        stars, licences, language: only where the source's own row says so.
    """

    repository: str
    path: str
    num_bytes: int
    data: bytes | None
    verdict: Verdict | None
    origin: str = ""
    revision: str = ""
    stars: int | None = None
    licences: tuple[str, ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        assert (self.data is None) != (self.verdict is None), f"{self.path}: either data or a verdict"


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a source that one worker reads; all that it takes stands in it.

    Attributes:
        source: name of the source.
        kind: which reader.
        num_bytes: raw size of what is read, as far as it is known without reading.
        num_files: None where only reading tells.
        payload: the reader's own, plain JSON.
    """

    source: str
    kind: str
    num_bytes: int
    num_files: int | None
    payload: dict[str, Any]

    def to_json(self) -> str:
        """One line of ASCII; names of files that are no text survive as surrogates."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "Unit":
        """The inverse of `to_json`."""
        return cls(**json.loads(line))


class Source(Protocol):
    """Something that entries come from."""

    @property
    def name(self) -> str:
        """Unique among the sources of a run."""
        ...

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 that changes with what the source holds."""
        ...

    def units(self, unit_bytes: int) -> Iterator[Unit]:
        """Cut the source into units of about `unit_bytes`, in order, as a stream."""
        ...


REFUSED = "refused"


def refused(source: str, entry: Entry) -> Unit:
    """A unit that was ruled out while the source was listed."""
    assert entry.verdict is not None
    verdict = dataclasses.asdict(entry.verdict)
    where = {"repository": entry.repository, "path": entry.path}
    payload = where | {"origin": entry.origin, "revision": entry.revision, "verdict": verdict}
    return Unit(source, REFUSED, entry.num_bytes, 1, payload)


def read_refused(unit: Unit) -> Iterator[Entry]:
    """The entry that `refused` was given."""
    where = unit.payload
    yield Entry(
        where["repository"],
        where["path"],
        unit.num_bytes,
        None,
        Verdict(**where["verdict"]),
        origin=where["origin"],
        revision=where["revision"],
    )
