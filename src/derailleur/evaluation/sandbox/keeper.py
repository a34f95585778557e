"""The keeper: the launcher of the back ends that make no namespaces of our own.

For each program it forks a warden, which adopts whatever the program leaves behind and, at the program's
end or when the supervisor says so or is gone, kills and reaps it all. As root the program gets a user id that
no other process has. What else confines it, the settings say. Standard library only.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from derailleur.evaluation.sandbox import (
    confinement,
    inside,
    launcher,
    linux,
    processes,
    root,
    ruleset,
    scratch,
)
from derailleur.evaluation.sandbox.seccomp import filter_program

_AGAIN_SECONDS = 0.001
_SIGNALLED = 128  # what bubblewrap, like a shell, adds to the number of the signal that ended a program
_CLOSED = b"the sandbox was closed while the program ran"
_NOT_STARTED = b"bubblewrap did not start the program; its standard error says why"

Guest = Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How programs are confined.

    Attributes:
        guest: the Python file whose `main` is forked for the guest's command, or None to start our own.
        wrapper: a command that confines the command after it, bubblewrap's; empty for none.
        readable: what Landlock leaves, or None for neither Landlock nor a filter.
        names: paths of the host by the paths that commands use for them.
        private_user: whether programs of root run as users of their own.
    """

    guest: str | None
    wrapper: list[str]
    readable: list[str] | None
    names: dict[str, str]
    private_user: bool

    def as_json(self) -> dict[str, Any]:
        """As the keeper is told of it."""
        return asdict(self)


def main() -> None:
    """Be the keeper, told what to do on the socket that is standard input."""
    control = launcher.open_control()
    settings = Settings(**json.loads(control.recv(1 << 16)))
    try:
        guest = launcher.import_guest(settings.guest)
    except Exception as error:
        control.send(f"the guest cannot be imported: {error}".encode())
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the wardens
    control.send(launcher.READY)
    while True:
        message, received, *_ = socket.recv_fds(control, 1 << 18, 16)
        if not message:
            break
        if os.fork() == 0:
            _guard(launcher.parse(message, received), control, settings, guest)
        for descriptor in received:
            os.close(descriptor)
    with contextlib.suppress(ChildProcessError):
        os.wait()  # for all of them, since they are not reaped here
    os._exit(0)


