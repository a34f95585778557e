"""What bounds a request: its body, its size, its time, the queue; and bodies that are none."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from derailleur import serving
from derailleur.engine import Engine, EngineConfig, Request
from derailleur.placement import Placement
from derailleur.serving.metrics import Meter, Metrics
from derailleur.serving.refusals import SlowClientError
from derailleur.serving.worker import AnswerStream
from derailleur.tokens import Tokenizer

Serve = Callable[..., AbstractContextManager]
POSTS = (
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/fim/completions",
    "/infill",
    "/tokenize",
    "/detokenize",
)
JSON = {"Content-Type": "application/json"}


def is_openais(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer, which must have OpenAI's shape and nothing else."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and "\n" not in error["message"]
    return error


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe",
        b'{"prompt": "\xc3\x28"}',
        b'{"prompt": "\\ud800", "content": "\\ud800", "input_prefix": "\\ud800", "messages": 1}',
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"\x00",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_a_body_that_is_none_is_one_error(client: TestClient, path: str, content: bytes) -> None:
    is_openais(client.post(path, content=content, headers=JSON), 400)


@pytest.mark.parametrize(
    "field",
    [
        '"temperature": NaN',
        '"temperature": Infinity',
        '"top_p": NaN',
        '"presence_penalty": NaN',
        '"logit_bias": {"3": NaN}',
        '"max_tokens": "many"',
        '"max_tokens": 1e99',
        '"n": 1.5',
        '"stop": {"a": 1}',
        '"stream": "perhaps"',
        '"prompt": {"a": 1}',
        '"model": 7',
        '"stop": ["' + "x" * 1000 + '"]',
    ],
)
def test_values_of_wrong_types_are_one_error(client: TestClient, field: str) -> None:
    content = f'{{"prompt": "x", {field}}}'.encode()
    error = is_openais(client.post("/v1/completions", content=content, headers=JSON), 400)
    assert error["type"] == "invalid_request_error"


def test_wrong_paths_methods_and_types(client: TestClient) -> None:
    assert is_openais(client.get("/v1/nothing"), 404)["code"] == "not_found"
    assert is_openais(client.get("/v1/models/other"), 404)["code"] == "model_not_found"
    assert client.get("/v1/models/tiny@fast").json()["id"] == "tiny@fast"
    refused = client.get("/infill")
    is_openais(refused, 405)
    assert refused.headers["allow"] == "POST"
    is_openais(
        client.post("/v1/completions", content=b"prompt=x", headers={"Content-Type": "text/plain"}), 400
    )
    is_openais(client.post("/v1/completions", content=b"{}", headers={"Content-Length": "2"}), 400)


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused(serve: Serve, engine: Engine, chunked: bool) -> None:
    body = json.dumps({"prompt": "x" * 10_000_000}).encode()
    parts = (body[begin : begin + 65536] for begin in range(0, len(body), 65536))
    with serve() as running, httpx.Client(base_url=running.address, timeout=30) as client:
        answer = client.post("/v1/completions", content=parts if chunked else body, headers=JSON)
        assert is_openais(answer, 413)["code"] == "request_too_large"
        assert client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200
    assert not engine.busy


def exchange(address: str, *parts: bytes) -> bytes:
    """What the server says before it closes the connection, the parts sent one after the other."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_body_that_does_not_arrive_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("derailleur.serving.gate._BODY_SECONDS", 0.05)
    with serve() as running:
        answer = exchange(running.address, b"POST /infill HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer


@pytest.mark.parametrize("parts", [[], [b"GET /health HT"], [b"GET /health HTTP/1.1\r\n", b"Host: x\r\n"]])
def test_headers_that_do_not_arrive_are_not_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr("derailleur.serving.connection._HEADER_SECONDS", 0.1)
    with serve() as running:
        assert exchange(running.address, *parts) == b""
        health = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert exchange(running.address, health).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "headers", [b"Expect: 100-continue\r\nContent-Length: 10000000", b"Content-Length: 99999999999"]
)
def test_a_body_that_would_be_too_large_need_not_be_sent(serve: Serve, headers: bytes) -> None:
    with serve() as running:
        answer = exchange(running.address, b"POST /infill HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ") and b"request_too_large" in answer


