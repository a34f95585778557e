"""What is no request: its sender gets a clear answer or a closed connection, others what they always get."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

Serve = Callable[..., AbstractContextManager[Any]]

JSON = {"Content-Type": "application/json"}
GOOD = json.dumps({"prompt": "x", "max_tokens": 2, "temperature": 0}).encode()
POST = b"POST /v1/completions HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
TEN_MEGABYTES = b'{"prompt": "' + b"x" * 10_000_000 + b'"}'


@pytest.fixture(scope="module")
def served(serve: Serve) -> Iterator[Any]:
    with serve() as served:
        yield served


@pytest.fixture
def text(served: Any) -> Iterator[Callable[[], str]]:
    """A good request's answer; it must be the same after a test as before, and nothing may be left over."""

    def asked() -> str:
        answer = httpx.post(f"{served.address}/v1/completions", content=GOOD, headers=JSON, timeout=60)
        return answer.json()["choices"][0]["text"]

    before = asked()
    yield asked
    assert asked() == before
    served.until_idle()


def sent(served: Any, *parts: bytes, leave: bool = False) -> bytes:
    """What comes back until the server closes the connection; nothing if the client leaves first."""
    with socket.create_connection(served.endpoint, timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except ConnectionError:
                break  # refused before all was sent
        if leave:
            return b""
        received = b""
        try:
            while part := connection.recv(1 << 16):
                received += part
        except ConnectionError:
            pass  # closed while bytes were under way
        return received


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00\x01",
        b'{"prompt": "\xc3\x28"}',
        b'{"prompt": "\xed\xa0\x80"}',
        b'{"prompt": "\\udc00"}',
        b'{"prompt": "x", "max_tokens": 2}\x00',
        b'\xef\xbb\xbf{"prompt": 3}',
        b"{" * 50_000,
        b'{"prompt": ' + b"9" * 100_000 + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/infill", "/tokenize"])
def test_bodies_that_are_no_text_or_no_json(
    served: Any, text: Callable[[], str], path: str, content: bytes
) -> None:
    with httpx.Client(base_url=served.address, timeout=30) as client:
        answer = client.post(path, content=content, headers=JSON)
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        # The connection is as good as before.
        assert client.post("/v1/completions", content=GOOD, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: server\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: server\r\nX: a\0b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: server\r\nno colon\r\n\r\n",
        POST + b"Content-Length: 29\r\nContent-Length: 30\r\n\r\n" + GOOD,
        POST + b"Content-Length: -1\r\n\r\n" + GOOD,
        POST + b"Content-Length: many\r\n\r\n" + GOOD,
        CHUNKED + b"no size\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\n" + GOOD + b"\r\n0\r\n\r\n",
        CHUNKED + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n-1\r\n\r\n",
    ],
    ids=lambda request: repr(request[-24:]),
)
def test_broken_requests_are_refused_at_once(
    served: Any, text: Callable[[], str], request_bytes: bytes
) -> None:
    assert sent(served, request_bytes).startswith(b"HTTP/1.1 400 ")


def test_good_chunks_are_read(served: Any, text: Callable[[], str]) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
    closing = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = sent(served, closing, chunks)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["choices"][0]["text"] == text()


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /hea"],
        [POST],
        [POST + b"Content-Length: 100\r\n\r\n", GOOD],
        [CHUNKED, b"5\r\nab"],
        [POST + b"Content-Length: %d\r\n\r\n" % len(GOOD), GOOD],
        [b"GET /health HTTP/1.1\r\nHost: server\r\n\r\n" * 200],
    ],
    ids=["line", "headers", "body", "chunk", "answer", "pipeline"],
)
def test_clients_that_leave_at_any_place(served: Any, text: Callable[[], str], parts: list[bytes]) -> None:
    for _ in range(20):
        sent(served, *parts, leave=True)


def test_floods_of_headers(served: Any, text: Callable[[], str]) -> None:
    """What is too much is refused before it is all read."""
    head = b"GET /health HTTP/1.1\r\nHost: server\r\nConnection: close\r\n"
    few, many = (b"".join(b"X-%d: y\r\n" % i for i in range(count)) for count in (1_000, 400_000))
    assert sent(served, head, few, b"\r\n").startswith(b"HTTP/1.1 200 ")
    before = served.rss_bytes
    for flood in (many, b"X: " + b"a" * 5_000_000, b"Cookie: " + b"a=b;" * 1_000_000):
        assert sent(served, head, flood, b"\r\n").startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert sent(served, b"GET /" + b"a" * 5_000_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 4")
    assert served.rss_bytes - before < 50 << 20


@pytest.mark.parametrize("way", ["length", "chunks", "asking"])
def test_ten_megabytes_are_refused_quickly(served: Any, text: Callable[[], str], way: str) -> None:
    """Whatever the client does, it can read why; where it asks before it sends, it need not send."""
    length = b"Content-Length: %d\r\n" % len(TEN_MEGABYTES)
    pieces = [TEN_MEGABYTES[begin : begin + 65_536] for begin in range(0, len(TEN_MEGABYTES), 65_536)]
    parts = {
        "length": [POST + length + b"\r\n", TEN_MEGABYTES],
        "chunks": [CHUNKED, *(b"%x\r\n" % len(p) + p + b"\r\n" for p in pieces), b"0\r\n\r\n"],
        "asking": [POST + length + b"Expect: 100-continue\r\n\r\n"],
    }[way]
    begin = time.monotonic()
    answer = sent(served, *parts)
    assert time.monotonic() - begin < 10
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ") and b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_too_large"


def test_many_bodies_of_ten_megabytes_take_no_memory(served: Any, text: Callable[[], str]) -> None:
    before = served.rss_bytes
    for _ in range(10):
        with httpx.Client(base_url=served.address, timeout=30) as client:
            assert client.post("/infill", content=TEN_MEGABYTES, headers=JSON).status_code == 413
            assert client.get("/health").status_code == 200
    assert served.rss_bytes - before < 40 << 20
