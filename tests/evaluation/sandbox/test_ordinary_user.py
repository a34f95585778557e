"""The sandbox of a user without privileges, and of one who may not even make namespaces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEM_PYTHON = "/usr/bin/python3"

# As root: become nobody when all is imported, since nobody may not read where our own Python is installed.
PROGRAM = """
import os, socket, sys
from pathlib import Path
from derailleur.evaluation.sandbox import Box, End, Job, Limits, Outcome, Sandbox, open_sandbox
from derailleur.evaluation.sandbox import box, launched, namespaces

if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    launched.Launched.__init__.__kwdefaults__["python"] = sys.argv[1]
with open_sandbox("namespaces") as sandbox:
    def run(command, **limits):
        return sandbox.run(Job(("sh", "-c", command), limits=Limits(**limits)))
    look = "id -u; grep Cap.*:.*[1-9a-f] /proc/self/status; ls /tmp; echo $$"
    outcome = run(look + "; cat /etc/shadow; echo x > /usr/x")
    assert outcome.stdout == b"1000\\nbox\\n1\\n", outcome
    assert b"No such file" in outcome.stderr and b"Read-only" in outcome.stderr, outcome
    spawn = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo done"
    outcome = run(spawn, processes=6, wall_seconds=10)
    assert b"fork" in outcome.stderr and outcome.wall_seconds < 5, outcome
    grow = "import os, time; os.fork(); os.fork(); x = bytearray(b'x') * (60 << 20); time.sleep(9)"
    outcome = sandbox.run(Job(("python", "-c", grow), limits=Limits(memory_bytes=100 << 20)))
    assert outcome.end is End.MEMORY, outcome
    assert run("sleep 60 & sleep 60 & exit 3").code == 3
    assert run("sleep 60", wall_seconds=0.2).end is End.TIMEOUT
print("contained")
"""


@pytest.fixture(scope="module")
def system_python() -> str:
    """A Python that every user can run."""
    version = subprocess.run([SYSTEM_PYTHON, "--version"], capture_output=True, text=True, check=False)
    if version.returncode != 0 or version.stdout < "Python 3.11":
        pytest.skip(f"needs {SYSTEM_PYTHON} of at least 3.11")
    return SYSTEM_PYTHON


def test_an_ordinary_user_s_programs_are_contained(open_namespaces, system_python):
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 1 for folder in Path(__file__).parents):
        pytest.skip("nobody may not read this folder")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, system_python], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "contained\n", ran.stderr
