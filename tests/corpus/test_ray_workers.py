"""A run on two Ray nodes, of which one is lost in the middle."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from derailleur.corpus import CurateConfig, curate, open_sources
from derailleur.corpus.workers import start_workers
from derailleur.errors import UserError

ray = pytest.importorskip("ray", reason="ray is not installed; pip install 'derailleur[ray]'")

RAY = Path(sys.executable).with_name("ray")
ADDRESS = "127.0.0.1"


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a cluster of two nodes with a core each, and the second one's process."""
    temporary = tmp_path_factory.mktemp("r")
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port = free.getsockname()[1]
    common = ["--num-cpus=1", "--block", "--disable-usage-stats", "--object-store-memory=80000000"]
    head = [
        *(str(RAY), "start", "--head", f"--node-ip-address={ADDRESS}", f"--port={port}", *common),
        *("--include-dashboard=false", f"--temp-dir={temporary}"),
    ]
    second = [str(RAY), "start", f"--address={ADDRESS}:{port}", *common]
    started = [subprocess.Popen(head, stdout=subprocess.DEVNULL, start_new_session=True)]
    try:
        _wait_for_port(port)
        started.append(subprocess.Popen(second, stdout=subprocess.DEVNULL, start_new_session=True))
        _wait_for_nodes(f"{ADDRESS}:{port}", 2)
        yield f"{ADDRESS}:{port}", started[1]
    finally:
        for process in started:
            _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """A node is a group of processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1):
            return
        assert time.monotonic() < deadline, "the head node did not start within a minute"
        time.sleep(0.2)


def _wait_for_nodes(address: str, count: int) -> None:
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    deadline = time.monotonic() + 60
    while len(alive()) < count:
        assert time.monotonic() < deadline, "the second node did not join within a minute"
        time.sleep(0.2)
    ray.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(400):
        path = tmp_path / "source" / f"{number}.py"
        path.parent.mkdir(exist_ok=True)
        lines = (f"value_{line} = function_{number % 300}({line}, {number % 300})" for line in range(80))
        path.write_text("\n".join(lines))
    return tmp_path / "source"


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.slow
def test_a_lost_node_changes_nothing(
    source: Path, nodes: tuple[str, subprocess.Popen], tmp_path: Path
) -> None:
    address, second = nodes
    config = CurateConfig(shard_bytes=30_000)
    here, there = tmp_path / "here", tmp_path / "there"
    curate(config, open_sources([source], config, out=here), here, workers=1)
    lost: list[float] = []

    def progress(label: str, done: float, total: float | None, note: str = "") -> None:
        if label == "judge" and not lost:
            assert len(alive()) == 2, "both nodes took part until here"
            _kill(second)
            lost.append(done)

    curate(config, open_sources([source], config, out=there), there, ray_address=address, progress=progress)
    assert lost
    assert contents(there) == contents(here)


def alive() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"]]


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^--ray 127.0.0.1:9: "):
        start_workers(ray_address="127.0.0.1:9")
