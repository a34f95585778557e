"""The back ends without namespaces of our own; that of namespaces has test files for itself."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import (
    End,
    Job,
    Limits,
    RefusedError,
    Sandbox,
    bubblewrap,
    kept,
    landlock,
    open_sandbox,
    processes,
    ruleset,
    scratch,
)

WITH_ROOM = Limits(cpu_seconds=20, wall_seconds=60)


def _open(name: str, guest: Path) -> Sandbox:
    try:
        return open_sandbox(name, guest=guest, unsafe=name == "unsafe")
    except RefusedError as refusal:
        pytest.skip(f"needs {name}: {refusal}")


@pytest.fixture(scope="module", params=["bubblewrap", "landlock", "unsafe"])
def other(request, guest) -> Iterator[Sandbox]:
    with _open(request.param, guest) as opened:
        yield opened


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def confined(request, guest) -> Iterator[Sandbox]:
    with _open(request.param, guest) as opened:
        yield opened


def run(sandbox: Sandbox, *command: str, files=None, stdin=b"", **limits):
    return sandbox.run(Job(command, files or {}, stdin, WITH_ROOM.model_copy(update=limits)))


def python(sandbox: Sandbox, code: str, **limits):
    return run(sandbox, "python", "-I", "-S", "-c", textwrap.dedent(code), **limits)


def test_a_command_gets_its_input_files_and_folder(other):
    files = {"a": b"first ", "deep/er/b": b"second "}
    outcome = run(other, "sh", "-c", "cat a deep/er/b -; : > new; ls", files=files, stdin=b"third\n")
    assert (outcome.end, outcome.code) == (End.EXITED, 0), outcome
    assert outcome.stdout == b"first second third\na\ndeep\nnew\n"


def test_home_and_temporary_folder_are_its_own(other):
    outcome = python(
        other,
        """
        import os, tempfile
        with tempfile.TemporaryDirectory() as folder:
            open(folder + "/file", "w").close()
        assert os.path.samefile(os.environ["HOME"], os.getcwd())
        """,
    )
    assert (outcome.code, outcome.stderr) == (0, b"")


def test_exit_statuses_and_signals(other):
    assert run(other, "sh", "-c", "exit 7").code == 7
    assert run(other, "sh", "-c", "kill -SEGV $$").code == -signal.SIGSEGV


def test_a_missing_command_is_the_sandbox_s_failure(other):
    outcome = run(other, "no-such-command")
    assert outcome.end is End.SANDBOX
    assert b"no-such-command" in outcome.stderr or "no-such-command" in outcome.detail


@pytest.mark.parametrize("name", ["landlock", "unsafe"])
def test_a_forked_guest_answers(name, guest):
    with _open(name, guest) as opened:
        box = opened.start(Job(("python", "-m", "guest"), limits=WITH_ROOM))
        box.send(b"import os; os.write(3, b'here\\n')\0")
        assert box.read_line() == b"here"
        assert box.wait().end is End.EXITED


def test_the_package_s_guest_is_found_by_its_name_inside(other):
    box = other.start(Job(("python", "-I", "-S", "/opt/derailleur/guests/python.py"), limits=WITH_ROOM))
    box.send(b'{"mode": "values", "program": "def f(x): return x + 1", "calls": ["f(1)"]}\n')
    assert b'["i", "2"]' in box.wait().report[0]


def test_two_programs_speak_to_each_other(other):
    left, right = socket.socketpair()
    code = "import os; os.write(4, b'{0}'); print(os.read(4, 9).decode())"
    one, two = (
        other.start(Job(("python", "-c", code.format(name)), limits=WITH_ROOM, peer=peer))
        for name, peer in (("one", left), ("two", right))
    )
    assert (one.wait().stdout, two.wait().stdout) == (b"two\n", b"one\n")


def test_time_and_output_are_limited(other):
    assert python(other, "while True: pass", cpu_seconds=1).end is End.TIMEOUT
    assert run(other, "sleep", "60", wall_seconds=0.3).end is End.TIMEOUT
    assert python(other, "while True: print('x' * 999)", output_bytes=10_000).end is End.OUTPUT


def test_processes_are_limited(confined):
    outcome = python(
        confined,
        """
        import os, time
        children = 0
        try:
            while os.fork():
                children += 1
            time.sleep(60)
        except BlockingIOError:
            os.write(1, b"%d\\n" % children)
        """,
        processes=20,
        wall_seconds=2,
    )
    assert 10 <= int(outcome.stdout.split()[0]) <= 20


def test_nothing_of_a_program_stays(other):
    before = set(processes.descendants(os.getpid()))
    folders = set(Path("/tmp").glob("derailleur-*"))
    code = """
        import os, time
        os.makedirs("locked/inner"); os.makedirs("x/" * 300)
        try:
            os.chmod("locked/inner", 0); os.chmod("locked", 0)
        except PermissionError:
            pass
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(600)
                os._exit(0)
        """
    assert python(other, code).end is End.EXITED
    until = time.monotonic() + 5
    while set(processes.descendants(os.getpid())) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert set(processes.descendants(os.getpid())) - before == set()
    assert set(Path("/tmp").glob("derailleur-*")) - folders == set()


def test_a_fork_bomb_is_cleared_away(confined):
    before = set(processes.descendants(os.getpid()))
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    assert python(confined, bomb, processes=40, wall_seconds=0.5).end is End.TIMEOUT
    assert python(confined, "print('well')").stdout == b"well\n"
    assert set(processes.descendants(os.getpid())) - before == set()


def test_no_environment_leaks(confined, guest, monkeypatch):
    monkeypatch.setenv("DERAILLEUR_SECRET", "sesame")
    with _open(confined.back_end.name, guest) as opened:  # started now, with the secret about
        outcome = python(
            opened,
            """
            import glob, os
            print(dict(os.environ))
            for path in glob.glob("/proc/[0-9]*/environ"):
                try:
                    print(path, open(path, "rb").read())
                except OSError as error:
                    print(error)
            """,
        )
    assert outcome.code == 0, outcome
    assert b"PATH" in outcome.stdout
    assert b"sesame" not in outcome.stdout


def test_a_host_s_file_can_be_bound(confined, guest, tmp_path_factory):
    file = tmp_path_factory.mktemp("bound") / "jar"
    file.write_bytes(b"content")
    for folder in (file.parent, file.parent.parent, file.parent.parent.parent):
        folder.chmod(0o755)  # for programs of root, which are other users
    binds = {str(file): "/opt/some.jar"}
    with open_sandbox(confined.back_end.name, guest=guest, binds=binds) as opened:
        assert run(opened, "cat", "/opt/some.jar").stdout == b"content"
    assert run(confined, "cat", str(file)).stdout == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users")
def test_programs_of_root_are_users_of_their_own(guest):
    with _open("landlock", guest) as opened:
        one, two = (opened.start(Job(("sh", "-c", "id -u; read line"), limits=WITH_ROOM)) for _ in range(2))
        users = {one.wait().stdout, two.wait().stdout}
    assert len(users) == 2
    assert all(int(user) >= 0x70000000 for user in users)


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_closing_ends_everything(name, guest):
    before = set(processes.descendants(os.getpid()))
    sandbox = _open(name, guest)
    box = sandbox.start(Job(("sh", "-c", "setsid sleep 60 & echo begun >&3; sleep 60"), limits=WITH_ROOM))
    assert box.read_line() == b"begun"
    sandbox.close()
    assert set(processes.descendants(os.getpid())) - before == set()
    outcome = box.wait()
    assert (outcome.end, outcome.detail) == (End.SANDBOX, "the sandbox was closed while the program ran")
    assert sandbox.run(Job(("true",))).end is End.SANDBOX


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_a_killed_supervisor_takes_everything_along(name, guest):
    _open(name, guest).close()
    program = f"""if True:
        import sys, time
        from pathlib import Path
        from derailleur.evaluation.sandbox import Job, open_sandbox
        sandbox = open_sandbox({name!r}, guest=Path({str(guest)!r}))
        box = sandbox.start(Job(("sh", "-c", "setsid sleep 4321.5 & setsid sleep 4321.5")))
        time.sleep(0.5)
        print("started", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"started\n"
        assert _sleepers() == 2
        supervisor.kill()
    until = time.monotonic() + 5
    while _sleepers() and time.monotonic() < until:
        time.sleep(0.01)
    assert _sleepers() == 0


def _sleepers() -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() == b"sleep\x004321.5\x00"
        except OSError:
            continue
    return found


def test_without_bwrap_bubblewrap_is_refused(monkeypatch):
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda *_, **__: None)
    with pytest.raises(RefusedError, match=r"bwrap is not installed \(package bubblewrap\)"):
        open_sandbox("bubblewrap")


