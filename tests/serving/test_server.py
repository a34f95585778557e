"""A real server on a loopback port: OpenAI's client, streams in flight together, clients that leave."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import openai
import pytest

from derailleur import serving
from derailleur.cli import main
from derailleur.engine import Engine
from derailleur.errors import DerailleurError

Serve = Callable[..., AbstractContextManager]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def openai_client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_client(openai_client: openai.OpenAI) -> None:
    assert "tiny@balanced" in [model.id for model in openai_client.models.list()]
    settings = {"model": "tiny@balanced", "prompt": "def f(", "max_tokens": 10, "temperature": 0}
    whole = openai_client.completions.create(**settings, logprobs=2)
    assert whole.usage.completion_tokens == len(whole.choices[0].logprobs.tokens)
    pieces = openai_client.completions.create(**settings, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text
    drafted = openai_client.completions.create(**settings, extra_body={"draft": "fast"})
    assert drafted.choices[0].text == whole.choices[0].text
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        openai_client.completions.create(model="other", prompt="x")
    with pytest.raises(openai.BadRequestError, match="did you mean 'fast'"):
        openai_client.completions.create(model="tiny@fat", prompt="x")


def test_streams_of_two_presets_are_in_flight_together(address: str, engine: Engine) -> None:
    """A short one that begins within a long one ends within it, and each text is what it is alone."""

    async def pieces(client: httpx.AsyncClient, preset: str, max_tokens: int) -> AsyncIterator[str]:
        body = {"prompt": "x", "preset": preset, "max_tokens": max_tokens, "temperature": 0, "draft": "none"}
        async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])["choices"][0]["text"]

    async def both() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            long_alone = [piece async for piece in pieces(client, "full", 480)]
            short_alone = [piece async for piece in pieces(client, "fast", 5)]
            long = pieces(client, "full", 480)
            begun = await anext(long)
            short = [piece async for piece in pieces(client, "fast", 5)]
            assert engine.load.running == 1, "the long one should go on"
            assert "".join(short) == "".join(short_alone)
            assert begun + "".join([piece async for piece in long]) == "".join(long_alone)

    asyncio.run(both())


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_frees_its_memory(address: str, engine: Engine, streamed: bool) -> None:
    body = {"prompt": "x", "max_tokens": 500, "n": 4, "temperature": 1, "stream": streamed, "min_tokens": 500}
    with httpx.Client(base_url=address, timeout=0.5 if not streamed else 30) as client:
        if streamed:
            with client.stream("POST", "/v1/completions", json=body) as answer:
                next(answer.iter_lines())
                wait_until(lambda: engine.load.running == 4)  # the four begin in one step or in more
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json={**body, "n": 32})
        wait_until(lambda: not engine.busy)
    assert sum(engine.load.used_bytes.values()) == 0


def test_a_failing_engine_tells_its_clients_and_goes_on(
    address: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step = engine.step
    calls = iter(range(100))

    def failing():  # type: ignore[no-untyped-def]
        if next(calls) == 3:
            raise RuntimeError("planted")
        return step()

    monkeypatch.setattr(engine, "step", failing)
    body = {"prompt": "x", "max_tokens": 20, "temperature": 0}
    with httpx.Client(base_url=address, timeout=30) as client:
        failed = client.post("/v1/completions", json=body)
        assert failed.status_code == 503
        assert failed.json()["error"]["type"] == "server_error"
        assert "planted" in caplog.text
        assert client.post("/v1/completions", json=body).status_code == 200
    assert sum(engine.load.used_bytes.values()) == 0


def test_a_server_that_ends_finishes_what_runs_and_begins_nothing(serve: Serve, engine: Engine) -> None:
    step, going_on = engine.step, threading.Event()
    going_on.set()

    def held() -> list:
        assert going_on.wait(20)
        return step()

    engine.step = held  # type: ignore[method-assign]
    body = {"prompt": "x", "max_tokens": 400, "temperature": 0, "draft": "none"}
    with serve(grace_seconds=60) as running, httpx.Client(base_url=running.address, timeout=30) as client:
        with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            going_on.clear()
            running.server.should_exit = True
            wait_until(lambda: running.traffic.draining)
            health = client.get("/health")
            assert (health.status_code, health.json()) == (503, {"status": "shutting down"})
            refused = client.post("/v1/completions", json=body)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
            assert refused.json()["error"]["code"] == "shutting_down"
            going_on.set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        running.thread.join(20)
        assert not running.thread.is_alive()


def test_what_is_not_finished_in_time_ends_with_an_error(serve: Serve, engine: Engine) -> None:
    body = {"prompt": "x", "max_tokens": 500, "n": 16, "stream": True}
    with serve(grace_seconds=0.1) as running:
        with httpx.stream("POST", f"{running.address}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.server.should_exit = True
            *_, last, _ = lines
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
        running.thread.join(20)
    assert sum(engine.load.used_bytes.values()) == 0


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The real command, ready to answer."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-c", "from derailleur.cli import main; raise SystemExit(main())"]
    with subprocess.Popen(
        [*call, "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_and_ends_cleanly_in_mid_stream(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    keys, log = tmp_path / "keys.yaml", tmp_path / "log"
    keys.write_text("keys: [{name: editor, key: secret}]")
    options = ["--port", "0", "--threads", "1", "--draft", "fast", "--preset", "balanced"]
    options += ["--api-key-file", str(keys), "--access-log", str(log), "--limits.max_tokens", "60"]
    with command(str(folder), *options) as process:
        assert process.stdout is not None and process.stderr is not None
        first, page, example = (process.stdout.readline() for _ in range(3))
        name = folder.parent.name
        assert first == f"serving {name}, {name}@full, {name}@balanced, {name}@fast\n"
        assert "curl" in example and "Authorization" in example
        address = page.split()[-1]
        headers = {"Authorization": "Bearer secret"}
        with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
            assert client.get("/v1/presets").json()["default"] == "balanced"
            assert client.post("/v1/completions", json={"prompt": "x", "max_tokens": 61}).status_code == 400
            body = {"prompt": "x", "max_tokens": 60, "stream": True}
            with client.stream("POST", "/v1/completions", json=body) as answer:
                lines = answer.iter_lines()
                next(lines)
                process.send_signal(number)
                assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(call["route"], call["status"], call["key"]) for call in calls] == [
        ("/v1/presets", 200, "editor"),
        ("/v1/completions", 400, "editor"),
        ("/v1/completions", 200, "editor"),
    ]


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_server_that_others_reach_without_a_key_says_so(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    loopback: bool,
) -> None:
    monkeypatch.setattr(serving, "serve", lambda server, listener: None)
    assert main(["serve", str(folder), "--host", host, "--port", "0"]) == 0
    error = capsys.readouterr().err
    assert error == ("" if loopback else "derailleur: 0.0.0.0 asks for no key; see --api-key-file\n")


def test_the_engine_warms_up_before_clients_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled at its first use is compiled then."""
    seen: list[str] = []
    monkeypatch.setattr(Engine, "warm_up", lambda engine: seen.append("warm"))
    monkeypatch.setattr(serving, "serve", lambda server, listener: seen.append("clients"))
    assert main(["serve", str(folder), "--port", "0"]) == 0
    assert seen == ["warm", "clients"]


