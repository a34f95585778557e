"""The hostile suite: that it finds what is not contained, and that our back ends contain it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from derailleur.cli.main import main
from derailleur.evaluation.sandbox import End, Outcome, RefusedError, Sandbox, open_sandbox
from derailleur.evaluation.sandbox import selftest as module
from derailleur.evaluation.sandbox.bait import laid_out
from derailleur.evaluation.sandbox.hostile import CASES, Case, Language
from derailleur.evaluation.sandbox.selftest import Finding, selftest

BY_NAME = {case.name: case for case in CASES}
QUICK = (
    *("daemon", "kill-all", "kill-neighbour", "allocate", "fill-shm", "endless-output", "unread-input"),
    *("read-host", "memory-of-others", "other-descriptors", "change-host", "leave-files", "find-left-files"),
    *(
        "tcp",
        "abstract-socket",
        "file-socket",
        "mount",
        "unshare",
        "ptrace",
        "capabilities",
        "sh-environment",
    ),
)


def _opener(name: str) -> Callable[[], Sandbox]:
    try:
        open_sandbox(name).close()
    except RefusedError as refusal:
        pytest.skip(f"needs {name}: {refusal}")
    return lambda: open_sandbox(name)


def _findings(results) -> dict[str, str]:
    return {result.case: result.why for result in results if result.finding is Finding.ESCAPED}


@pytest.mark.parametrize("name", ["namespaces", "bubblewrap", "landlock"])
def test_hostile_programs_are_contained(name):
    results = list(selftest(_opener(name), cases=[BY_NAME[case] for case in QUICK]))
    assert _findings(results) == {}
    assert {result.back_end for result in results} == {name}
    assert len(results) > len(QUICK) + 2  # the forked ones, a neighbour and the remains


@pytest.mark.slow
@pytest.mark.parametrize("name", ["namespaces", "bubblewrap", "landlock"])
def test_all_hostile_programs_are_contained(name):
    results = list(selftest(_opener(name)))
    assert _findings(results) == {}
    unclaimed = {result.case for result in results if result.finding is Finding.UNCLAIMED}
    assert unclaimed <= {case.name for case in CASES if name in case.unclaimed}


# As root: become nobody when all is imported, since nobody may not read where our own Python is installed.
ORDINARY = """
import os, sys
from derailleur.evaluation.sandbox import kept, launched, namespaces, open_sandbox
from derailleur.evaluation.sandbox import box, bubblewrap, landlock
from derailleur.evaluation.sandbox.selftest import Finding, selftest

if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    kept.PYTHON = sys.argv[2]
    launched.Launched.__init__.__kwdefaults__["python"] = sys.argv[2]
for result in selftest(lambda: open_sandbox(sys.argv[1])):
    if result.finding is Finding.ESCAPED:
        print(result.case, result.why)
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["namespaces", "bubblewrap", "landlock"])
def test_they_are_contained_for_an_ordinary_user(name):
    _opener(name)
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    if os.geteuid() == 0 and not Path(python).exists():
        pytest.skip(f"needs {python}, which every user can run")
    ran = subprocess.run(
        [sys.executable, "-c", ORDINARY, name, python], capture_output=True, text=True, check=False, cwd="/"
    )
    assert ran.stdout == "done\n", ran.stderr


def test_without_a_sandbox_they_are_not():
    harmless = ("memory-file", "read-host", "environment", "memory-of-others", "tcp", "udp", "netlink")
    sockets = ("abstract-socket", "file-socket", "datagram-pair")
    names = (*harmless, *sockets, "kill-neighbour", "capabilities")
    results = list(selftest(lambda: open_sandbox("unsafe", unsafe=True), cases=[BY_NAME[n] for n in names]))
    found = _findings(results)
    assert set(names) - set(found) <= (set() if os.geteuid() == 0 else {"capabilities"})
    assert found["environment"] == found["environment, forked"] == "found the secret"
    assert "connected to tcp" in found["tcp"]
    assert "remains" not in found


def test_harmful_programs_are_left_out_without_a_sandbox():
    cases = [BY_NAME["fork-bomb"], BY_NAME["kill-all"], BY_NAME["own-environment"]]
    results = selftest(lambda: open_sandbox("unsafe", unsafe=True), cases=cases)
    assert [result.case for result in results] == ["own-environment", "remains"]


def test_the_suite_is_large_and_its_names_are_unique():
    assert len(BY_NAME) == len(CASES) > 90
    counts = {language: sum(case.language is language for case in CASES) for language in Language}
    assert all(count >= 3 for count in counts.values()), counts
    for case in CASES:
        if case.language is Language.PYTHON:
            compile(case.program, case.name, "exec")


