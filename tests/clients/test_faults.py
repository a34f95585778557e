"""Clients that vanish, do not read, come by the thousand; a server that is told to end; a broken state.

Through real sockets, against the real command. Whatever happens to one request, the others say what they
always say, and what it held comes back.
"""

import asyncio
import json
import random
import resource
import shutil
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file, save_file

from derailleur.tokens import Tokenizer

Serve = Callable[..., AbstractContextManager[Any]]
PRESETS = ("full", "balanced", "fast")


@contextmanager
def open_files(num_files: int) -> Iterator[None]:
    """Allow this process and those that it starts so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < num_files:
        pytest.skip(f"needs {num_files} open files, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, num_files), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def request_bytes(path: str, body: dict[str, Any], *, close: bool = True) -> bytes:
    """A request as it goes over the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
    head += "Connection: close\r\n" if close else ""
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Steady:
    """Asks one question a preset again and again; the answer must never be another."""

    def __init__(self, served: Any) -> None:
        self._url = f"{served.address}/v1/completions"
        self._known = {preset: self._text(preset, draft="none") for preset in PRESETS}

    def ask(self) -> None:
        """Once for every preset, with a draft or without."""
        for preset, text in self._known.items():
            draft = random.choice(["none", "fast", "ngram"])
            assert self._text(preset, draft=draft) == text, f"{preset}, draft {draft}"

    def _text(self, preset: str, *, draft: str) -> str:
        body = {"prompt": "def load(path):\n", "max_tokens": 16, "temperature": 0}
        answer = httpx.post(self._url, json=body | {"preset": preset, "draft": draft}, timeout=60)
        return answer.json()["choices"][0]["text"]


class Swarm:
    """Clients that ask for all kinds of things and leave at any moment, each in its own way.

    Args:
        seed: what they do, if not when.
    """

    def __init__(self, endpoint: tuple[str, int], *, seed: int) -> None:
        self._endpoint, self._random = endpoint, random.Random(seed)
        self.counts: Counter[str] = Counter()

    def run(self, num_clients: int, seconds: float) -> None:
        """Be at it for so long."""

        async def client(end: float) -> None:
            while time.monotonic() < end:
                way = self._random.choice([self._read_all, self._leave, self._reset, self._half, self._mute])
                with suppress(ConnectionError):
                    await way()
                self.counts[way.__name__] += 1

        async def all_of_them() -> None:
            end = time.monotonic() + seconds
            await asyncio.gather(*(client(end) for _ in range(num_clients)))

        asyncio.run(all_of_them())

    def _request(self) -> bytes:
        rng = self._random
        common = {
            "preset": rng.choice(PRESETS),
            "draft": rng.choice(["none", "fast", "ngram"]),
            "temperature": rng.choice([0, 1]),
            "stream": rng.random() < 0.6,
        }
        code = "def load(path):\n    return json.load(path)\n" * rng.randint(1, 12)
        many = {"max_tokens": rng.randint(1, 300), "n": rng.randint(1, 4)}
        path, body = rng.choice(
            [
                ("/v1/completions", {"prompt": code, **many}),
                ("/v1/chat/completions", {"messages": [{"role": "user", "content": code}], **many}),
                ("/infill", {"input_prefix": code, "input_suffix": code, "n_predict": rng.randint(0, 200)}),
            ]
        )
        return request_bytes(path, body | common)

    @asynccontextmanager
    async def _connected(
        self, sent: bytes
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self._endpoint)
        try:
            writer.write(sent)
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _read_all(self) -> None:
        """An honest client among them."""
        async with self._connected(self._request()) as (reader, _):
            self.counts[(await reader.read()).split(b"\r\n")[0].decode()] += 1

    async def _leave(self) -> None:
        """Closes after a while, whatever was read by then."""
        async with self._connected(self._request()) as (reader, _):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.random()):
                    await reader.read()

    async def _reset(self) -> None:
        """Breaks the connection in mid-answer, as a machine that crashes."""
        async with self._connected(self._request()) as (reader, writer):
            with suppress(TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(self._random.random() / 2):
                    await reader.readexactly(self._random.randint(1, 2000))
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)

    async def _half(self) -> None:
        """Leaves before the request is whole."""
        sent = self._request()
        async with self._connected(sent[: self._random.randint(1, len(sent) - 1)]):
            await asyncio.sleep(self._random.random() / 10)

    async def _mute(self) -> None:
        """Closes at once, before anything can be answered."""
        async with self._connected(self._request()):
            pass


