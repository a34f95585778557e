"""The file system that a worker's programs see: system folders read-only, nothing else of the host.

Built by the launcher on an empty tmpfs of its own mount namespace, then made the root. Each box later mounts
its own /tmp, /dev/shm and /proc over the folders that are left for them here. Standard library only.
"""

import glob
import os
import stat
import sys
from collections.abc import Mapping

from derailleur.evaluation.sandbox import linux

PATH = "/opt/derailleur/bin:/usr/local/bin:/usr/bin:/bin"
GUESTS = "/opt/derailleur/guests"
USER = 1000
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/tmp/box",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "PYTHONHASHSEED": "0",
}

_NEW = "/tmp"  # where the new root is put together; any folder that every host has
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Not `zero`: mapped as shared, it is memory that no limit counts.
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
_DEVICE_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
# What the dynamic linker, `javac`, `node` and the C library read: no accounts, keys or names of hosts.
_SETTINGS = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "java*",
    "ssl/openssl.cnf",
)
FILES = {
    "/etc/passwd": f"box:x:{USER}:{USER}::/tmp/box:/bin/sh\n",
    "/etc/group": f"box:x:{USER}:\n",
}


def enter(binds: Mapping[str, str]) -> None:
    """Build the root and make it this process's, for good. Needs a mount namespace of one's own.

    Args:
        binds: path inside by path on the host; bound read-only, beside the system's own folders.
    """
    # Opened first: the new root is put together over a folder in which some of them may lie.
    sources = {path: _opened(path) for path in readable(sys.base_prefix)}
    sources |= {inside: _opened(host) for host, inside in binds.items()}
    devices = {path: _opened(path) for path in DEVICES}

    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("root", _NEW, "tmpfs", linux.MS_NOSUID, "size=1m,mode=755")
    for inside, source in sources.items():
        _bind(source, inside)
    linux.set_mount_attributes(_NEW, linux.MS_NOSUID | linux.MS_NODEV)
    for inside, source in devices.items():
        _bind(source, inside)
    for folder in ("/tmp", "/proc", "/dev/shm", "/opt/derailleur/bin"):
        os.makedirs(_NEW + folder, exist_ok=True)
    for link, target in links(sys.executable).items():
        os.symlink(target, _NEW + link)
    for path, text in FILES.items():
        with open(_NEW + path, "w") as stream:
            stream.write(text)
    linux.set_mount_attributes(_NEW, linux.MS_RDONLY)
    _mount_proc()
    linux.pivot_root(_NEW)


def _mount_proc() -> None:
    """A /proc for the launcher, in which a clone writes its user map; a box mounts its own over it.

    Not read-only, since no laxer one could be mounted over it then. Containers that hide parts of /proc let
    nobody mount a whole one: there the launcher uses theirs, and boxes have none.
    """
    try:
        linux.mount("proc", f"{_NEW}/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except PermissionError:
        linux.mount("/proc", f"{_NEW}/proc", None, linux.MS_BIND | linux.MS_REC)


def readable(prefix: str) -> list[str]:
    """The files and folders of the host that programs read, all without secrets.

    Args:
        prefix: where Python is installed.
    """
    folders = [path for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path)]
    settings = [path for pattern in _SETTINGS for path in glob.glob(f"/etc/{pattern}")]
    return [*folders, *settings, *([] if f"{prefix}/".startswith("/usr/") else [prefix])]


def links(python: str) -> dict[str, str]:
    """Symbolic links of the root by where they lead: `python`, descriptors, folders that are in /usr now."""
    merged = {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}
    return merged | _DEVICE_LINKS | {"/opt/derailleur/bin/python": python}


def _opened(host: str) -> int:
    return os.open(host, os.O_PATH | os.O_CLOEXEC)


def _bind(source: int, inside: str) -> None:
    target = _NEW + inside
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        open(target, "a").close()
    linux.mount(f"/proc/self/fd/{source}", target, None, linux.MS_BIND | linux.MS_REC)
    os.close(source)
