"""A server that speaks as much of OpenAI's protocol as is told to it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Respond = Callable[[str, dict[str, Any] | None], tuple[int, Any, dict[str, str]]]
"""From a path and a body to a status, a JSON value (or text) and headers."""


@dataclass
class FakeServer:
    """What was asked, in order."""

    url: str
    asked: list[tuple[str, dict[str, Any] | None, dict[str, str]]] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Of the requests for completions."""
        return [body for path, body, _ in self.asked if path == "/v1/completions" and body]


@pytest.fixture
def fake_server() -> Callable[[Respond], AbstractContextManager[FakeServer]]:
    """`with fake_server(respond) as server`."""

    @contextmanager
    def opened(respond: Respond) -> Iterator[FakeServer]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: dict[str, Any] | None) -> None:
                server.asked.append((self.path, body, dict(self.headers)))
                status, value, headers = respond(self.path, body)
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
            server = FakeServer(f"http://127.0.0.1:{listening.server_port}")
            thread = threading.Thread(target=listening.serve_forever)
            thread.start()
            try:
                yield server
            finally:
                listening.shutdown()
                thread.join()

    return opened
