"""The system calls that a boxed program may not make, as a classic BPF program for seccomp(2).

Namespaces and limits already contain a program; this narrows the kernel that it can reach, and closes what
they leave open: memory that RLIMIT_DATA does not count, and, for the back end without namespaces, processes,
sockets and shared memory of the host. Everything else is allowed, so that interpreters work unchanged.
"""

import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOSYS, EPERM

from derailleur.errors import UserError

# Name, number on x86_64, number on aarch64.
_REFUSED = """
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428, move_mount 429 429,
fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433, mount_setattr 442 442, statmount 457 457,
listmount 458 458, unshare 272 97, setns 308 268, sethostname 170 161, setdomainname 171 162, vhangup 153 58,

ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438,
process_madvise 440 440, process_mrelease 448 448, move_pages 279 239, migrate_pages 256 238,
setpriority 141 140, ioprio_set 251 30, sched_setaffinity 203 122, sched_setscheduler 144 119,
sched_setparam 142 118, sched_setattr 314 274,

bpf 321 280, perf_event_open 298 241, io_uring_setup 425 425, io_uring_enter 426 426,
io_uring_register 427 427, userfaultfd 323 282, add_key 248 217, request_key 249 218, keyctl 250 219,
kexec_load 246 104, kexec_file_load 320 294, init_module 175 105, finit_module 313 273,
delete_module 176 106, fanotify_init 300 262, fanotify_mark 301 263, name_to_handle_at 303 264,
open_by_handle_at 304 265, lookup_dcookie 212 18, personality 135 92, modify_ldt 154 -, iopl 172 -,
ioperm 173 -, syslog 103 116, quotactl 179 60, quotactl_fd 443 443, acct 163 89, swapon 167 224,
swapoff 168 225, reboot 169 142, settimeofday 164 170, clock_settime 227 112, clock_adjtime 305 266,
adjtimex 159 171,

shmget 29 194, shmctl 31 195, shmat 30 196, shmdt 67 197, semget 64 190, semctl 66 191, semtimedop 220 192,
semop 65 193, msgget 68 186, msgctl 71 187, msgrcv 70 188, msgsnd 69 189, mq_open 240 180, mq_unlink 241 181,
memfd_create 319 279, memfd_secret 447 447
"""
# What reaches the host's files by name, past Landlock, where a program has no root of its own.
_REFUSED_ON_THE_HOST = """
chmod 90 -, fchmodat 268 53, fchmodat2 452 452, chown 92 -, lchown 94 -, fchownat 260 54, truncate 76 45,
utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, lsetxattr 189 6,
removexattr 197 14, lremovexattr 198 15, inotify_add_watch 254 27
"""
_CHECKED = """
clone 56 220, clone3 435 435, socket 41 198, socketpair 53 199, mmap 9 222, prlimit64 302 261
"""
_NEWEST = 462  # mseal; later calls are unknown here and do not exist for the program

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_MAP_SHARED_ANONYMOUS = 0x01 | 0x20
_MAP_GROWSDOWN = 0x100
_WHOLE = 0xFFFFFFFF

_X32_BIT = 0x40000000  # the 32-bit calling convention of x86_64 has numbers of its own
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_IF_EQUAL, _IF_ABOVE, _IF_BIT = 0x15, 0x25, 0x45  # BPF_JMP|JEQ|K, JGT, JSET
_NUMBER_OFFSET, _MACHINE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16  # in struct seccomp_data
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000  # SECCOMP_RET_*


@dataclass(frozen=True, slots=True)
class _Check:
    """A call is refused if `argument & mask` is `value`, or, with `unless`, if it is anything else."""

    name: str
    argument: int
    mask: int
    value: int
    unless: bool = False


_CHECKS = (
    _Check("clone", 0, _NEW_NAMESPACES, 0, unless=True),
    # Memory that no limit counts: shared anonymous pages, and mappings that pass for a stack.
    _Check("mmap", 3, _MAP_SHARED_ANONYMOUS, _MAP_SHARED_ANONYMOUS),
    _Check("mmap", 3, _MAP_GROWSDOWN, _MAP_GROWSDOWN),
    # Limits of other processes: a limit of no processor time kills.
    _Check("prlimit64", 0, _WHOLE, 0, unless=True),
    _Check("socketpair", 0, _WHOLE, socket.AF_UNIX, unless=True),
    # A datagram socket, connected or not, can send to any name.
    _Check("socketpair", 1, 0xF, socket.SOCK_STREAM, unless=True),
)


@dataclass(frozen=True, slots=True)
class _Machine:
    """An architecture: its AUDIT_ARCH number and its column of the tables."""

    audit: int
    column: int

    def numbers(self, table: str) -> dict[str, int]:
        rows = (row.split() for row in table.split(","))
        return {row[0]: int(row[self.column]) for row in rows if row[self.column] != "-"}


_MACHINES = {"x86_64": _Machine(0xC000003E, 1), "aarch64": _Machine(0xC00000B7, 2)}


def filter_program(*, namespaces: bool = True) -> bytes:
    """The filter for this machine, an array of `struct sock_filter` of 8 bytes each.

    A refused call fails with EPERM; clone3, whose flags a filter cannot see, and calls newer than this list
    do not exist (ENOSYS). A call of a foreign architecture kills.

    Args:
        namespaces: whether the program has a root and a network of its own. If so it may make Unix sockets
            and change the modes and times of the files that it sees; if not, both would reach the host.

    Raises:
        UserError: if the machine is of another architecture.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise UserError(f"no system call filter for {platform.machine()}, only for {', '.join(_MACHINES)}")
    return b"".join(_instructions(machine, namespaces=namespaces))


def numbers() -> dict[str, int]:
    """The number on this machine of every call that is refused or looked at, by name."""
    machine = _MACHINES[platform.machine()]
    return machine.numbers(f"{_REFUSED},{_REFUSED_ON_THE_HOST},{_CHECKED}")


def _instructions(machine: _Machine, *, namespaces: bool) -> Iterator[bytes]:
    checked = machine.numbers(_CHECKED)
    yield _instruction(_LOAD, _MACHINE_OFFSET)
    yield _instruction(_IF_EQUAL, machine.audit, skip_if=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER_OFFSET)
    yield _instruction(_IF_BIT, _X32_BIT, skip_unless=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_IF_ABOVE, _NEWEST, skip_unless=1)
    yield _instruction(_RETURN, _ERRNO | ENOSYS)
    yield _instruction(_IF_EQUAL, checked["clone3"], skip_unless=1)
    yield _instruction(_RETURN, _ERRNO | ENOSYS)
    refused = _REFUSED if namespaces else f"{_REFUSED},{_REFUSED_ON_THE_HOST}"
    for number in machine.numbers(refused).values():
        yield _instruction(_IF_EQUAL, number, skip_unless=1)
        yield _instruction(_RETURN, _ERRNO | EPERM)
    family = socket.AF_UNIX if namespaces else _WHOLE  # the number of no family
    for check in (*_CHECKS, _Check("socket", 0, _WHOLE, family, unless=True)):
        yield _instruction(_IF_EQUAL, checked[check.name], skip_unless=5)
        yield _instruction(_LOAD, _ARGUMENTS_OFFSET + 8 * check.argument)  # the low half: all are 32 bits
        yield _instruction(_AND, check.mask)
        yield _instruction(_IF_EQUAL, check.value, skip_if=check.unless, skip_unless=not check.unless)
        yield _instruction(_RETURN, _ERRNO | EPERM)
        yield _instruction(_LOAD, _NUMBER_OFFSET)
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, operand: int, *, skip_if: int = 0, skip_unless: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if, skip_unless, operand)
