"""A served random supernet: the application in-process, and a real server on a loopback port."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine, EngineConfig
from derailleur.model import (
    Decoder,
    save_model,
)
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, Presets, load_presets
from derailleur.tokens import Tokenizer

PRESETS = {"full": "FFFF", "balanced": "FSKG", "fast": "GGGG"}


@pytest.fixture(scope="session")
def folder(make_supernet: Callable[..., Decoder], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder: four layers with all mixers, a byte-level tokenizer, three presets."""
    folder = tmp_path_factory.mktemp("run") / "model"
    folder.mkdir()
    source = Path(json.__file__).read_text(encoding="utf-8")
    tokenizer = Tokenizer.train([source], vocab_size=400)
    tokenizer.save(folder)
    save_model(make_supernet(tokenizer.vocab_size), folder)
    details = [Preset(name=name, placement=Placement(letters)) for name, letters in PRESETS.items()]
    Presets(details).save(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture
def engine(folder: Path, tokenizer: Tokenizer) -> Engine:
    return Engine(folder, tokenizer, EngineConfig())


@pytest.fixture
def model(folder: Path, engine: Engine, tokenizer: Tokenizer) -> serving.ServedModel:
    return serving.ServedModel(
        "tiny", tokenizer, load_presets(folder), engine.max_context, draft=Placement("GGGG")
    )


@pytest.fixture
def client(engine: Engine, model: serving.ServedModel) -> Iterator[TestClient]:
    with TestClient(serving.create_app(model, serving.EngineWorker(engine))) as client:
        yield client


@pytest.fixture
def ask(client: TestClient) -> Callable[..., dict]:
    """One completion, greedy and without a draft unless told otherwise."""

    def asked(**body: object) -> dict:
        answer = client.post("/v1/completions", json={"temperature": 0, "draft": "none", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


@dataclass
class Running:
    """A real server in a thread of this process."""

    address: str
    server: serving.Server
    thread: threading.Thread
    traffic: serving.Traffic


@contextmanager
def running(
    engine: Engine, model: serving.ServedModel, *, grace_seconds: float = 5, **options: object
) -> Iterator[Running]:
    """A real server on a loopback port."""
    ready, traffic = threading.Event(), serving.Traffic()
    worker = serving.EngineWorker(engine)
    server = serving.Server(
        serving.create_app(model, worker, traffic=traffic, **options),
        traffic=traffic,
        grace_seconds=grace_seconds,
        ready=ready.set,
        end_streams=worker.end_streams,
    )
    with serving.listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert ready.wait(20)
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread, traffic)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def serve(engine: Engine, model: serving.ServedModel) -> Callable[..., AbstractContextManager[Running]]:
    """Serve the model, perhaps with another template or other limits: `with serve(limits=...) as running`."""

    def opened(**options: object) -> AbstractContextManager[Running]:
        changed = {name: options.pop(name) for name in ("limits", "chat_template") if name in options}
        return running(engine, replace(model, **changed), **options)

    return opened


@pytest.fixture
def address(engine: Engine, model: serving.ServedModel) -> Iterator[str]:
    """The address of a real server in a thread."""
    with running(engine, model) as server:
        yield server.address