def test_a_kernel_without_landlock_is_refused(monkeypatch):
    monkeypatch.setattr(ruleset, "version", lambda: 0)
    with pytest.raises(RefusedError, match="the kernel has no Landlock"):
        open_sandbox("landlock")


def test_an_older_landlock_is_for_root_alone(monkeypatch):
    monkeypatch.setattr(ruleset, "version", lambda: 5)
    monkeypatch.setattr(landlock.os, "geteuid", lambda: 1000)
    with pytest.raises(RefusedError, match=r"before Linux 6\.12 lets programs signal"):
        open_sandbox("landlock")


def test_a_python_for_root_alone_is_refused(monkeypatch, tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(kept, "PYTHON", str(tmp_path / "python"))
    monkeypatch.setattr(kept, "_is_for_everyone", lambda path: False)
    monkeypatch.setattr(kept.os, "geteuid", lambda: 0)
    with pytest.raises(RefusedError, match="is for root alone"):
        kept.shared_python()


def test_a_folder_is_removed_however_deep_wide_and_locked(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", None)
    here = Path.cwd()
    outside = tmp_path / "outside"
    outside.write_text("stays")
    try:
        with scratch.folder(None) as folder:
            os.chdir(f"{folder}/box")
            Path("link").symlink_to(tmp_path)
            Path("wide").mkdir()
            for number in range(50):
                Path(f"wide/{number}").mkdir()
            for _ in range(700):  # beyond the longest path that can be named
                Path("folder").mkdir()
                os.chdir("folder")
            Path("locked").mkdir()
            Path("locked/file").touch()
            Path("locked").chmod(0)
        assert not Path(folder).exists()
        assert outside.read_text() == "stays"
    finally:
        os.chdir(here)