@pytest.fixture
def bait():
    with laid_out() as laid:
        yield laid


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome(End.EXITED, stdout=b"refused"), None),
        (Outcome(End.EXITED, stdout=b"refused\nescaped: all"), "escaped: all"),
        (Outcome(End.EXITED, stderr=b"SyntaxError"), "failed for another reason: SyntaxError"),
        (Outcome(End.TIMEOUT, stdout=b"refused"), "ended by timeout: refused"),
        (Outcome(End.SANDBOX, detail="no launcher"), "the sandbox failed: no launcher"),
        (Outcome(End.EXITED, stdout=b"refused", wall_seconds=99), "ran for 99.0 s"),
        (Outcome(End.EXITED, stdout=b"refused", memory_bytes=1 << 30), "took 1024 MiB"),
        (Outcome(End.EXITED, report=(b"refused\x1b[2J\xff",), code=1), None),
        (Outcome(End.EXITED, stdout=b"escaped\x1b[2J\xff"), "escaped?[2J\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_counts_as_contained(outcome, problem, bait):
    case = Case("some", "tries", "", seen="refused")
    assert module._problems(case, outcome, bait) == ([] if problem is None else [problem])


def test_the_secret_is_found_wherever_it_is_said(bait):
    case = Case("some", "tries", "")
    for outcome in (
        Outcome(End.EXITED, stdout=bait.secret.encode()),
        Outcome(End.EXITED, stderr=b"x" + bait.secret.encode()),
        Outcome(End.EXITED, report=(b"1", b"<" + bait.secret.encode())),
    ):
        assert module._problems(case, outcome, bait) == ["found the secret"]


def test_bait_that_was_touched_shows():
    with laid_out() as laid:
        assert laid.touched() == []
        laid.file.chmod(0o600)
        assert laid.touched() == ["changed a file of the host"]
        laid.file.chmod(0o666)
        (laid.folder / "new").touch()
        assert laid.touched() == ["changed a file of the host"]
        (laid.folder / "new").unlink()
        laid.victim.kill()
        laid.victim.wait()
        assert laid.touched() == ["killed a process of the host"]
        assert laid.secret not in json.dumps(laid.described())
        assert os.environ["DERAILLEUR_BAIT"] == laid.secret
    assert "DERAILLEUR_BAIT" not in os.environ


class _Broken:
    """A sandbox in which nothing works after the first program."""

    def __init__(self) -> None:
        self.runs = 0
        self.back_end = self
        self.name = "broken"

    def run(self, job, reply=None):
        self.runs += 1
        return Outcome(End.EXITED, stdout=b"seen") if self.runs == 1 else Outcome(End.SANDBOX, detail="dead")

    def close(self) -> None:
        pass


def test_a_program_that_breaks_the_sandbox_is_not_contained():
    opened = []

    def open_broken():
        opened.append(_Broken())
        return opened[-1]

    case = Case("some", "tries", "", seen="seen")
    results = list(selftest(open_broken, cases=[case, replace(case, unclaimed=("broken",))]))
    assert len(opened) > 2
    assert results[0].finding is Finding.ESCAPED
    assert results[0].why == "an honest program failed: sandbox, dead"
    assert results[1].finding is Finding.UNCLAIMED


def test_a_process_that_outlives_the_sandbox_is_found(monkeypatch):
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.1)
    left = []

    class Leaving(_Broken):
        def run(self, job, reply=None):
            if not left:
                left.append(subprocess.Popen(["sleep", "600"]))
            return Outcome(End.EXITED, stdout=b"74\n")

    try:
        results = list(selftest(Leaving, cases=[Case("some", "tries", "")]))
    finally:
        for process in left:
            process.kill()
            process.wait()
    found = _findings(results)
    assert found["some"].startswith("1 processes left")
    assert found["remains"] == "1 processes left"


def test_missing_tools_are_skipped(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    results = list(selftest(_Broken, cases=[Case("some", "tries", "", language=Language.JAVA)]))
    assert (results[0].finding, results[0].why) == (Finding.SKIPPED, "java is not installed")


def test_the_command_prints_a_table_and_fails_with_the_suite(monkeypatch, capsys):
    results = [
        module.Result("namespaces", "one", "tries [this]", Finding.CONTAINED, "refused", 0.1),
        module.Result("namespaces", "two", "tries that", Finding.ESCAPED, "escaped: all", 0.1),
    ]
    monkeypatch.setattr("derailleur.cli.sandbox.selftest", lambda open_sandbox: iter(results))
    assert main(["sandbox", "selftest"]) == 1
    printed = capsys.readouterr()
    assert "tries [this]" in printed.out
    assert "1 contained, 1 not contained" in printed.out
    assert "two: not contained" in printed.err
    assert main(["sandbox", "selftest", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["finding"] == "contained"
    del results[1]
    assert main(["sandbox", "selftest"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sandbox"], "sandbox: a task is missing, expected selftest"),
        (["sandbox", "other"], "sandbox: unknown task 'other', expected selftest"),
        (["sandbox", "selftest", "--backend", "other"], "unknown back end 'other'"),
        (["sandbox", "selftest", "--backend", "unsafe"], "unknown back end 'unsafe'"),
        (["sandbox", "selftest", "--unsafe"], "unrecognized arguments: --unsafe"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_sandbox_imports_neither_torch_nor_numpy():
    code = (
        "import sys; import derailleur.cli.sandbox;"
        "print([name for name in ('torch', 'numpy', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
