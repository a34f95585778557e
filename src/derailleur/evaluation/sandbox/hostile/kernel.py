"""Programs that ask the kernel for more rights, or for another view of the machine."""

from derailleur.evaluation.sandbox.hostile.case import Case

_CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    number = bait["calls"].get(name)
    if number is None:
        return print(name, "not permitted: no such call here")
    result = libc.syscall(ctypes.c_long(number), *(
        argument if isinstance(argument, bytes) else ctypes.c_long(argument) for argument in arguments))
    if result >= 0:
        print("escaped:", name, arguments, result)
    elif ctypes.get_errno() not in (1, 38):
        print("escaped:", name, arguments, "was made:", os.strerror(ctypes.get_errno()))
    else:
        print(name, os.strerror(ctypes.get_errno()))
"""
_NEW_NAMESPACES = ("0x10000000", "0x20000", "0x40000000", "0x20000000", "0x8000000", "0x80")
_SEEN = "not permitted|not implemented"


def _calls(name: str, tries: str, *calls: str, harmless: bool = False) -> Case:
    program = _CALL + "".join(f"call({call})\n" for call in calls)
    return Case(name, tries, program, seen=_SEEN, harmless=harmless)


CASES = (
    _calls(
        "mount",
        "mounts, over the old calls and the new",
        '"mount", b"none", b"/tmp", b"tmpfs", 0, 0',
        '"mount", b"/", b"/tmp", 0, 0x5000, 0',
        '"umount2", b"/proc", 2',
        '"fsopen", b"tmpfs", 0',
        '"open_tree", -100, b"/", 1',
        '"mount_setattr", -100, b"/", 0, 0, 0',
    ),
    _calls(
        "new-root",
        "changes its root",
        '"chroot", b"."',
        '"pivot_root", b".", b"."',
        harmless=True,
    ),
    _calls(
        "unshare",
        "makes namespaces of its own, to be root in them",
        *(f'"unshare", {flag}' for flag in _NEW_NAMESPACES),
        '"clone", 0x10000011, 0, 0, 0, 0',
        '"clone3", 0, 0',
        '"setns", 0, 0',
    ),
    _calls(
        "ptrace",
        "traces and reads other processes",
        '"ptrace", 16, os.getppid() or 1, 0, 0',
        '"ptrace", 0, 0, 0, 0',
        '"process_vm_readv", 1, 0, 0, 0, 0, 0',
        '"process_vm_writev", 1, 0, 0, 0, 0, 0',
        '"pidfd_getfd", 0, 0, 0',
        '"kcmp", 1, 1, 0, 0, 0',
    ),
    _calls("bpf", "loads a program into the kernel", '"bpf", 5, 0, 0', '"bpf", 0, 0, 0', harmless=True),
    _calls("perf", "samples the machine", '"perf_event_open", 0, 0, -1, -1, 0', harmless=True),
    _calls("io-uring", "makes calls past the filter", '"io_uring_setup", 8, 0', harmless=True),
    _calls("userfaultfd", "stops the kernel on a page of its own", '"userfaultfd", 1', harmless=True),
    _calls(
        "keys",
        "reads and adds keys of the kernel",
        '"keyctl", 0, -3, 1, 0, 0',
        '"add_key", b"user", b"x", b"x", 1, -3',
        '"request_key", b"user", b"x", 0, 0',
    ),
    _calls(
        "modules",
        "loads modules and kernels",
        '"init_module", 0, 0, 0',
        '"finit_module", -1, 0, 0',
        '"delete_module", 0, 0',
        '"kexec_load", 0, 0, 0, 0',
    ),
    _calls(
        "handles", "opens files by handle, past all paths", '"open_by_handle_at", -100, 0, 0', harmless=True
    ),
    _calls("log", "reads the kernel's log", '"syslog", 3, 0, 0', harmless=True),
    _calls("reboot", "restarts the machine", '"reboot", 0, 0, 0, 0'),
    _calls(
        "clock",
        "sets the clock",
        '"clock_settime", 0, 0',
        '"settimeofday", 0, 0',
        '"clock_adjtime", 0, 0',
        '"adjtimex", 0',
    ),
    _calls("host-name", "renames the machine", '"sethostname", b"x", 1', '"setdomainname", b"x", 1'),
    _calls(
        "queues",
        "makes queues and semaphores that outlive it",
        '"mq_open", b"/x", 0o102, 0o600, 0',
        '"msgget", 0, 0o1600',
        '"semget", 0, 1, 0o1600',
    ),
    Case(
        "other-convention",
        "makes calls by the numbers of x32",
        """
import ctypes, os
if os.uname().machine != "x86_64":
    os.abort()
print("escaped:", ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 | 39)))
""",
    ),
    Case(
        "capabilities",
        "has capabilities, or may gain them",
        """
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    print(name, status[name].strip())
    if int(status[name], 16) and name != "CapBnd":
        print("escaped:", name)
if status["NoNewPrivs"] != "1\\n" or status["Seccomp"] != "2\\n":
    print("escaped: no filter")
""",
        seen="CapPrm",
        harmless=True,
        forked=True,
    ),
    Case(
        "become-root",
        "becomes root or another user",
        """
import os
before = os.getresuid(), os.getresgid()
for change in (
    lambda: os.setresuid(0, 0, 0), lambda: os.setresgid(0, 0, 0), lambda: os.setgroups([0]),
    lambda: os.setresuid(12345, 12345, 12345),
):
    try:
        change()
        print("escaped: is", os.getresuid(), os.getresgid())
    except OSError as error:
        print(error)
""",
        seen="not permitted|Invalid argument",
    ),
    Case(
        "setuid-programs",
        "runs the system's programs that run as root",
        """
import glob, os, stat, subprocess
for path in glob.glob("/usr/bin/*"):
    if os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
        print(path)
for command in (["chage", "-l", "root"], ["su", "-c", "id"], ["mount", "-t", "tmpfs", "none", "/tmp"]):
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        print("escaped:" if done.returncode == 0 else "failed:", command, done.stdout, done.stderr)
    except OSError as error:
        print(error)
""",
        seen="failed:|No such file|denied",
    ),
    Case(
        "terminal",
        "types into the terminal of whoever runs it",
        """
import fcntl, os
for name in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/pts/1"):
    try:
        os.open(name, os.O_RDWR | os.O_NOCTTY)
        print("escaped: opened", name)
    except OSError as error:
        print(error)
for number in range(4):
    try:
        fcntl.ioctl(number, 0x5412, b"x")  # TIOCSTI
        print("escaped: typed into", number)
    except OSError as error:
        print(error)
""",
        seen="Inappropriate ioctl",
    ),
    Case(
        "exit-by-signal",
        "ends by every signal that it can send itself",
        """
import os
for number in (1, 2, 3, 6, 8, 11, 15, 24, 31):
    if os.fork() == 0:
        os.kill(os.getpid(), number)
        os._exit(0)
    os.wait()
os.abort()
""",
    ),
)
