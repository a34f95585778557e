"""What happens in a new box between the clone and the program.

Standard library only.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from derailleur.evaluation.sandbox import confinement, linux, root

FORKED = ["python", "-m", "guest"]
"""The command that runs the warm guest in the forked launcher itself."""

STARTED = b"started"
FAILED = b"failed "
_FOLDER = "/tmp/box"
_FILES_AT_MOST = 8192


@dataclass(frozen=True, slots=True)
class Request:
    """What the supervisor asks of the launcher; descriptors as plain numbers.

    Attributes:
        life: a socket that is told of the start, or of what failed.
        files: the job's files as `pack_files` wrote them, or None.
        standard: what the program gets as 0, 1, 2, ...
    """

    command: list[str]
    limits: confinement.Allowance
    life: int
    files: int | None
    standard: list[int]


def pack_files(files: dict[str, bytes]) -> bytes:
    """All files as one line of JSON, their paths and sizes, and then their contents."""
    index = json.dumps([[path, len(content)] for path, content in files.items()])
    return b"".join([index.encode(), b"\n", *files.values()])


def become_program(
    request: Request,
    *,
    outer_user: int,
    outer_group: int,
    filter_program: bytes,
    guest: Callable[[], None] | None,
) -> NoReturn:
    """Turn this fresh clone into the program.

    Until then an error is told on the life socket as the sandbox's own. The program never has that socket.

    Args:
        outer_user, outer_group: who the launcher is, in its own user namespace.
        filter_program: the seccomp filter.
        guest: the warm guest's `main`.
    """
    standard = len(request.standard)
    life, files = standard, standard + 1
    kept = [request.life] if request.files is None else [request.life, request.files]
    try:
        confinement.arrange_descriptors([*request.standard, *kept], inherited=standard)
        _map_user(outer_user, outer_group)
        _volunteer_for_oom()
        _mount_own(request.limits["disk_bytes"])
        os.mkdir(_FOLDER)
        os.chdir(_FOLDER)
        if request.files is not None:
            write_files(files)
        os.setsid()
        linux.die_with_parent()
        confinement.limit_resources(request.limits)
        confinement.give_up_privileges(filter_program)
        os.write(life, STARTED)
    except OSError as error:
        fail(life, f"setting up the box: {linux.told(error)}")
    if guest is not None and request.command == FORKED:
        os.close(life)
        run_guest(guest)
    execute(request.command, life)


def _map_user(outer_user: int, outer_group: int) -> None:
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/uid_map", b"%d %d 1" % (root.USER, outer_user))
    _write("/proc/self/gid_map", b"%d %d 1" % (root.USER, outer_group))


def _write(path: str, content: bytes) -> None:
    """Without the layers of `open`: each page that a fork touches first costs as much as a system call."""
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, content)
    os.close(descriptor)


def _mount_own(disk_bytes: int) -> None:
    flags = linux.MS_NOSUID | linux.MS_NODEV
    for folder in ("/tmp", "/dev/shm"):
        linux.mount("tmpfs", folder, "tmpfs", flags, f"size={disk_bytes},nr_inodes={_FILES_AT_MOST},mode=755")
    flags |= linux.MS_NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags)
    except PermissionError:  # see `root.enter`; without any, most programs still work
        linux.mount("tmpfs", "/proc", "tmpfs", flags | linux.MS_RDONLY, "size=4k")


def _volunteer_for_oom() -> None:
    """Be killed before the launcher, and before anything else of the machine, where memory runs out."""
    _write("/proc/self/oom_score_adj", b"1000")


def write_files(packed: int) -> None:
    with open(packed, "rb") as stream:
        for path, size in json.loads(stream.readline()):
            if folder := os.path.dirname(path):
                os.makedirs(folder, exist_ok=True)
            with open(path, "wb") as file:
                file.write(stream.read(size))


def execute(command: list[str], life: int) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and a child would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        fail(life, f"{command[0]}: not found in the sandbox, whose path is {root.PATH}")
    except OSError as error:
        fail(life, f"{command[0]}: cannot be executed: {error.strerror}")


def run_guest(guest: Callable[[], None]) -> NoReturn:
    """Run the guest as a main program; a fork leaves without the launcher's own clean-up."""
    code = 0
    try:
        guest()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            code = code or 1
    os._exit(code & 0xFF)


def fail(life: int, trouble: str) -> NoReturn:
    os.write(life, FAILED + trouble.encode(errors="replace")[:4000])
    os._exit(1)
