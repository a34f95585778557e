"""Sandboxes to test, and tools that a machine may lack: what needs one asks for the fixture of its name."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import Box, Job, Limits, Outcome, RefusedError, Sandbox, open_sandbox

GUEST = """
import os, sys, threading

def main():
    code = b""
    while not code.endswith(b"\\0"):
        code += os.read(3, 1 << 16)
    exec(compile(code[:-1], "program", "exec"), {"__name__": "__main__"})
"""


def _tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return path


@pytest.fixture(scope="session")
def node() -> str:
    """Where node is."""
    return _tool("node", "nodejs")


@pytest.fixture(scope="session")
def java() -> str:
    """Where a JDK's java is."""
    _tool("javac", "default-jdk-headless")
    return _tool("java", "default-jdk-headless")


@pytest.fixture(scope="session")
def bwrap() -> str:
    """Where bubblewrap is."""
    return _tool("bwrap", "bubblewrap")


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warm guest that executes what is sent to it, up to a zero byte."""
    path = tmp_path_factory.mktemp("guest") / "guest.py"
    path.write_text(GUEST)
    return path


@pytest.fixture(scope="session")
def open_namespaces(guest: Path) -> Callable[[], Sandbox]:
    """Opens a sandbox of the back end of namespaces."""
    try:
        open_sandbox("namespaces", guest=guest).close()
    except RefusedError as refusal:
        pytest.skip(f"needs namespaces: {refusal}")
    return lambda: open_sandbox("namespaces", guest=guest)


@pytest.fixture(scope="module")
def sandbox(open_namespaces: Callable[[], Sandbox]) -> Iterator[Sandbox]:
    """A worker of namespaces."""
    with open_namespaces() as opened:
        yield opened


@pytest.fixture
def start_python(sandbox: Sandbox) -> Callable[..., Box]:
    """Starts Python code in a forked guest; further arguments are limits."""

    def start(code: str, **limits) -> Box:
        box = sandbox.start(Job(("python", "-m", "guest"), limits=Limits(**limits)))
        box.send(code.encode() + b"\0")
        return box

    return start


@pytest.fixture
def run_python(start_python: Callable[..., Box]) -> Callable[..., Outcome]:
    """Runs Python code in a forked guest to its end."""
    return lambda code, **limits: start_python(code, **limits).wait()