def _guard(request: inside.Request, control: socket.socket, settings: Settings, guest: Guest) -> NoReturn:
    """Be the warden of one program until nothing of it is left."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    linux.adopt_orphans()
    life = socket.socket(fileno=request.life)
    socket.send_fds(life, [launcher.PIDFD], [os.pidfd_open(os.getpid())])
    user = launcher.FIRST_USER + os.getpid() if settings.private_user else None
    status, inner_status = os.pipe()
    with contextlib.nullcontext("") if settings.wrapper else scratch.folder(user) as folder:
        program = os.fork()
        if program == 0:
            _become_program(request, settings, guest, user=user, folder=folder, status=inner_status)
        for descriptor in (inner_status, *request.standard, *([request.files] if request.files else [])):
            os.close(descriptor)
        events = select.poll()
        events.register(os.pidfd_open(program), select.POLLIN)
        events.register(life, select.POLLIN)  # asked to end it, or the supervisor is gone
        events.register(control, 0)  # the other end is closed
        closed = control.fileno() in dict(events.poll())
        code, cpu_seconds, memory_bytes = _end(program)
    with contextlib.suppress(OSError):  # the supervisor is gone
        if closed:
            life.send(inside.FAILED + _CLOSED)
        elif settings.wrapper:
            code = _SIGNALLED - code if code > _SIGNALLED else code
            started = code < 0 or b"exit-code" in os.read(status, 1 << 16)
            life.send(inside.STARTED if started else inside.FAILED + _NOT_STARTED)
        life.send(launcher.ENDED + json.dumps([code, cpu_seconds, memory_bytes]).encode())
    os._exit(0)


def _end(program: int) -> tuple[int, float, int]:
    """Kill what is left of a program, and reap it.

    Returns:
        Its exit status, the processor time of all its processes in seconds, the largest resident size in
        bytes.
    """
    own = os.getpid()
    # Nothing is reaped meanwhile: the dead still count as processes, so that a fork bomb runs out of them.
    while living := [pid for pid in processes.descendants(own) if not processes.has_ended(pid)]:
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_AGAIN_SECONDS)
    code, cpu_seconds, memory_bytes = 0, 0.0, 0
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, wait_status, usage = os.wait4(-1, 0)
            cpu_seconds += usage.ru_utime + usage.ru_stime
            memory_bytes = max(memory_bytes, usage.ru_maxrss * 1024)
            if pid == program:
                code = os.waitstatus_to_exitcode(wait_status)
    return code, cpu_seconds, memory_bytes


def _become_program(
    request: inside.Request, settings: Settings, guest: Guest, *, user: int | None, folder: str, status: int
) -> NoReturn:
    """Turn this fresh child of the warden into the program, or into the wrapper that starts it."""
    num_standard = len(request.standard)
    life, status_at, files_at = num_standard, num_standard + 1, num_standard + 2
    passed = [*request.standard, request.life, status, *([] if request.files is None else [request.files])]
    files = None if request.files is None else files_at
    try:
        confinement.arrange_descriptors(passed, inherited=num_standard)
        os.setsid()
        if user is not None:
            launcher.become(user)
        linux.die_with_parent()
        if settings.wrapper:
            command = _wrapped(request, settings, files=files, status=status_at)
            confinement.limit_resources(request.limits)
            inside.execute(command, life)
        os.close(status_at)
        _settle(folder, files)
        confinement.limit_resources(request.limits)
        if settings.readable is not None:
            ruleset.restrict(settings.readable, writable=(f"{folder}/box", f"{folder}/tmp"))
            linux.install_filter(filter_program(namespaces=False))
        os.write(life, inside.STARTED)
    except OSError as error:
        inside.fail(life, f"confining the program: {error}")
    if guest is not None and request.command == inside.FORKED:
        os.close(life)
        inside.run_guest(guest)
    names = settings.names | {root.ENVIRONMENT["HOME"]: f"{folder}/box"}
    inside.execute([_translated(part, names) for part in request.command], life)


def _settle(folder: str, files: int | None) -> None:
    """Move into the program's folder, and unpack its files there."""
    os.chdir(f"{folder}/box")
    os.environ["HOME"], os.environ["TMPDIR"] = f"{folder}/box", f"{folder}/tmp"
    os.environ["PATH"] = f"{folder}/bin:{root.PATH}"
    if files is not None:
        inside.write_files(files)


def _translated(part: str, names: dict[str, str]) -> str:
    for inner, host in names.items():
        part = part.replace(inner, host)
    return part


def _wrapped(request: inside.Request, settings: Settings, *, files: int | None, status: int) -> list[str]:
    """A wrapper's command line, with what it copies into the box."""
    command = request.command
    if command == inside.FORKED:
        command = ["python", "-I", "-S", f"{root.GUESTS}/python.py"]
    os.set_inheritable(status, True)
    box, disk_bytes = root.ENVIRONMENT["HOME"], str(request.limits["disk_bytes"])
    options = ["--json-status-fd", str(status), "--seccomp", str(_in_memory(filter_program()))]
    for path, text in root.FILES.items():
        options += ["--ro-bind-data", str(_in_memory(text.encode())), path]
    for folder in ("/tmp", "/dev/shm"):
        options += ["--size", disk_bytes, "--tmpfs", folder]
    options += ["--dir", box, "--chdir", box]
    if files is not None:
        with open(files, "rb") as stream:
            for path, size in json.loads(stream.readline()):
                options += ["--perms", "0644", "--file", str(_in_memory(stream.read(size))), f"{box}/{path}"]
    return [*settings.wrapper, *options, "--remount-ro", "/", "--", *command]


def _in_memory(content: bytes) -> int:
    """A file without a name, at its start, that an executed program inherits."""
    descriptor = os.memfd_create("input", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
