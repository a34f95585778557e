"""What a program sees of the machine and of its neighbours, and what it leaves behind: nothing."""

import ast
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import End, Job, Limits
from derailleur.evaluation.sandbox.processes import descendants, has_ended

MIB = 1 << 20


def children() -> set[int]:
    """All processes below this one, ended ones that nobody waited for included."""
    return set(descendants(os.getpid()))


def gone(pids: set[int], seconds: float = 5.0) -> bool:
    """Whether processes end within a time."""
    until = time.monotonic() + seconds
    while not all(map(has_ended, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def evaluate(run_python):
    """Evaluates an expression in a box; further lines come before it."""

    def value(expression: str, before: str = "", **limits):
        outcome = run_python(f"import os\n{before}\nprint(repr({expression}))", **limits)
        assert outcome.code == 0, outcome
        return ast.literal_eval(outcome.stdout.decode())

    return value


# Trap a: the environment with which the process was started that became process 1.
def test_no_environment_leaks(evaluate, sandbox, monkeypatch):
    allowed = {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONHASHSEED"}
    assert set(evaluate("dict(os.environ)")) <= allowed
    for command in (("cat", "/proc/1/environ"), ("sh", "-c", "cat /proc/*/environ")):
        entries = sandbox.run(Job(command)).stdout.rstrip(b"\0").split(b"\0")
        assert {entry.partition(b"=")[0].decode() for entry in entries} <= allowed | {"PWD", "OLDPWD", "_"}
    entries = evaluate("open('/proc/1/environ').read().rstrip(chr(0)).split(chr(0))")
    assert {entry.partition("=")[0] for entry in entries} <= allowed


def test_the_launcher_s_command_line_does_not_say_where_we_are(evaluate):
    assert str(Path(__file__).parents[3]) not in evaluate("open('/proc/1/cmdline').read()")


# Trap b: file systems in memory without a size.
def test_what_can_be_written_has_a_size(evaluate):
    fill = """
def filled(folder):
    written = 0
    try:
        while True:
            with open(f"{folder}/{written}", "wb") as stream:
                written += stream.write(bytes(1 << 20))
    except OSError:
        return written
"""
    for folder in ("/tmp", "/tmp/box", "/dev/shm"):
        assert evaluate(f"filled({folder!r})", fill, disk_bytes=8 * MIB) <= 8 * MIB


def test_a_file_has_a_size_and_a_folder_a_number_of_files(run_python):
    outcome = run_python("open('f', 'wb').write(bytes(20 << 20))", disk_bytes=8 * MIB)
    assert b"OSError" in outcome.stderr
    outcome = run_python("for i in range(100_000): open(f'{i}', 'w').close()")
    assert b"No space left" in outcome.stderr


def test_nothing_else_can_be_written(evaluate):
    probe = """
def writable():
    found = []
    for folder, names, _ in os.walk("/"):
        names[:] = [name for name in names if not (folder == "/" and name == "proc")]
        if os.access(folder, os.W_OK):
            found.append(folder)
        if len(folder) > 20:
            names.clear()
    return sorted(found)
"""
    assert evaluate("writable()", probe) == ["/dev/shm", "/tmp", "/tmp/box"]


# Traps c and d: a limit of processes that does not hold for root, and that neighbours of one user share.
def test_processes_are_limited(evaluate):
    bomb = """
def forks():
    for number in range(1000):
        try:
            if os.fork() == 0:
                import time; time.sleep(60)
        except OSError:
            return number
"""
    assert evaluate("forks()", bomb, processes=20) == 19


def test_threads_count_too(run_python):
    code = """
import threading, time
for i in range(100):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
    assert b"can't start new thread" in run_python(code, processes=20).stderr


def test_a_fork_bomb_does_not_disturb_its_neighbours(start_python, run_python, open_namespaces):
    box = start_python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", wall_seconds=20)
    time.sleep(0.3)
    for _ in range(5):
        assert run_python("import os; os.fork() and os.wait(); print('fine')").stdout == b"fine\n" * 2
    with open_namespaces() as neighbour:
        assert neighbour.run(Job(("sh", "-c", "true & wait; echo fine"))).stdout == b"fine\n"
    box.kill()
    box.wait()


def test_two_workers_are_different_users(open_namespaces):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's workers are all itself")
    with open_namespaces() as first, open_namespaces() as second:
        boxes = [worker.start(Job(("sleep", "60"))) for worker in (first, second)]
        users = {Path(f"/proc/{_process_id(box)}").stat().st_uid for box in boxes}
        for box in boxes:
            box.kill()
            box.wait()
    assert len(users) == 2
    assert min(users) > 1 << 16


def _process_id(box) -> int:
    text = Path(f"/proc/self/fdinfo/{box._process.pidfd}").read_text()
    return int(text.partition("Pid:")[2].split()[0])


# Trap e: ended processes that are reaped late or never.
def test_many_quick_programs_leave_nothing(sandbox):
    before = children()
    for _ in range(150):
        outcome = sandbox.run(Job(("sh", "-c", "sleep 60 & sleep 60 & true"), limits=Limits(processes=8)))
        assert (outcome.end, outcome.code) == (End.EXITED, 0), outcome
    assert children() == before


def test_a_daemon_ends_with_its_program(run_python):
    before = children()
    code = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        time.sleep(60)
    os._exit(0)
os.wait()
"""
    assert run_python(code).code == 0
    assert gone(children() - before)


# Trap f: capabilities of the box's own user namespace.
def test_no_capability_is_left(evaluate, sandbox):
    read = "{k: v.strip() for k, _, v in (line.partition(':') for line in open('/proc/self/status'))}"
    for status in (
        evaluate(read),
        dict(
            line.split(":", 1)
            for line in sandbox.run(Job(("cat", "/proc/self/status"))).stdout.decode().splitlines()
        ),
    ):
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert set(status["Uid"].split()) == {"1000"}


def test_descriptors_are_the_four_that_were_given(evaluate, sandbox):
    assert evaluate("sorted(map(int, os.listdir('/proc/self/fd')))") == [0, 1, 2, 3, 4]  # 4 lists them
    assert sandbox.run(Job(("ls", "/proc/self/fd"))).stdout == b"0\n1\n2\n3\n4\n"


def test_limits_cannot_be_raised(evaluate):
    probe = """
import resource
def raised(kind):
    try: resource.setrlimit(kind, (1 << 40, 1 << 40))
    except ValueError: return False
    return True
"""
    for kind in ("CPU", "DATA", "NPROC", "FSIZE", "CORE", "NOFILE"):
        assert evaluate(f"raised(resource.RLIMIT_{kind})", probe) is False


def test_the_host_s_files_are_absent(evaluate, tmp_path):
    (tmp_path / "secret").write_text("secret")
    for path in ("/etc/shadow", "/home", "/var", "/run", "/sys", "/boot", str(tmp_path / "secret"), __file__):
        assert evaluate(f"os.path.exists({path!r})") is False
    assert evaluate("os.path.exists('/root/.bashrc')") is False
    assert evaluate("os.listdir('/tmp')") == ["box"]
    assert evaluate("open('/etc/passwd').read().count(chr(10))") == 1


def test_neither_the_host_s_name_nor_our_control_group_is_told(evaluate):
    assert evaluate("os.uname().nodename") == "box"
    assert {line.split(":", 2)[2] for line in evaluate("open('/proc/self/cgroup').read().split()")} <= {"/"}


def test_there_is_no_network(evaluate):
    assert evaluate("[line.split(':')[0].strip() for line in open('/proc/self/net/dev')][2:]") == ["lo"]


def test_the_host_s_sockets_cannot_be_reached(evaluate):
    name = f"\0derailleur-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        probe = """
import socket
def connected(name):
    try: socket.socket(socket.AF_UNIX).connect(name)
    except OSError: return False
    return True
"""
        assert evaluate(f"connected({name!r})", probe) is False


def test_only_its_own_processes_are_seen(evaluate):
    assert evaluate("[name for name in os.listdir('/proc') if name.isdigit()]") == ["1"]
    assert evaluate("os.getppid()") == 0


def test_signals_reach_nobody_else(run_python, start_python):
    other = start_python("import time; time.sleep(0.5); print('alive')")
    run_python("import os, signal\ntry: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass")
    assert other.wait().stdout == b"alive\n"


def test_a_box_is_killed_by_the_group_s_score_not_below_its_own(evaluate):
    probe = """
def lowered():
    with open("/proc/self/oom_score_adj", "w") as stream: stream.write("0")
    try:
        with open("/proc/self/oom_score_adj", "w") as stream: stream.write("-1")
    except OSError: return False
    return True
"""
    assert evaluate("int(open('/proc/self/oom_score_adj').read())") == 1000
    assert evaluate("lowered()", probe) is False


def test_the_launcher_outlives_want_of_memory(run_python):
    crowd = "import os, time\nfor i in range(5): os.fork()\nx = os.urandom(8 << 20); time.sleep(0.3)"
    assert run_python(crowd, memory_bytes=32 * MIB).end in (End.MEMORY, End.EXITED)
    assert run_python("print('fine')").stdout == b"fine\n"


def test_closing_ends_everything(open_namespaces):
    before = children()
    sandbox = open_namespaces()
    box = sandbox.start(Job(("sh", "-c", "sleep 60 & sleep 60")))
    sandbox.close()
    assert gone(children() - before)
    outcome = box.wait()
    assert (outcome.end, outcome.detail) == (End.SANDBOX, "the launcher ended")
    assert sandbox.run(Job(("true",))).end is End.SANDBOX


def test_another_thread_may_close_it(open_namespaces):
    sandbox = open_namespaces()
    box = sandbox.start(Job(("sleep", "60")))
    closing = threading.Timer(0.2, sandbox.close)
    closing.start()
    assert box.wait().end is End.SANDBOX
    closing.join()


def test_it_closes_while_a_fork_of_ours_still_has_its_socket(open_namespaces):
    sandbox = open_namespaces()
    copy = sandbox.back_end._control.dup()
    sandbox.close()
    copy.close()


def test_the_thread_that_opened_it_may_end_before_it(open_namespaces):
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_namespaces()))
    thread.start()
    thread.join()
    time.sleep(0.1)
    with opened[0] as sandbox:
        assert sandbox.run(Job(("echo", "fine"))).stdout == b"fine\n"


SUPERVISOR = """
import sys, time
from derailleur.evaluation.sandbox import Job, open_sandbox
sandbox = open_sandbox("namespaces")
box = sandbox.start(Job(("sh", "-c", "sleep 60 & echo begun >&3; sleep 60")))
assert box.read_line() == b"begun"
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_supervisor_takes_everything_along(open_namespaces):
    before = children()
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"ready\n"
    started = children() - before
    assert len(started) >= 5  # supervisor, starter, launcher, sh, two sleeps
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    assert gone(started)


REFUSED = """
import json
from derailleur.errors import UserError
from derailleur.evaluation.sandbox import open_sandbox
try:
    open_sandbox("namespaces")
except UserError as error:
    print(error)
"""


def test_a_machine_without_user_namespaces_is_told_so(open_namespaces):
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, sys.executable, REFUSED]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.stdout == (
        "no sandbox works here: namespaces: a user namespace (sysctl user.max_user_namespaces): "
        "no space left on device\n"
    )


MASKED = """
from derailleur.evaluation.sandbox import Job, open_sandbox
with open_sandbox("namespaces") as sandbox:
    outcome = sandbox.run(Job(("sh", "-c", "ls -a /proc; id -u; python -c 'print(6 * 7)'")))
    assert outcome.stdout == b".\\n..\\n1000\\n42\\n", outcome
print("contained")
"""


def test_where_proc_is_masked_a_box_has_none(open_namespaces):
    mask = 'mount --bind /dev/null /proc/cpuinfo && exec unshare --user --map-root-user "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mask, sys.executable, MASKED]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout == "contained\n", ran.stderr


def test_a_killed_launcher_is_the_sandbox_s_failure(open_namespaces):
    with open_namespaces() as sandbox:
        before = children()
        box = sandbox.start(Job(("sh", "-c", "echo begun >&3; sleep 60 & sleep 60")))
        assert box.read_line() == b"begun"
        (launcher,) = descendants_of_starter = set(descendants(sandbox.back_end._launcher.pid)) & before
        os.kill(launcher, signal.SIGKILL)
        outcome = box.wait()
        assert (outcome.end, outcome.detail) == (End.SANDBOX, "the launcher ended")
        assert sandbox.run(Job(("true",))).end is End.SANDBOX
        assert gone(descendants_of_starter)


def test_no_descriptor_is_lost(sandbox):
    def run_all() -> int:
        sandbox.run(Job(("true",), stdin=b"x", files={"f": b""}))
        sandbox.run(Job(("missing",)))
        sandbox.run(Job(("sleep", "9"), limits=Limits(wall_seconds=0.05)))
        return len(list(Path("/proc/self/fd").iterdir()))

    assert run_all() == run_all()
