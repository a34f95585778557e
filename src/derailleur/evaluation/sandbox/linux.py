"""The Linux calls that Python has no function for; each raises OSError as `os` does.

Imported by the launcher, which runs without site-packages: standard library only.
"""

import ctypes
import errno
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_PIDFD = 0x00001000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
_MNT_DETACH = 2

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

_CLONE = {"x86_64": 56, "aarch64": 220}
_CLOSE_RANGE = 436  # the same number on every architecture, as of all calls added since Linux 5.1
_MOUNT_SETATTR = 442

_libc = ctypes.PyDLL(None, use_errno=True)  # holds the GIL, as no call here waits
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class _SeccompProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _checked(result: int, what: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def told(error: OSError) -> str:
    """An error in words: what was tried, and why it failed."""
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def clone(flags: int) -> tuple[int, int]:
    """`fork` into new namespaces, for a process with one thread.

    Unlike `unshare` and `fork`, the caller itself stays where it is. CPython's fork hooks, of `threading` and
    `random` above all, are left out: with the GIL held and one thread they have nothing to repair, and what
    memory they touch costs a third of a fork. So every clone begins with the same random numbers.

    Args:
        flags: CLONE_NEW*.

    Returns:
        The child's process id and pidfd; (0, -1) in the child.
    """
    pidfd = ctypes.c_int(-1)
    flags |= _CLONE_PIDFD | signal.SIGCHLD
    pid = _libc.syscall(
        _CLONE[os.uname().machine], ctypes.c_ulong(flags), None, ctypes.byref(pidfd), None, None
    )
    return _checked(pid, "a box's namespaces"), pidfd.value


def unshare(flags: int, what: str) -> None:
    """Move this process, or with CLONE_NEWPID its later children, into new namespaces; `what` names them."""
    _checked(_libc.unshare(flags), what)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2); the error names the target."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    result = _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(options) if options else None)
    _checked(result, f"mount {target}")


def set_mount_attributes(target: str, attributes: int) -> None:
    """Add MS_RDONLY, MS_NOSUID, MS_NODEV or MS_NOEXEC to a mount and to all below it (Linux 5.12)."""
    values = _MountAttributes(set=attributes)
    arguments = (_AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, ctypes.byref(values))
    result = _libc.syscall(_MOUNT_SETATTR, *arguments, ctypes.c_size_t(ctypes.sizeof(values)))
    _checked(result, f"mount_setattr {target}")


def pivot_root(new: str) -> None:
    """Make the mount `new` the root of this mount namespace; nothing of the old one can be reached after."""
    os.chdir(new)
    _checked(_libc.pivot_root(b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir("/")


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable() -> None:
    """Own one's files in /proc again, which a change of user id takes away."""
    _prctl(_PR_SET_DUMPABLE, 1)


def drop_capabilities() -> None:
    """Give up every capability, and for ever: the bounding and ambient sets are emptied too."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    if ctypes.get_errno() != errno.EINVAL:  # which is said of the first that this kernel does not know
        _checked(-1, "prctl drop capability")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def forbid_new_privileges() -> None:
    """Let no executed file add privileges; also what lets an ordinary process install a seccomp filter."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """Filter this process's system calls from now on.

    Args:
        program: an array of `struct sock_filter`, 8 bytes each.
    """
    values = _SeccompProgram(len(program) // 8, program)
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(values), 0, 0), "seccomp")


def close_from(lowest: int) -> None:
    """Close every descriptor from `lowest` on (Linux 5.9)."""
    _checked(_libc.syscall(_CLOSE_RANGE, ctypes.c_uint(lowest), ctypes.c_uint(0xFFFFFFFF), 0), "close_range")


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")
