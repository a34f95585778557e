"""The processes below a process, from /proc. Standard library only."""

import contextlib
import glob
from collections.abc import Iterator


def descendants(pid: int) -> Iterator[int]:
    """The children of a process and theirs, ended ones that nobody waited for included.

    Processes that start or end meanwhile may be missed: who wants all of them asks until nothing is new.
    """
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        children: list[str] = []
        with contextlib.suppress(OSError), open(path) as stream:  # ended since
            children = stream.read().split()
        for child in map(int, children):
            yield child
            yield from descendants(child)


def has_ended(pid: int) -> bool:
    """Whether a process is gone or waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