def test_an_answer_that_is_not_read_is_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written faster than it is read, it takes memory that no budget counts."""
    monkeypatch.setattr("derailleur.serving.worker._MAX_BACKLOG", 30)
    worker = serving.EngineWorker(engine)
    asked = Request(prompt=[7], placement=Placement("FSKG"), max_tokens=400, ignore_eos=True)

    async def read_nothing() -> list[int]:
        stream = AnswerStream(worker, Meter(Metrics(), str, num_prompt_tokens=2, num_requests=2), seconds=60)
        await stream.open([asked, asked])
        while (await worker.load()).running:
            await asyncio.sleep(0.01)
        read = []
        with pytest.raises(SlowClientError):
            async for place, _ in stream:
                read.append(place)
        return read

    worker.start()
    read = asyncio.run(read_nothing())
    worker.stop()
    assert 30 < len(read) < 60
    assert sum(engine.load.used_bytes.values()) == 0


def test_a_stream_that_cannot_be_sent_ends_after_its_deadline(
    engine: Engine, model: serving.ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derailleur.serving.answers._LAST_EVENT_SECONDS", 0.1)
    worker, traffic = serving.EngineWorker(engine), serving.Traffic()
    limited = replace(model, limits=serving.LimitsConfig(request_seconds=0.2))
    app = serving.create_app(limited, worker, traffic=traffic)
    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "query_string": b""}
    scope["headers"] = [(b"content-type", b"application/json")]
    body = json.dumps({"prompt": "x", "max_tokens": 400, "stream": True}).encode()
    coming = [{"type": "http.request", "body": body}]

    async def receive() -> dict:
        return coming.pop() if coming else await asyncio.sleep(60, {"type": "http.disconnect"})

    begun = []

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            begun.append((message["status"], traffic.num_running))
        else:
            await asyncio.sleep(60)  # a client whose window is shut

    worker.start()
    asyncio.run(app(scope, receive, send))
    worker.stop()
    assert begun == [(200, 1)]
    assert traffic.num_running == 0 and not engine.busy


def test_a_request_may_ask_for_so_much(engine: Engine, model: serving.ServedModel) -> None:
    limits = serving.LimitsConfig(prompt_tokens=20, max_tokens=8, samples=2, body_bytes=2048)
    app = serving.create_app(replace(model, limits=limits), serving.EngineWorker(engine))
    with TestClient(app) as client:
        for body, message in [
            ({"prompt": "x " * 40}, "this server takes at most 20"),
            ({"prompt": ["x", "y " * 40]}, "this server takes at most 20"),
            ({"max_tokens": 9}, "this server generates at most 8"),
            ({"n": 3}, "3 answers per prompt; this server gives at most 2"),
            ({"best_of": 3}, "3 answers per prompt"),
        ]:
            answer = client.post("/v1/completions", json={"prompt": "x", "max_tokens": 2, **body})
            assert message in is_openais(answer, 400)["message"]
        assert (
            client.post("/v1/completions", json={"prompt": "x", "max_tokens": 8, "n": 2}).status_code == 200
        )
        is_openais(client.post("/v1/completions", json={"prompt": "x" * 3000}), 413)


def test_what_can_be_cut_is_cut_to_the_limit(engine: Engine, model: serving.ServedModel) -> None:
    app = serving.create_app(
        replace(model, limits=serving.LimitsConfig(prompt_tokens=50)), serving.EngineWorker(engine)
    )
    long = "a = 1\n" * 200
    with TestClient(app) as client:
        for path, body in [
            ("/v1/completions", {"prompt": long, "suffix": long, "max_tokens": 2}),
            ("/v1/fim/completions", {"prompt": long, "suffix": long, "max_tokens": 2}),
        ]:
            assert client.post(path, json=body).json()["usage"]["prompt_tokens"] == 50
        extra = [{"filename": "a.py", "text": "x"}]
        body = {"input_prefix": long, "input_suffix": long, "input_extra": extra, "n_predict": 2}
        answer = client.post("/infill", json=body).json()
        assert answer["tokens_evaluated"] == 50 and answer["truncated"] is True


def test_a_full_queue_says_when_to_try_again(
    folder: Any, tokenizer: Tokenizer, model: serving.ServedModel
) -> None:
    engine = Engine(folder, tokenizer, EngineConfig(max_rows=2))
    worker = serving.EngineWorker(engine, max_waiting=2)
    body = {"prompt": "x", "max_tokens": 400, "temperature": 0, "draft": "none"}

    async def flood() -> list[httpx.Response]:
        transport = httpx.ASGITransport(serving.create_app(model, worker))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await asyncio.gather(*(client.post("/v1/completions", json=body) for _ in range(7)))

    worker.start()
    answers = asyncio.run(flood())
    worker.stop()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [429] * 3
    for answer in answers:
        if answer.status_code == 429:
            assert is_openais(answer, 429)["code"] == "overloaded"
            assert answer.headers["retry-after"] == "1"
    assert sum(engine.load.used_bytes.values()) == 0


def test_more_answers_than_the_server_holds_are_refused_for_good(
    folder: Any, tokenizer: Tokenizer, model: serving.ServedModel
) -> None:
    worker = serving.EngineWorker(Engine(folder, tokenizer, EngineConfig(max_rows=2)), max_waiting=2)
    with TestClient(serving.create_app(model, worker)) as client:
        answer = client.post("/v1/completions", json={"prompt": "x", "n": 5})
        assert "5 answers in one request" in is_openais(answer, 400)["message"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_takes_too_long_is_ended(
    engine: Engine, model: serving.ServedModel, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(engine, "step", lambda: [])
    app = serving.create_app(
        replace(model, limits=serving.LimitsConfig(request_seconds=0.05)), serving.EngineWorker(engine)
    )
    with TestClient(app) as client:
        body = {"prompt": "x", "max_tokens": 4, "stream": streamed}
        answer = client.post("/v1/completions", json=body)
        if streamed:
            error = json.loads(answer.text.removeprefix("data: "))["error"]
        else:
            error = is_openais(answer, 504)
        assert (error["code"], error["message"]) == ("deadline_exceeded", "not finished within 0.05 seconds")
        health = client.get("/health").json()
        assert (health["running"], health["waiting"]) == (0, 0)


def test_a_stream_that_is_closed_takes_part_in_no_further_step(engine: Engine) -> None:
    """The step that was under way is its last; its memory is back before the next."""
    step, permits, begun = engine.step, threading.Semaphore(3), []

    def permitted() -> list:
        begun.append(len(engine.scheduler.running) + len(engine.scheduler.waiting))
        permits.acquire()
        return step()

    engine.step = permitted  # type: ignore[method-assign]
    worker = serving.EngineWorker(engine)
    asked = Request(prompt=[7], placement=Placement("FSKG"), max_tokens=400, ignore_eos=True)

    async def leave_in_the_fourth_step() -> int:
        stream = AnswerStream(worker, Meter(Metrics(), str, num_prompt_tokens=2, num_requests=2), seconds=60)
        await stream.open([asked, asked])
        while len(begun) < 4:
            await asyncio.sleep(0.001)
        stream.close()
        permits.release()
        return await worker.call(lambda engine: sum(engine.load.used_bytes.values()))

    worker.start()
    assert asyncio.run(leave_in_the_fourth_step()) == 0
    worker.stop()
    assert begun == [2, 2, 2, 2]
