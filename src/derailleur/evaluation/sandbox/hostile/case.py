"""One hostile program and what must be seen of it."""

from dataclasses import dataclass
from enum import StrEnum

from derailleur.evaluation.sandbox.job import End
from derailleur.evaluation.sandbox.limits import Limits

_MIB = 1 << 20

SMALL = Limits(
    cpu_seconds=1,
    wall_seconds=3.0,
    memory_bytes=256 * _MIB,
    processes=32,
    disk_bytes=16 * _MIB,
    output_bytes=1 << 16,
    report_bytes=1 << 16,
)
ROOMY = SMALL.model_copy(update={"cpu_seconds": 5, "wall_seconds": 15.0, "memory_bytes": 512 * _MIB})


class Language(StrEnum):
    """What runs a hostile program."""

    PYTHON = "python"
    SHELL = "sh"
    JAVASCRIPT = "node"
    JAVA = "java"


@dataclass(frozen=True, slots=True)
class Case:
    """A program that tries to get out, to get in the way, or to stay.

    A program prints a line that starts with `escaped` for whatever it should not have been able to do. It
    finds what it needs to know of the host in `bait.json`; those in Python find it as `bait`.

    Attributes:
        tries: what it does, in a few words.
        seen: a regular expression that its output must match, so that a program that fails for another reason
            than the one meant does not pass for contained.
        ends: how it may end.
        unclaimed: back ends that do not claim to contain it, as their documentation says.
        harmless: whether it does no harm where nothing contains it.
        forked: whether the warm guest runs it too, as it runs candidates.
    """

    name: str
    tries: str
    program: str
    seen: str = ""
    ends: tuple[End, ...] = (End.EXITED,)
    language: Language = Language.PYTHON
    limits: Limits = SMALL
    stdin: bytes = b""
    unclaimed: tuple[str, ...] = ()
    harmless: bool = False
    forked: bool = False
