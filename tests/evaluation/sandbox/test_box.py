"""One program and the supervisor's side of it: streams, channel, files, limits, ends."""

import hashlib
import os
import signal
import socket

import pytest

from derailleur.evaluation.sandbox import End, Job, RefusedError, open_sandbox


def test_a_command_gets_its_input_files_and_folder(sandbox):
    files = {"main.txt": b"main", "deep/er/file": bytes(range(256)) * 1000}
    command = ("sh", "-c", "pwd; cat main.txt; wc -c < deep/er/file; cat; echo no >&2; exit 7")
    outcome = sandbox.run(Job(command, files=files, stdin=b"input"))
    assert outcome.end is End.EXITED
    assert outcome.code == 7
    assert outcome.stdout == b"/tmp/box\nmain256000\ninput"
    assert outcome.stderr == b"no\n"


def test_long_input_is_read_however_slowly(sandbox):
    content = os.urandom(3 << 20)
    outcome = sandbox.run(Job(("sh", "-c", "sleep 0.1; md5sum"), stdin=content))
    assert outcome.stdout.split()[0].decode() == hashlib.md5(content).hexdigest()


def test_input_cannot_be_changed_or_grown(run_python, sandbox):
    code = "echo more >> /proc/self/fd/0; cat"
    outcome = sandbox.run(Job(("sh", "-c", code), stdin=b"input\n"))
    assert outcome.stdout == b"input\n"


def test_without_input_there_is_none(sandbox):
    assert sandbox.run(Job(("cat",))).stdout == b""


def test_a_folder_of_one_run_is_new_in_the_next(sandbox):
    write = ("sh", "-c", "echo x > left; echo x > /dev/shm/left; ls /tmp/box /dev/shm")
    assert b"left" in sandbox.run(Job(write)).stdout
    assert sandbox.run(Job(("ls", "/tmp/box", "/dev/shm"))).stdout == b"/dev/shm:\n\n/tmp/box:\n"


def test_a_signal_is_a_negative_code(sandbox, run_python):
    outcome = run_python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert outcome.code == 0  # process 1 of a box is not ended by its own signals
    outcome = run_python("import ctypes; ctypes.string_at(0)")
    assert (outcome.end, outcome.code) == (End.EXITED, -signal.SIGSEGV)


@pytest.mark.parametrize(
    ("code", "expected"), [("exit()", 0), ("exit(3)", 3), ("exit('words')", 1), ("1 / 0", 1), ("pass", 0)]
)
def test_a_guest_ends_as_a_program_does(run_python, code, expected):
    outcome = run_python(f"import sys; exit = sys.exit\n{code}")
    assert (outcome.end, outcome.code) == (End.EXITED, expected)


def test_what_a_guest_printed_is_there_when_it_fails(run_python):
    outcome = run_python("print('before'); raise KeyError('key')")
    assert outcome.stdout == b"before\n"
    assert outcome.stderr.endswith(b"KeyError: 'key'\n")
    assert b"derailleur/evaluation" not in outcome.stderr


def test_a_missing_interpreter_is_the_sandbox_s_failure(sandbox):
    outcome = sandbox.run(Job(("no-such-interpreter", "x")))
    assert outcome.end is End.SANDBOX
    assert outcome.detail.startswith("no-such-interpreter: not found in the sandbox")


def test_files_outside_of_the_folder_are_the_sandbox_s_failure(sandbox):
    outcome = sandbox.run(Job(("true",), files={"/usr/there": b""}))
    assert outcome.end is End.SANDBOX
    assert outcome.detail == "setting up the box: /usr/there: read-only file system"


def test_a_guest_is_asked_and_answers(sandbox):
    asked = []

    def reply(line: bytes) -> bytes | None:
        asked.append(line)
        return b"again\n" if len(asked) < 3 else None

    code = "while read line <&3; do echo got $line >&3; test $line = last && exit; done"
    box = sandbox.start(Job(("sh", "-c", f"{code}")))
    box.send(b"first\n")
    outcome = box.wait(lambda line: b"last\n" if line == b"got first" else None)
    assert outcome.report == (b"got first", b"got last")


def test_lines_are_read_as_they_come(start_python):
    box = start_python(
        "import os\nfor i in range(3): os.write(3, b'%d\\n' % i); os.read(3, 1)\nos.write(3, b'torn')"
    )
    for number in range(3):
        assert box.read_line() == str(number).encode()
        assert box.read_line(timeout=0.01) is None
        box.send(b".")
    assert box.read_line() is None
    assert box.wait().report == ()


def test_neither_side_waits_for_the_other(start_python):
    box = start_python("""
import os, time
os.write(3, b"begun\\n")
print("x" * 900_000)
os.write(3, b"y\\n" * 400_000)
time.sleep(0.2)
""")
    assert box.read_line() == b"begun"
    box.send(b"z" * (8 << 20))
    outcome = box.wait()
    assert (outcome.end, outcome.code) == (End.EXITED, 0)
    assert len(outcome.stdout) == 900_001
    assert len(outcome.report) == 400_000


def test_a_program_that_closes_everything_still_ends(run_python):
    outcome = run_python("import os, time\nfor i in range(4): os.close(i)\ntime.sleep(0.1); os._exit(5)")
    assert (outcome.end, outcome.code) == (End.EXITED, 5)


