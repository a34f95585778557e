"""Programs that multiply, hide, do not end or turn on others."""

from derailleur.evaluation.sandbox.hostile.case import Case
from derailleur.evaluation.sandbox.job import End

CASES = (
    Case(
        "fork-bomb",
        "forks for ever",
        """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
        ends=(End.TIMEOUT,),
        forked=True,
    ),
    Case(
        "thread-bomb",
        "starts threads for ever",
        """
import threading
threading.stack_size(1 << 16)
hold = threading.Event()
for number in range(2000):
    try:
        threading.Thread(target=hold.wait, daemon=True).start()
    except RuntimeError as error:
        print(number, error)
        break
else:
    print("escaped: 2000 threads")
""",
        seen="can't start new thread",
    ),
    Case(
        "zombies",
        "leaves ended children unwaited for",
        """
import os
for number in range(2000):
    try:
        child = os.fork()
    except OSError as error:
        print(number, error)
        break
    if child == 0:
        os._exit(0)
else:
    print("escaped: 2000 zombies")
""",
        seen="Resource temporarily unavailable",
    ),
    Case(
        "burning-children",
        "spends processor time in many children",
        """
import os
for _ in range(8):
    if os.fork() == 0:
        while True:
            pass
while True:
    os.wait()
""",
        ends=(End.EXITED, End.TIMEOUT),  # each child has the limit of a process
        seen="ChildProcessError|^$",
    ),
    Case(
        "daemon",
        "forks twice into a session of its own and outlives its parent",
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        time.sleep(600)
    os._exit(0)
os.wait()
print("left a daemon")
""",
        seen="left a daemon",
        harmless=True,
    ),
    Case(
        "held-output",
        "leaves a child that holds its standard output open",
        """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
print("left a holder")
""",
        seen="left a holder",
    ),
    Case(
        "ignored-signals",
        "ignores every signal that it may and loops",
        """
import signal
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    pass
""",
        ends=(End.TIMEOUT,),
    ),
    Case("loop", "loops for ever", "while True:\n    pass", ends=(End.TIMEOUT,)),
    Case("sleep", "sleeps for ever", "import time\ntime.sleep(600)", ends=(End.TIMEOUT,)),
    Case(
        "execute-itself",
        "starts itself anew before its time is up",
        """
import os, sys
for _ in range(10 ** 6):
    pass
os.execv(sys.executable, [sys.executable, "-I", "-S", "program.py"])
""",
        ends=(End.TIMEOUT,),
    ),
    Case(
        "stop",
        "stops its child and waits for it",
        """
import os, signal
child = os.fork()
if child == 0:
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)
os.waitpid(child, 0)
""",
        ends=(End.TIMEOUT,),
    ),
    Case(
        "kill-all",
        "kills everything that it can see",
        """
import os, signal
if os.fork() == 0:
    os.kill(-1, signal.SIGKILL)
try:
    os.wait()
except ChildProcessError:
    pass
""",
        ends=(End.EXITED,),
        forked=True,
    ),
    Case(
        "kill-parent",
        "kills its parent, its group and process 1",
        """
import os, signal
for pid in (os.getppid(), 1, -1, 0):
    try:
        os.kill(pid, signal.SIGTERM if pid else signal.SIGKILL)
    except OSError as error:
        print(pid, error, flush=True)
""",
        forked=True,
    ),
    Case(
        "kill-neighbour",
        "signals processes of the host",
        """
import os
for pid in bait["pids"]:
    try:
        os.kill(pid, 0)
        print("escaped: may signal", pid)
    except OSError as error:
        print(error)
""",
        seen="No such process|not permitted",
        harmless=True,
    ),
    Case(
        "raise-limits",
        "raises its own limits",
        """
import resource
for name in ("CPU", "DATA", "NPROC", "FSIZE", "NOFILE", "CORE"):
    limit = getattr(resource, "RLIMIT_" + name)
    _, hard = resource.getrlimit(limit)
    try:
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("escaped: raised", name, "from", hard)
    except (ValueError, OSError) as error:
        print(error)
""",
        seen="not allowed to raise|not permitted",
        harmless=True,
    ),
    Case(
        "niceness",
        "runs before all others",
        """
import os
os.nice(-10)
print("escaped: nice", os.nice(0))
""",
        seen="PermissionError",
    ),
    Case(
        "recursion",
        "overflows the stack of the interpreter",
        """
import sys
sys.setrecursionlimit(10 ** 9)
def nest(depth):
    return repr([nest(depth + 1)])
class Endless:
    def __repr__(self):
        return repr([self])
repr(Endless())
""",
        ends=(End.EXITED, End.MEMORY, End.TIMEOUT),
    ),
)
