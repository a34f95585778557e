"""A control group for each worker, where the machine lets us make one (cgroups(7), versions 1 and 2).

It limits the memory and the number of all processes of a worker together; resource limits know one process
alone. Launcher and boxes share it, since moving a process costs more than a box does.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from derailleur.evaluation.sandbox.limits import Limits

_NAME = "derailleur-"
_LAUNCHER_BYTES = 64 << 20
_LAUNCHER_PROCESSES = 8
_REMOVAL_SECONDS = 2.0


@dataclass
class Group:
    """A worker's control group: one folder a hierarchy.

    Attributes:
        memory: files that take the most memory, in bytes, in the order in which they are written.
        processes: files that take the most processes.
        events: the file that counts `oom_kill`.
    """

    folders: list[Path] = field(default_factory=list)
    memory: list[Path] = field(default_factory=list)
    processes: list[Path] = field(default_factory=list)
    events: Path | None = None
    _live: list[Limits] = field(default_factory=list)
    _written: tuple[int, int] = (0, 0)

    @classmethod
    def of_worker(cls, launcher: int) -> Self | None:
        """Make a group and move a launcher, which has no children yet, into it.

        Returns:
            None where this machine does not let us limit memory.
        """
        group = cls()
        try:
            group._make(f"{_NAME}{launcher}")
            for folder in group.folders:
                (folder / "cgroup.procs").write_text(str(launcher))
        except OSError:
            group.memory.clear()
        if group.memory:
            return group
        group.remove()
        return None

    def share(self, limits: Limits) -> "Share":
        """Make room for one more program, which ends with `Share.give_back`."""
        self._live.append(limits)
        memory_bytes = _LAUNCHER_BYTES + sum(each.memory_bytes for each in self._live)
        processes = _LAUNCHER_PROCESSES + sum(each.processes for each in self._live)
        if self._written != (memory_bytes, processes):
            self._written = (memory_bytes, processes)
            for path in self.memory:
                _write(path, memory_bytes)
            for path in self.processes:
                _write(path, processes)
        return Share(self, limits, self.kills())

    def kills(self) -> int:
        """How many processes were killed for want of memory so far; 0 once the group is removed."""
        try:
            events = self.events.read_text() if self.events else ""
        except FileNotFoundError:
            return 0
        found = re.search(r"^oom_kill (\d+)$", events, re.MULTILINE)
        return int(found[1]) if found else 0

    def remove(self) -> None:
        """Remove the group, whose processes have ended; the kernel may take a moment to see it."""
        until = time.monotonic() + _REMOVAL_SECONDS
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < until:
                time.sleep(0.01)

    def _make(self, name: str) -> None:
        for controllers, own, top in _hierarchies():
            if "memory" in controllers and (folder := _made(own / name, "memory.limit_in_bytes")):
                self.folders.append(folder)
                limit, with_swap = folder / "memory.limit_in_bytes", folder / "memory.memsw.limit_in_bytes"
                # Memory may never be above memory and swap: whichever way both move, one order is right.
                self.memory += [with_swap, limit, with_swap] if with_swap.exists() else [limit]
                self.events = folder / "memory.oom_control"
            elif "pids" in controllers and (folder := _made(own / name, "pids.max")):
                self.folders.append(folder)
                self.processes.append(folder / "pids.max")
            elif not controllers and not self.memory:
                self._make_unified(name, own, top)

    def _make_unified(self, name: str, own: Path, top: Path) -> None:
        """Version 2: beside our own group or further up; below one that has processes none can be limited."""
        for parent in (own, *own.parents):
            if folder := _made(parent / name, "memory.max"):
                self.folders.append(folder)
                self.memory.append(folder / "memory.max")
                _write(folder / "memory.swap.max", 0)
                self.events = folder / "memory.events"
                self.processes += [path for path in (folder / "pids.max",) if path.exists()]
                break
            if parent == top:
                break


@dataclass(frozen=True)
class Share:
    """The room of one program in a worker's group."""

    group: Group
    limits: Limits
    kills_before: int

    def give_back(self) -> bool:
        """Give the room back.

        Returns:
            Whether a process of the group was killed for want of memory meanwhile.
        """
        self.group._live.remove(self.limits)
        return self.group.kills() > self.kills_before


def _hierarchies() -> Iterator[tuple[set[str], Path, Path]]:
    """The controllers of each hierarchy, none for version 2, our own group's folder in it, and its top."""
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        controllers = {name for name in names.split(",") if name}
        for mount, source in mounts:
            _, _, _, root, top, *_ = mount.split(" ")
            kind, _, options = source.split(" ", 2)
            if (kind == "cgroup" and controllers and controllers <= set(options.split(","))) or (
                kind == "cgroup2" and not controllers
            ):
                yield controllers, Path(top) / path.removeprefix(root).lstrip("/"), Path(top)


def _made(folder: Path, needed: str) -> Path | None:
    """Make a group's folder, if it then has what is needed; remove what dead workers left beside it."""
    try:
        for left in folder.parent.glob(f"{_NAME}*"):
            if not Path("/proc", left.name.removeprefix(_NAME)).exists():
                _removed(left)
        folder.mkdir()
    except OSError:
        return None
    if (folder / needed).exists():
        return folder
    _removed(folder)
    return None


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def _write(path: Path, value: int) -> None:
    """Set a limit; one below what is in use at the moment is refused, and the former one stays."""
    with contextlib.suppress(OSError):
        path.write_text(str(value))
