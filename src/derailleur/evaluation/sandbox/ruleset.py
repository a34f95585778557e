"""Landlock: a process gives up files, connections and signals, as far as the kernel knows how (landlock(7)).

Standard library only: this runs between the fork and the program.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from derailleur.evaluation.sandbox import linux

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_DEVICES = 1 << 6 | 1 << 11
_TRUNCATE = 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE  # what a rule for a file may grant

# How many file rights there are, by ABI version: 13 at first, then refer, truncate and ioctl of devices.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK_SINCE, _BIND_AND_CONNECT = 4, 0b11
SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def version() -> int:
    """The kernel's Landlock ABI version, 0 where there is none."""
    try:
        return _call("landlock", _CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], *, writable: Iterable[str]) -> None:
    """Leave this process, for good, a few files and no other.

    Args:
        readable: files and folders to read and execute; those that do not exist are passed over. Devices may
            be written, too.
        writable: folders to do everything in but make devices.
    """
    abi = version()
    handled = (1 << _FILE_RIGHTS.get(abi, max(_FILE_RIGHTS.values()))) - 1
    network = _BIND_AND_CONNECT if abi >= _NETWORK_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, network, scopes)
    ruleset = _call("landlock", _CREATE_RULESET, attributes, len(attributes), 0)
    for path in readable:
        if os.path.exists(path):
            device = stat.S_ISCHR(os.stat(path).st_mode)
            _allow(ruleset, path, handled & (_READ | _WRITE_FILE if device else _READ))
    for path in writable:
        _allow(ruleset, path, handled & ~_MAKE_DEVICES)
    linux.forbid_new_privileges()
    _call("landlock", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= _OF_FILES
    rule = struct.pack("=Qi", rights, descriptor)
    _call(f"landlock {path}", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(descriptor)


def _call(what: str, number: int, *arguments: bytes | int | None) -> int:
    wide = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
    return result