@pytest.mark.parametrize("seconds", [15, pytest.param(120, marks=pytest.mark.slow)])
def test_clients_that_vanish_under_load(serve: Serve, seconds: int) -> None:
    """In little memory, so that requests wait for it, give it back and take it again."""
    options = ("--draft", "fast", "--state_memory_bytes", "8000000", "--max_rows", "32")
    with serve("--batch-invariant", *options) as served:
        steady, swarm = Steady(served), Swarm(served.endpoint, seed=seconds)
        before = served.rss_bytes
        swarming = threading.Thread(target=swarm.run, args=(24, seconds))
        swarming.start()
        num_asked = 0
        while swarming.is_alive():
            steady.ask()
            num_asked += 1
        swarming.join()
        served.until_idle()
        steady.ask()
        grown = served.rss_bytes - before
        # All memory is there again: a request that needs most of it gets it.
        body = {"prompt": [7] * 900, "max_tokens": 100, "preset": "full", "n": 3, "draft": "none"}
        answer = httpx.post(f"{served.address}/v1/completions", json=body, timeout=60)
        assert answer.status_code == 200
        served.until_idle()
    print(f"asked {num_asked} times meanwhile; {grown >> 20} MiB more; {dict(swarm.counts)}")
    assert grown < 150 << 20
    assert num_asked > 1
    assert swarm.counts["HTTP/1.1 200 OK"] > 5
    assert {status for status in swarm.counts if status.startswith("HTTP")} <= {"HTTP/1.1 200 OK"}


def test_slow_readers_hold_up_nobody(serve: Serve) -> None:
    """Eight clients read a byte a second of long streams; what is written for them takes bounded memory."""
    body = {"prompt": "x", "max_tokens": 900, "min_tokens": 900, "n": 2, "logprobs": 20, "stream": True}
    with serve() as served:
        steady = Steady(served)
        before = served.rss_bytes
        slow = [socket.socket() for _ in range(8)]
        for reader in slow:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            reader.connect(served.endpoint)
            reader.sendall(request_bytes("/v1/completions", body))
        for _ in range(5):
            assert all(len(reader.recv(1)) == 1 for reader in slow)
            steady.ask()
            time.sleep(1)
        assert served.rss_bytes - before < 150 << 20
        for reader in slow:
            reader.close()
        served.until_idle()
        steady.ask()


def test_clients_that_read_nothing_are_given_up(serve: Serve) -> None:
    """Their connections stay open, with nothing behind them."""
    body = {"prompt": "x", "max_tokens": 900, "min_tokens": 900, "n": 16, "logprobs": 20, "stream": True}
    with serve("--limits.request_seconds", "2") as served:
        stuck = [socket.socket() for _ in range(4)]
        for client in stuck:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(served.endpoint)
            client.sendall(request_bytes("/v1/completions", body))
        served.until(lambda: sum(served.in_flight.values()) == 4)
        served.until_idle()
        for client in stuck:
            client.close()


def test_a_thousand_connections(serve: Serve) -> None:
    """All are answered, or told when to come again; as many others that say nothing are in nobody's way."""
    asked = request_bytes("/v1/completions", {"prompt": "x", "max_tokens": 8, "temperature": 0})

    async def ask(endpoint: tuple[str, int], together: asyncio.Event) -> bytes:
        reader, writer = await asyncio.open_connection(*endpoint)
        await together.wait()
        writer.write(asked)
        answer = await reader.read()
        writer.close()
        return answer

    async def thousand(endpoint: tuple[str, int]) -> list[bytes]:
        together = asyncio.Event()
        silent = [await asyncio.open_connection(*endpoint) for _ in range(1000)]
        asking = [asyncio.create_task(ask(endpoint, together)) for _ in range(1000)]
        await asyncio.sleep(1)
        together.set()
        async with asyncio.timeout(100):
            answers = await asyncio.gather(*asking)
        for _, writer in silent:
            writer.close()
        return answers

    with open_files(4096), serve() as served:
        steady = Steady(served)
        before = served.rss_bytes
        answers = asyncio.run(thousand(served.endpoint))
        statuses = Counter(answer.split(b"\r\n")[0] for answer in answers)
        print(statuses)
        assert set(statuses) <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 429 Too Many Requests"}
        assert statuses[b"HTTP/1.1 200 OK"] >= 64 + 256
        for answer in answers:
            head, _, body = answer.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 429"):
                assert b"retry-after: 1" in head.lower() and json.loads(body)["error"]["code"] == "overloaded"
            else:
                assert json.loads(body)["choices"][0]["finish_reason"] in ("stop", "length")
        assert served.rss_bytes - before < 200 << 20
        steady.ask()
        served.until_idle()