def test_small_answers_are_sent_at_once() -> None:
    """Not held back until the client acknowledges what came before."""

    async def delay_is_off() -> bool:
        with serving.listen("127.0.0.1", 0) as listener:
            accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
            async with await asyncio.start_server(lambda _, writer: accepted.put(writer), sock=listener):
                _, ours = await asyncio.open_connection(*listener.getsockname())
                theirs = await accepted.get()
                option = theirs.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                ours.close()
                theirs.close()
                return option != 0

    assert asyncio.run(delay_is_off())


def test_a_port_in_use_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(folder), "--port", str(port)]) == 1
        with pytest.raises(DerailleurError, match="address already in use"):
            serving.listen("127.0.0.1", port)
    assert capsys.readouterr().err == (
        f"derailleur: cannot listen on 127.0.0.1:{port}: address already in use\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere: no config.json"),
        (["MODEL", "--preset", "slow"], "default preset 'slow' is not among full, balanced, fast"),
        (["MODEL", "--draft", "fst"], "draft: unknown preset 'fst'; did you mean 'fast'?"),
        (["MODEL", "--api-key-file", "nowhere"], "nowhere: cannot be read"),
        (["MODEL", "--access-log", "nowhere/log"], "nowhere/log: cannot be opened"),
        (
            ["MODEL", "--limits.max_token", "3"],
            "unknown key 'limits.max_token'; did you mean 'limits.max_tokens'",
        ),
        (["MODEL", "--limits.samples", "0"], "limits.samples: Input should be greater than or equal to 1"),
        (["MODEL", "--max_row", "3"], "unknown key 'max_row'; did you mean 'max_rows'?"),
        (["MODEL", "--device", "tpu9"], "device: 'tpu9' is not one"),
        (["MODEL", "--threads", "0"], "--threads: expected at least 1, got 0"),
        (["MODEL", "--port", "http"], "argument --port: invalid int value: 'http'"),
        (["MODEL", "--host", "nobody.invalid"], "host 'nobody.invalid': expected an address"),
        (["MODEL", "--state_memory_bytes", "1000"], "--state_memory_bytes: not even a short text fits"),
        (["MODEL", "--port", "70000"], "port 70000: expected 0 to 65535"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    arguments = [str(folder) if option == "MODEL" else option for option in options]
    assert main(["serve", *arguments, *([] if "--port" in arguments else ["--port", "0"])]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
