"""The launcher: a small process, one a worker, that clones a box for each program.

It is started with the environment of a box and nothing else of the host, moves into a root, network and
process namespaces of its own, gives up root, imports the warm guest, and then serves. Of a job it sees the
command, the limits and the descriptors, never contents: a forked program can read all of its memory.

It ends, and every box with it, when the supervisor's end of the control socket closes: it is process 1 of its
process namespace. A parent-death signal would not do: it follows the thread that started the launcher.

Standard library only.
"""

import contextlib
import fcntl
import gc
import importlib.util
import json
import os
import select
import socket
from collections.abc import Callable

from derailleur.evaluation.sandbox import inside, linux, root
from derailleur.evaluation.sandbox.seccomp import filter_program

READY = b"ready"
PIDFD = b"pidfd"
ENDED = b"ended "

_FIRST_FREE = 8
"""Received descriptors are at least this, so that they can become 0, 1, 2, ... in any order."""

FIRST_USER = 0x70000000
"""Far above the users of any machine; a worker's is this and its process id, so no two are the same."""

_OWN = (
    linux.CLONE_NEWNS
    | linux.CLONE_NEWNET
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWCGROUP
)
_BOX = linux.CLONE_NEWUSER | linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWIPC


def main() -> None:
    """Be the launcher, told what to do on the socket that is standard input."""
    control = open_control()
    settings = json.loads(control.recv(1 << 16))
    try:
        private_user = _isolate()
        if launcher := os.fork():
            control.close()
            os.waitpid(launcher, 0)
            os._exit(0)
        _survive_oom()
        socket.sethostname("box")
        root.enter(settings["binds"])
        if private_user is not None:
            become(private_user)
        linux.die_with_parent()
        guest = import_guest(settings["guest"])
        if len(os.listdir("/proc/self/task")) > 1:  # see `linux.clone`
            raise RuntimeError("the guest started a thread when it was imported")
        program_filter = filter_program()
    except Exception as error:
        trouble = linux.told(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        control.send(trouble.encode())
        os._exit(1)
    gc.collect()
    gc.freeze()
    user, group = os.getuid(), os.getgid()
    control.send(READY)
    request = _serve(control)
    control.detach()
    inside.become_program(
        request, outer_user=user, outer_group=group, filter_program=program_filter, guest=guest
    )


def open_control() -> socket.socket:
    """The control socket, moved away from the numbers that programs use for theirs."""
    control = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(_FIRST_FREE):
        os.dup2(null, number)
    return control


def _isolate() -> int | None:
    """Leave the host's namespaces; a child process will be in a process namespace of its own.

    Returns:
        As root, the user to become when the mounts are made; None for an ordinary user, who is
        root in a user namespace.
    """
    os.umask(0o022)
    if os.geteuid() == 0 and _whole_machine():
        linux.unshare(_OWN, "namespaces of the worker")
        return FIRST_USER + os.getpid()
    user, group = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER, "a user namespace (sysctl user.max_user_namespaces)")
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(line)
    linux.unshare(_OWN, "namespaces of the worker")
    return None


def _whole_machine() -> bool:
    """Whether all user ids exist here; in a container with few, root is but an ordinary user outside."""
    with open("/proc/self/uid_map") as stream:
        return stream.read().split() == ["0", "0", "4294967295"]


def become(user: int) -> None:
    """Be nobody that the machine knows, so that limits hold, which the kernel does not apply to root."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    linux.set_dumpable()


def _survive_oom() -> None:
    """Be no victim where memory runs out: boxes are. Only root may say so.

    By the file's former name, which, unlike `oom_score_adj`, leaves alone what score a box may fall back to.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_adj", "w") as stream:
        stream.write("-17")


def import_guest(path: str | None) -> Callable[[], None] | None:
    """The `main` of a Python file, imported here once so that a forked box starts with it."""
    if path is None:
        return None
    spec = importlib.util.spec_from_file_location("guest", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[], None] = module.main
    return main


def _serve(control: socket.socket) -> inside.Request:
    """Start boxes and tell of their ends until the supervisor is gone. Returns in each new box."""
    ready = select.poll()
    ready.register(control, select.POLLIN)
    boxes: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    while True:
        for descriptor, _ in ready.poll():
            if descriptor in boxes:
                ready.unregister(descriptor)
                _tell_end(descriptor, *boxes.pop(descriptor))
                continue
            message, received, *_ = socket.recv_fds(control, 1 << 18, 16)
            if not message:
                os._exit(0)
            request = parse(message, received)
            started = _start(request)
            if started is None:
                return request
            for passed in received[1:]:
                os.close(passed)
            pid, pidfd, life = started
            if pid:
                boxes[pidfd] = (pid, life)
                ready.register(pidfd, select.POLLIN)


def parse(message: bytes, received: list[int]) -> inside.Request:
    values = json.loads(message)
    life, *rest = received
    files = rest.pop(0) if values["files"] else None
    return inside.Request(values["command"], values["limits"], life, files, rest)


def _start(request: inside.Request) -> tuple[int, int, socket.socket] | None:
    """Clone a box.

    Returns:
        Its process id, its pidfd and its life socket, the id 0 where the kernel refused; None in the box.
    """
    life = socket.socket(fileno=request.life)
    try:
        pid, pidfd = linux.clone(_BOX)
    except OSError as error:
        life.send(inside.FAILED + linux.told(error).encode())
        life.close()
        return 0, -1, life
    if pid == 0:
        life.detach()
        return None
    socket.send_fds(life, [PIDFD], [pidfd])
    return pid, pidfd, life


def _tell_end(pidfd: int, pid: int, life: socket.socket) -> None:
    _, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    code = os.waitstatus_to_exitcode(status)
    ended = [code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]
    with contextlib.suppress(OSError):  # the supervisor no longer cares
        life.send(ENDED + json.dumps(ended).encode())
    life.close()
