"""Programs that take memory, each by another door."""

from derailleur.evaluation.sandbox.hostile.case import Case
from derailleur.evaluation.sandbox.job import End

CASES = (
    Case(
        "allocate",
        "allocates 8 GiB at once",
        """
taken = bytearray(8 << 30)
print("escaped: 8 GiB")
""",
        seen="MemoryError",
    ),
    Case(
        "touch",
        "takes memory page by page",
        """
taken = []
while len(taken) < 4 * bait["memory_bytes"] >> 20:
    taken.append(b"x" * (1 << 20))
print("escaped:", len(taken), "MiB")
""",
        ends=(End.EXITED, End.MEMORY),
        seen="MemoryError|^$",
        forked=True,
    ),
    Case(
        "touch-together",
        "takes memory in many processes",
        """
import os, time
reader, writer = os.pipe()
share = bait["memory_bytes"] // 4
for _ in range(16):
    if os.fork() == 0:
        taken = b"x" * share
        os.write(writer, b"x")
        time.sleep(600)
os.close(writer)
held = 0
while held < 16 and os.read(reader, 1):
    held += 1
time.sleep(1)
print("escaped:", held * share >> 20, "MiB held")
""",
        ends=(End.MEMORY, End.TIMEOUT, End.EXITED),
    ),
    Case(
        "shared-memory",
        "takes memory as shared anonymous pages",
        """
import mmap
taken = mmap.mmap(-1, 4 * bait["memory_bytes"])
print("escaped: mapped", len(taken))
""",
        seen="PermissionError",
    ),
    Case(
        "zero-device",
        "takes shared memory through /dev/zero",
        """
import mmap, os
taken = mmap.mmap(os.open("/dev/zero", os.O_RDWR), 4 * bait["memory_bytes"])
print("escaped: mapped", len(taken))
""",
        seen="FileNotFoundError|PermissionError",
    ),
    Case(
        "memory-file",
        "takes memory as a file without a name",
        """
import os
os.memfd_create("taken")
print("escaped: a file in memory")
""",
        seen="PermissionError",
        harmless=True,
    ),
    Case(
        "system-v",
        "takes shared memory that outlives it",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
segment = libc.shmget(0, 1 << 20, 0o1600)
if segment < 0:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
print("escaped: segment", segment)
""",
        seen="PermissionError",
    ),
    Case(
        "stack-mapping",
        "takes memory that passes for a stack",
        """
import mmap
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100  # MAP_GROWSDOWN
taken = mmap.mmap(-1, 4 * bait["memory_bytes"], flags=flags)
print("escaped: mapped", len(taken))
""",
        seen="PermissionError",
        harmless=True,
    ),
    Case(
        "page-tables",
        "has the kernel take memory for page tables",
        """
import mmap
taken = [
    mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    for _ in range(16)
]
print("escaped: mapped 1 TiB, which takes 2 GiB of page tables")
""",
        seen="MemoryError|Cannot allocate",
        harmless=True,
    ),
    Case(
        "fill-shm",
        "fills /dev/shm",
        """
written = 0
with open("/dev/shm/taken", "wb", buffering=0) as stream:
    while written < 4 * bait["disk_bytes"]:
        written += stream.write(b"x" * (1 << 20))
print("escaped: wrote", written)
""",
        seen="No space|too large|No such|denied|not permitted",
    ),
    Case(
        "fill-disk",
        "fills the working folder, file by file",
        """
import tempfile
for number in range(64):
    try:
        with open(f"taken{number}", "wb", buffering=0) as stream:
            for _ in range(bait["disk_bytes"] >> 22):
                stream.write(b"x" * (1 << 20))
    except OSError as error:
        print(number, error)
        break
else:
    print("escaped: wrote", 16 * bait["disk_bytes"])
""",
        seen="No space",
        unclaimed=("landlock",),
    ),
    Case(
        "fill-file",
        "makes one file as large as can be",
        """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("taken", "wb", buffering=0) as stream:
    for _ in range(4 * bait["disk_bytes"] >> 20):
        if stream.write(b"x" * (1 << 20)) < 1 << 20:
            raise OSError("short write")
print("escaped: wrote", 4 * bait["disk_bytes"])
""",
        seen="No space|too large|short write",
    ),
    Case(
        "many-files",
        "makes files without content until the kernel's memory is full",
        """
for number in range(200_000):
    try:
        open(f"taken{number}", "w").close()
    except OSError as error:
        print(number, error)
        break
else:
    print("escaped: made 200,000 files")
""",
        seen="No space|^$",
        ends=(End.EXITED, End.TIMEOUT),
        unclaimed=("bubblewrap", "landlock"),
    ),
    Case(
        "descriptors",
        "opens files until the system has no more",
        """
import os
try:
    for number in range(100_000):
        os.open("/dev/null", os.O_RDONLY)
except OSError as error:
    print(number, error)
else:
    print("escaped: opened 100,000 files")
""",
        seen="Too many open files",
    ),
    Case(
        "inotify",
        "watches folders until the system has no more watches",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in range(10_000):
    if libc.inotify_init1(0) < 0:
        print(number, os.strerror(ctypes.get_errno()))
        break
else:
    print("escaped: 10,000 watchers")
""",
        seen="Too many open files",
    ),
)
