"""Programs that read what is not theirs, write where they should not, or leave something behind."""

from derailleur.evaluation.sandbox.hostile.case import ROOMY, Case

CASES = (
    Case(
        "read-host",
        "reads accounts, homes and a file of the host that anyone may read",
        """
import os
for path in ("/etc/shadow", "/etc/ssh", "/home", "/var", "/srv", "/run", bait["file"], bait["folder"]):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()
        print("escaped:", path)
    except OSError as error:
        print(error)
""",
        seen="No such file|denied",
        harmless=True,
    ),
    Case(
        "environment",
        "looks for the supervisor's environment in every process that it sees",
        """
import glob, re
for path in {*glob.glob("/proc/[0-9]*"), *(f"/proc/{pid}" for pid in bait["pids"])}:
    try:
        content = open(path + "/environ", "rb").read()
    except OSError as error:
        print(error)
        continue
    print(path, len(content), re.findall(rb"bait:[0-9a-f]{32}", content))
print("looked")
""",
        seen="looked",
        harmless=True,
        forked=True,
    ),
    Case(
        "own-environment",
        "looks for secrets in its own environment",
        """
import os
print(dict(os.environ))
for name in os.environ:
    if name not in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONHASHSEED", "PWD", "LC_CTYPE"):
        print("escaped:", name)
""",
        seen="PATH",
        harmless=True,
    ),
    Case(
        "memory-of-others",
        "reads the memory of every process that it sees, its own too",
        """
import glob, re
found = set()
for folder in {*glob.glob("/proc/[0-9]*"), *(f"/proc/{pid}" for pid in bait["pids"])}:
    try:
        maps, memory = open(folder + "/maps").readlines(), open(folder + "/mem", "rb", buffering=0)
    except OSError as error:
        print(error)
        continue
    for line in maps:
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        try:
            memory.seek(start)
            found |= set(re.findall(rb"bait:[0-9a-f]{32}", memory.read(min(end - start, 1 << 24))))
        except (OSError, ValueError, OverflowError):
            pass
print("looked", found)
""",
        seen="looked",
        harmless=True,
        forked=True,
    ),
    Case(
        "root-of-others",
        "goes through /proc into the root, folder and descriptors of others",
        """
import glob, os
def identity(path):
    return os.stat(path).st_dev, os.stat(path).st_ino
own = [(os.fstat(number).st_dev, os.fstat(number).st_ino) for number in range(4)]
for path in {*glob.glob("/proc/[0-9]*"), *(f"/proc/{pid}" for pid in bait["pids"])}:
    if int(path[6:]) == os.getpid():
        continue
    for way in ("/root/etc/shadow", "/cwd/bait", "/root" + bait["file"]):
        try:
            open(path + way, "rb").read()
            print("escaped:", path + way)
        except OSError as error:
            print(error)
    try:
        for number in os.listdir(path + "/fd"):
            if identity(f"{path}/fd/{number}") not in own:
                os.open(f"{path}/fd/{number}", os.O_RDONLY)
                print("escaped: opened descriptor", number, "of", path)
    except OSError as error:
        print(error)
print("looked")
""",
        seen="looked",
        forked=True,
    ),
    Case(
        "other-descriptors",
        "looks for descriptors that it was not given",
        """
import os, stat
for number in range(4, 4096):
    try:
        os.fstat(number)
        print("escaped: descriptor", number)
    except OSError:
        pass
for number in range(4):
    mode, null = os.fstat(number).st_mode, os.stat("/dev/null").st_mode
    if not (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or mode == null):
        print("escaped: descriptor", number, oct(mode))
print("looked")
""",
        seen="looked",
        forked=True,
    ),
    Case(
        "write-host",
        "writes beside programs, settings, libraries and into a folder that anyone may write to",
        """
import os, sys
system = ["/usr/bin", "/usr/lib", "/etc", "/", "/opt", "/opt/derailleur/guests", "/var/tmp", "/dev"]
for folder in [*system, sys.base_prefix, bait["folder"]]:
    path = folder + "/derailleur-escaped"
    try:
        with open(path, "w") as stream:
            stream.write("x")
        os.remove(path)
        print("escaped:", path)
    except OSError as error:
        print(error)
""",
        seen="Read-only|No such|denied",
        forked=True,
    ),
    Case(
        "change-host",
        "truncates, renames, removes and marks a file of the host",
        """
import os
name = bait["file"]
for change in (
    lambda: os.truncate(name, 0), lambda: os.rename(name, name + "x"), lambda: os.chmod(name, 0o600),
    lambda: os.utime(name, (0, 0)), lambda: os.setxattr(name, "user.x", b"x"), lambda: os.unlink(name),
):
    try:
        change()
        print("escaped: changed", name)
    except OSError as error:
        print(error)
""",
        seen="Read-only|No such|denied",
    ),
    Case(
        "symlink",
        "goes out through symbolic links",
        """
import os
os.symlink(bait["file"], "link")
os.symlink("../" * 20, "up")
for path in ("link", "up" + bait["file"], "up/etc/shadow"):
    try:
        open(path, "rb").read()
        print("escaped:", path)
    except OSError as error:
        print(error)
try:
    open("link", "w").write("x")
    print("escaped: wrote through a link")
except OSError as error:
    print(error)
""",
        seen="No such|denied|Read-only",
    ),
    Case(
        "hard-link",
        "takes files of the host into its folder by hard links",
        """
import os, sys
for path in ("/etc/passwd", "/usr/bin/env", sys.executable, bait["file"]):
    try:
        os.link(path, "link")
        print("escaped:", path)
        os.remove("link")
    except OSError as error:
        print(error)
""",
        seen="cross-device|No such|denied|not permitted",
    ),
    Case(
        "settings-of-the-kernel",
        "writes to /proc/sys, /sys and what steers the kernel",
        """
for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger", "/sys/power/state", "/sys/kernel/uevent_helper",
    "/proc/sys/net/ipv4/ip_forward", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs",
):
    try:
        open(path, "r+b").close()
        print("escaped:", path)
    except OSError as error:
        print(error)
""",
        seen="Read-only|No such|denied",
    ),
    Case(
        "protected-score",
        "has the kernel kill all others before it when memory is short",
        """
open("/proc/self/oom_score_adj", "wb", buffering=0).write(b"-1000")
print("escaped: protected")
""",
        seen="PermissionError|FileNotFoundError",
    ),
    Case(
        "devices",
        "opens memory, disks, terminals and virtual machines",
        """
import glob, os
known = {"null", "zero", "full", "random", "urandom", "stdin", "stdout", "stderr"}
tried = ("mem", "kmem", "sda", "vda", "kvm", "fuse", "tty")
for path in {*glob.glob("/dev/*"), *("/dev/" + name for name in tried)}:
    if os.path.basename(path) in known or os.path.isdir(path):
        continue
    try:
        os.close(os.open(path, os.O_RDONLY))
        print("escaped:", path)
    except OSError as error:
        print(error)
""",
        seen="No such|denied",
    ),
    Case(
        "make-device",
        "makes a device node",
        """
import os, stat
os.mknod("memory", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
print("escaped: made a device")
""",
        seen="PermissionError",
    ),
    Case(
        "setuid-file",
        "makes a file that runs with another's rights",
        """
import os, shutil, subprocess
shutil.copy("/usr/bin/id", "id")
os.chmod("id", 0o6755)
before = os.getresuid(), os.getresgid()
print(subprocess.run(["./id"], capture_output=True, text=True))
try:
    os.chown("id", 0, 0)
    print("escaped: gave a file away")
except OSError as error:
    print(error)
""",
        seen="not permitted|Invalid argument|PermissionError",
    ),
    Case(
        "deep-folders",
        "nests folders so deep that they cannot be removed by name",
        """
import os
for _ in range(700):
    os.mkdir("folder")
    os.chdir("folder")
print("nested")
""",
        seen="nested",
        limits=ROOMY,
        harmless=True,
    ),
    Case(
        "locked-folder",
        "takes the right to enter a folder away",
        """
import os
os.mkdir("locked")
open("locked/file", "w").close()
os.chmod("locked", 0)
print("locked")
""",
        seen="locked",
        harmless=True,
    ),
    Case(
        "leave-files",
        "leaves files wherever it may write",
        """
import os
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", os.environ["HOME"], os.environ["TMPDIR"]):
    try:
        open(folder + "/derailleur-left", "w").close()
        print("left in", folder)
    except OSError as error:
        print(error)
""",
        seen="left in",
    ),
    Case(
        "find-left-files",
        "looks for what the program before it left",
        """
import os
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", os.environ["HOME"], os.environ["TMPDIR"]):
    if os.path.exists(folder + "/derailleur-left"):
        print("escaped: found in", folder)
print("looked")
""",
        seen="looked",
    ),
)