def test_processor_time_ends_a_loop(run_python):
    outcome = run_python("while True: pass", cpu_seconds=1)
    assert outcome.end is End.TIMEOUT
    assert outcome.cpu_seconds < 2


def test_the_wall_clock_ends_a_sleep(run_python):
    outcome = run_python("import time; print('slept', flush=True); time.sleep(60)", wall_seconds=0.3)
    assert outcome.end is End.TIMEOUT
    assert outcome.stdout == b"slept\n"
    assert outcome.wall_seconds < 10


def test_endless_output_is_cut(run_python):
    outcome = run_python("while True: print('x' * 1000)", output_bytes=5000)
    assert outcome.end is End.OUTPUT
    assert len(outcome.stdout) == 5000
    assert run_python("print('x' * 4999)", output_bytes=5000).end is End.EXITED


@pytest.mark.parametrize("data", ["b'x'", "b'x\\n'"])
def test_an_endless_report_is_cut(run_python, data):
    outcome = run_python(f"import os\nwhile True: os.write(3, {data} * 500)", report_bytes=100_000)
    assert outcome.end is End.OUTPUT


def test_one_process_cannot_take_more_memory_than_allowed(run_python):
    outcome = run_python("x = bytearray(300 << 20)", memory_bytes=200 << 20)
    assert (outcome.end, outcome.code) == (End.EXITED, 1)
    assert outcome.stderr.endswith(b"MemoryError\n")


def test_many_processes_cannot_either(run_python):
    code = "import os, time\nfor i in range(3): os.fork()\nx = b'x' * (60 << 20); time.sleep(5)"
    outcome = run_python(code, memory_bytes=100 << 20)
    assert outcome.end is End.MEMORY


def test_killed_from_outside(start_python):
    box = start_python("import time; time.sleep(60)")
    box.kill()
    outcome = box.wait()
    assert (outcome.end, outcome.code) == (End.EXITED, -signal.SIGKILL)
    assert box.wait() is outcome
    box.kill()


def test_two_programs_speak_to_each_other(sandbox):
    left, right = socket.socketpair()
    asker = sandbox.start(Job(("sh", "-c", "echo question >&4; read answer <&4; echo $answer"), peer=left))
    answerer = sandbox.start(Job(("sh", "-c", "read line <&4; echo $line was asked >&4"), peer=right))
    assert asker.wait().stdout == b"question was asked\n"
    assert answerer.wait().code == 0


def test_many_boxes_live_at_once(start_python):
    boxes = [start_python(f"import time; time.sleep(0.2); print({number})") for number in range(8)]
    assert [box.wait().stdout for box in boxes] == [f"{number}\n".encode() for number in range(8)]


def test_an_outcome_says_what_was_used(run_python):
    outcome = run_python("x = bytearray(50 << 20)\nsum(range(10**7))\nimport time; time.sleep(0.2)")
    assert 0.02 < outcome.cpu_seconds < 5
    assert outcome.wall_seconds > outcome.cpu_seconds / 2 + 0.1
    assert outcome.memory_bytes > 50 << 20


def test_node_and_java_run(sandbox, node, java):
    assert sandbox.run(Job(("node", "-e", "console.log(6 * 7)"))).stdout == b"42\n"
    outcome = sandbox.run(Job(("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-version")))
    assert (outcome.end, outcome.code) == (End.EXITED, 0)


def test_a_host_s_file_can_be_bound(tmp_path, open_namespaces):
    shared = tmp_path / "shared.txt"
    shared.write_text("shared")
    with open_sandbox("namespaces", binds={str(shared): "/opt/given/shared.txt"}) as sandbox:
        outcome = sandbox.run(Job(("sh", "-c", "cat /opt/given/shared.txt; echo x > /opt/given/shared.txt")))
    assert outcome.stdout == b"shared"
    assert outcome.code != 0
    assert shared.read_text() == "shared"


def test_an_unknown_back_end_is_refused():
    with pytest.raises(ValueError, match="unknown back end 'chroot', expected one of namespaces, bubblewrap"):
        open_sandbox("chroot")
    with pytest.raises(ValueError, match="unknown back end 'unsafe'"):
        open_sandbox("unsafe")


def test_a_program_goes_on_while_another_is_waited_for(start_python):
    talker = start_python("print('x' * 500_000); import os; os.write(3, b'done\\n'); os.read(3, 1)")
    idler = start_python("import time; time.sleep(60)", wall_seconds=0.3)
    sleeper = start_python("import time; time.sleep(0.6); print('slept')")
    assert sleeper.wait().stdout == b"slept\n"
    assert idler.wait().wall_seconds < 0.6
    assert talker.read_line(timeout=0) == b"done"
    talker.send(b".")
    assert len(talker.wait().stdout) == 500_001


def test_a_guest_that_cannot_be_forked_is_refused_in_one_line(open_namespaces, tmp_path):
    for text, expected in (
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
            "def main(): pass",
            "RuntimeError: the guest started a thread when it was imported",
        ),
    ):
        (tmp_path / "guest.py").write_text(text)
        with pytest.raises(RefusedError) as refused:
            open_sandbox("namespaces", guest=tmp_path / "guest.py")
        assert str(refused.value) == f"no sandbox works here: namespaces: {expected}"
