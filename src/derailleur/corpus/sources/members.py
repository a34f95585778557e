"""What all kinds of archives have in common: members, their paths, and what is refused."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.compression import RefusedError
from derailleur.corpus.sources.config import ArchiveLimits
from derailleur.corpus.sources.selection import printable

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; folders are left out.

    Attributes:
        name: as the archive spells it.
        num_bytes: size that the archive states.
        verdict: set if it is no ordinary file.
        read: gives so many of its bytes, or why it cannot; to be called before the next member is asked for.
    """

    name: bytes
    num_bytes: int
    verdict: Verdict | None
    read: Callable[[int], bytes | Verdict]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of an archive after its members have been looked through once.

    Attributes:
        top: the one folder that all files lie in, with a slash; else empty.
        num_members: how many can be read.
        damage: why no more can.
    """

    top: str
    num_members: int
    damage: Verdict | None


def survey(members: Iterable[Member], limits: ArchiveLimits, *, salvage: bool) -> Survey:
    """Look through an archive.

    Args:
        salvage: put up with damage, but never with a bomb.

    Raises:
        RefusedError: if nothing of it shall be used.
    """
    tops: set[str] = set()
    count = 0
    try:
        for member in members:
            if count == limits.members:
                raise RefusedError("bomb", f"over {limits.members} members")
            count += 1
            path, verdict = member_path(member.name, limits)
            if verdict is None and len(tops) < 2:
                top, slash, _ = path.partition("/")
                tops.add(top + slash if slash else "")
    except RefusedError as error:
        if error.verdict.reason == "bomb" or not salvage:
            raise
        return Survey(_only(tops), count, error.verdict)
    return Survey(_only(tops), count, None)


def member_path(name: bytes, limits: ArchiveLimits) -> tuple[str, Verdict | None]:
    """A member's path without `./` and double slashes, and what is wrong with it."""
    text = printable(name[: limits.path_bytes])
    if len(name) > limits.path_bytes:
        return text, Verdict("quarantined", "long_path", f"{len(name)} bytes")
    if text.startswith(("/", "\\")) or _DRIVE.match(text) or ".." in re.split(r"[/\\]", text):
        return text, Verdict("quarantined", "unsafe_path")
    path = "/".join(part for part in text.split("/") if part not in ("", "."))
    return path or text, None if path else Verdict("quarantined", "unsafe_path")


def _only(tops: set[str]) -> str:
    return next(iter(tops)) if len(tops) == 1 else ""
