"""The filter, run by the kernel in forked children, and its numbers against the kernel's own headers."""

import ctypes
import errno
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import seccomp

_HEADERS = {
    1: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    2: Path("/usr/include/asm-generic/unistd.h"),
}
_ALL = ",".join((seccomp._REFUSED, seccomp._REFUSED_ON_THE_HOST, seccomp._CHECKED))
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

pytestmark = pytest.mark.skipif(
    os.uname().machine not in seccomp._MACHINES, reason=f"no filter for {os.uname().machine}"
)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _install(program: bytes) -> None:
    structure = _Program(len(program) // 8, program)
    assert _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert _LIBC.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(structure), 0, 0) == 0


def _filtered(action: Callable[[], int], program: bytes) -> int:
    """What `action` returns in a child under the filter; minus the signal that ended the child."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            _install(program)
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _call(number: int, *arguments: int) -> Callable[[], int]:
    """A raw system call; 0 or the error number."""

    def action() -> int:
        ctypes.set_errno(0)
        result = _LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        return ctypes.get_errno() if result < 0 else 0

    return action


def _number(name: str) -> int:
    machine = seccomp._MACHINES[os.uname().machine]
    return machine.numbers(_ALL)[name]


@pytest.mark.parametrize("column", [1, 2], ids=["x86_64", "aarch64"])
def test_the_numbers_are_the_kernels(column: int) -> None:
    if not _HEADERS[column].exists():
        pytest.skip(f"{_HEADERS[column]} is missing (package linux-libc-dev)")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", _HEADERS[column].read_text()))
    table = seccomp._Machine(0, column).numbers(_ALL)
    assert len(table) > 80
    newer = {"statmount", "listmount", "memfd_secret", "process_mrelease", "quotactl_fd", "fchmodat2"}
    assert {name: defined[name] for name in table if name in defined} == {
        name: str(number) for name, number in table.items() if name in defined
    }
    assert {name for name in table if name not in defined} <= newer


@pytest.mark.parametrize("name", sorted(seccomp._MACHINES["x86_64"].numbers(seccomp._REFUSED)))
def test_refused_calls_fail_without_being_made(name: str) -> None:
    if name not in seccomp._MACHINES[os.uname().machine].numbers(seccomp._REFUSED):
        pytest.skip("no such call on this machine")
    # Arguments with which none of them would do harm if the filter let it through.
    assert _filtered(_call(_number(name), -1, -1, -1, -1, -1), seccomp.filter_program()) == errno.EPERM


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone3", (0, 0), errno.ENOSYS),
        ("clone", (0x10000000 | signal.SIGCHLD, 0, 0, 0, 0), errno.EPERM),
        ("clone", (0x40000000, 0, 0, 0, 0), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x21, -1, 0), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x122, -1, 0), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x22, -1, 0), 0),
        ("prlimit64", (0, 7, 0, 0), 0),
        ("prlimit64", (1, 7, 0, 0), errno.EPERM),
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0), errno.EPERM),
        ("socket", (socket.AF_INET6, socket.SOCK_DGRAM, 0), errno.EPERM),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 0), errno.EPERM),
        ("socket", (40, socket.SOCK_STREAM, 0), errno.EPERM),  # AF_VSOCK, which has no namespaces
        ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0), 0),
        ("socket", (socket.AF_UNIX | 1 << 32, socket.SOCK_STREAM, 0), 0),  # the kernel reads the low half
        ("socketpair", (socket.AF_UNIX, socket.SOCK_DGRAM, 0, 0), errno.EPERM),
        ("socketpair", (socket.AF_INET, socket.SOCK_STREAM, 0, 0), errno.EPERM),
    ],
)
def test_arguments_are_checked(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert _filtered(_call(_number(name), *arguments), seccomp.filter_program()) == expected


def test_calls_that_are_newer_than_the_list_do_not_exist() -> None:
    for number in (seccomp._NEWEST + 1, 467, 9999):
        assert _filtered(_call(number), seccomp.filter_program()) == errno.ENOSYS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is of x86_64 only")
def test_another_calling_convention_kills() -> None:
    assert _filtered(_call(0x40000000 | 39), seccomp.filter_program()) == -signal.SIGSYS


def _fork_and_pair() -> int:
    child = os.fork()
    if child == 0:
        left, right = socket.socketpair()
        left.sendall(b"x")
        os._exit(0 if right.recv(1) == b"x" else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_programs_still_fork_and_speak_to_their_children() -> None:
    assert _filtered(_fork_and_pair, seccomp.filter_program()) == 0


def test_without_namespaces_only_pairs_of_sockets_are_left() -> None:
    program = seccomp.filter_program(namespaces=False)
    assert _filtered(_call(_number("socket"), socket.AF_UNIX, socket.SOCK_STREAM, 0), program) == errno.EPERM
    assert _filtered(_fork_and_pair, program) == 0


def test_without_namespaces_files_are_not_changed_by_name(tmp_path: Path) -> None:
    def change() -> int:
        changes: list[Callable[[], None]] = [
            lambda: tmp_path.chmod(0o700),
            lambda: os.utime(tmp_path, (0, 0)),
            lambda: os.chown(tmp_path, os.getuid(), os.getgid()),
            lambda: os.setxattr(tmp_path, "user.x", b"x"),
            lambda: os.truncate(tmp_path / "file", 0),
        ]
        made = 0
        for action in changes:
            try:
                action()
                made += 1
            except OSError as error:
                made += error.errno != errno.EPERM
        return made

    (tmp_path / "file").write_bytes(b"x")
    assert _filtered(change, seccomp.filter_program(namespaces=False)) == 0


def test_an_unknown_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    with pytest.raises(seccomp.UserError, match="no system call filter for riscv64"):
        seccomp.filter_program()
