"""A random supernet with a Hugging Face tokenizer, served by the real command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from derailleur.engine import Engine
from derailleur.model import (
    Decoder,
    save_model,
)
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, Presets
from derailleur.tokens import Tokenizer

NAME = "tiny"
PRESETS = {"full": "FFFF", "balanced": "FSKG", "fast": "GGGG"}
TEMPLATE = """{% for message in messages %}
{{ message.role }}: {{ message.content }}{{ eos_token }}
{% endfor %}
assistant: """


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All tests here are of the mark `clients`: they need packages that the others do not."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def folder(make_supernet: Callable[..., Decoder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder: four layers with all mixers, a tokenizer, a chat template, three presets."""
    folder = tmp_path_factory.mktemp("run") / NAME / "model"
    folder.mkdir(parents=True)
    tokenizer = Tokenizer.train([Path(json.__file__).read_text(encoding="utf-8")], vocab_size=400)
    tokenizer.save(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    save_model(make_supernet(tokenizer.vocab_size, max_positions=1024, tie_embeddings=False), folder)
    Presets([Preset(name=name, placement=Placement(letters)) for name, letters in PRESETS.items()]).save(
        folder
    )
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def engine(folder: Path, tokenizer: Tokenizer) -> Engine:
    """What the server should say, computed here."""
    return Engine(folder, tokenizer)


@dataclass
class Served:
    """A running `derailleur serve`."""

    address: str
    process: subprocess.Popen[str]
    stderr: Path

    @property
    def endpoint(self) -> tuple[str, int]:
        """For sockets."""
        url = httpx.URL(self.address)
        return url.host, url.port or 80

    @property
    def health(self) -> dict[str, Any]:
        """What the engine is busy with."""
        return httpx.get(f"{self.address}/health", timeout=30).json()

    @property
    def rss_bytes(self) -> int:
        """Memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"did not happen in {seconds} seconds: {self.health}"
            time.sleep(0.02)

    def until_idle(self, seconds: float = 20) -> None:
        """Wait until nothing runs and nothing is held for anybody."""

        def idle() -> bool:
            health = self.health
            held = sum(health["state_bytes"].values()) + health["running"] + health["waiting"]
            return held == 0 and set(self.in_flight.values()) <= {0.0}

        self.until(idle, seconds)

    @property
    def in_flight(self) -> dict[str, float]:
        """Calls being answered, by preset, from the metrics."""
        lines = httpx.get(f"{self.address}/metrics", timeout=30).text.splitlines()
        samples = [line.split() for line in lines if line.startswith("derailleur_calls_in_flight{")]
        return {name: float(value) for name, value in samples}


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def serve(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Serve a checkpoint: `with serve("--max_rows", "8") as served`; it must end cleanly, with no defect."""

    @contextmanager
    def opened(*options: str, model: Path = folder) -> Iterator[Served]:
        stderr = tmp_path_factory.mktemp("serve") / "stderr"
        command = [sys.executable, "-m", "derailleur", "serve", str(model), "--port", "0", "--threads", "1"]
        with (
            stderr.open("w") as errors,
            subprocess.Popen(
                [*command, *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            ) as process,
        ):
            try:
                assert process.stdout is not None
                page = next((line for line in process.stdout if line.startswith("page:")), None)
                assert page is not None, stderr.read_text()
                yield Served(page.split()[-1].rstrip("/"), process, stderr)
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(60) == 0
            finally:
                process.kill()
        assert "Traceback" not in stderr.read_text(), stderr.read_text()

    return opened