LONG = {"prompt": "x", "max_tokens": 600, "min_tokens": 600, "stream": True, "preset": "full"}


def events(lines: Iterator[str]) -> list[str]:
    return [line.removeprefix("data: ") for line in lines if line]


def test_told_to_end_it_finishes_what_runs(serve: Serve) -> None:
    with serve("--limits.grace_seconds", "100") as served:
        with (
            httpx.Client(base_url=served.address, timeout=60) as client,
            client.stream("POST", "/v1/completions", json=LONG | {"n": 4}) as answer,
        ):
            lines = answer.iter_lines()
            next(lines)
            served.process.send_signal(signal.SIGTERM)
            served.until(lambda: client.get("/health").status_code == 503)
            refused = client.post("/v1/completions", json={"prompt": "x"})
            assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
            assert refused.json()["error"]["code"] == "shutting_down"
            *pieces, done = events(lines)
        assert done == "[DONE]"
        reasons = [json.loads(piece)["choices"][0]["finish_reason"] for piece in pieces]
        assert reasons.count("length") == 4
        assert served.process.wait(20) == 0


@pytest.mark.parametrize("asked", ["once", "twice"])
def test_what_runs_too_long_then_ends_with_an_error(serve: Serve, asked: str) -> None:
    """After the grace that it has, or when asked again."""
    grace = "1" if asked == "once" else "100"
    whole: list[httpx.Response] = []
    with serve("--limits.grace_seconds", grace) as served:
        with httpx.Client(base_url=served.address, timeout=60) as client:
            body = LONG | {"n": 32, "logprobs": 20}
            waiting = threading.Thread(
                target=lambda: whole.append(
                    httpx.post(f"{served.address}/v1/completions", json=body | {"stream": False}, timeout=60)
                )
            )
            waiting.start()
            with client.stream("POST", "/v1/completions", json=body) as answer:
                lines = answer.iter_lines()
                next(lines)
                served.process.send_signal(signal.SIGTERM)
                if asked == "twice":
                    served.until(lambda: client.get("/health").status_code == 503)
                    served.process.send_signal(signal.SIGTERM)
                last = events(lines)[-1]
            waiting.join()
        assert json.loads(last)["error"]["code"] == "shutting_down"
        assert whole[0].status_code == 503 and whole[0].json()["error"]["code"] == "shutting_down"
        assert served.process.wait(20) == 0


@pytest.fixture(scope="module")
def poisoned(folder: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with a token that is not a number: whoever reads it has nothing else in its states."""
    copied = tmp_path_factory.mktemp("poisoned") / "model"
    shutil.copytree(folder, copied)
    [file] = copied.glob("*.safetensors")
    tensors = load_file(file)
    [name] = [name for name in tensors if "embed" in name]
    assert tokenizer.fim is not None
    tensors[name][tokenizer.fim.pad_id] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    return copied


def test_a_broken_state_breaks_its_request_alone(serve: Serve, poisoned: Path, tokenizer: Tokenizer) -> None:
    """While others run, and when others get the memory that it held."""
    assert tokenizer.fim is not None
    begin = tokenizer.encode("def f0(path): # long enough to fill pages of keys and values\n" * 4)
    with serve("--batch-invariant", "--draft", "fast", model=poisoned) as served:
        steady = Steady(served)
        with httpx.Client(base_url=served.address, timeout=60) as client:
            stop = threading.Event()
            failed: list[BaseException] = []

            def ask_on() -> None:
                try:
                    while not stop.is_set():
                        steady.ask()
                except BaseException as error:
                    failed.append(error)

            asking = threading.Thread(target=ask_on)
            asking.start()
            for number in range(12):
                body = {
                    "prompt": [*begin[: 10 * number], tokenizer.fim.pad_id, *begin[:5]],
                    "max_tokens": 20,
                    "preset": PRESETS[number % 3],
                    "n": 2,
                    "temperature": number % 2,
                }
                answer = client.post("/v1/completions", json=body).json()
                assert [choice["finish_reason"] for choice in answer["choices"]] == ["error", "error"]
                with client.stream("POST", "/v1/completions", json=body | {"stream": True}) as streamed:
                    *pieces, done = events(streamed.iter_lines())
                reasons = [json.loads(piece)["choices"][0]["finish_reason"] for piece in pieces]
                assert done == "[DONE]" and reasons.count("error") == 2
            stop.set()
            asking.join()
        assert failed == []
        steady.ask()
        served.until_idle()
