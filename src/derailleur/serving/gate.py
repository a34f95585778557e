"""What every call passes before it reaches its route: key, limits, size; and after it: metrics and log."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from derailleur.serving import failures
from derailleur.serving.access_log import UNMATCHED, AccessLog, Call
from derailleur.serving.keys import KeyRing
from derailleur.serving.metrics import Metrics
from derailleur.serving.refusals import BodyTooLargeError, DrainingError, RefusedError, SlowBodyError

OPEN_PATHS = frozenset({"/", "/health", "/docs", "/openapi.json"})
"""Answered without a key; they say nothing of what others ask."""

GENERATING_PATHS = frozenset({"/v1/completions", "/v1/chat/completions", "/v1/fim/completions", "/infill"})
"""Calls that keep the engine busy: limits of keys count them, a server that ends takes none."""

_DISCARDED_BYTES = 64 << 20
"""Read and thrown away before a body is refused: many clients look at no answer before all is sent."""

_BODY_SECONDS = 60.0
"""Longest time in which a body must have arrived."""

_RETRY_SECONDS = 5.0


@dataclass
class Traffic:
    """What is being answered.

    Attributes:
        num_running: generating calls that are not over.
        draining: whether new ones are refused.
    """

    num_running: int = 0
    draining: bool = False


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        body_bytes: int,
        traffic: Traffic,
        metrics: Metrics,
        log: AccessLog | None,
    ) -> None:
        self._app, self._keys, self._body_bytes = app, keys, body_bytes
        self._traffic, self._metrics, self._log = traffic, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        call = Call(scope["method"], route=path if path in OPEN_PATHS | GENERATING_PATHS else UNMATCHED)
        scope.setdefault("state", {})["call"] = call
        started = time.monotonic()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status = message["status"]
            await send(message)

        try:
            with self._admitted(scope, call):
                try:
                    async with asyncio.timeout(_BODY_SECONDS):
                        body = await self._body(receive, dict(scope["headers"]))
                except TimeoutError:
                    raise SlowBodyError(f"the body did not arrive in {_BODY_SECONDS:.0f} seconds") from None
                await self._app(scope, _hand_on(body, receive), sending)
        except RefusedError as error:
            await failures.refusal(call, error)(scope, receive, sending)
        except Exception:
            # A defect of ours: what answers it stands outside, and comes too late for the log.
            call.reason = failures.INTERNAL
            raise
        finally:
            if (route := scope.get("route")) is not None:
                call.route = route.path
            call.seconds = time.monotonic() - started
            self._metrics.answered(call)
            if self._log is not None:
                self._log.write(call)

    @contextmanager
    def _admitted(self, scope: Scope, call: Call) -> Iterator[None]:
        """Let a call in, or refuse it; counts it while it is answered."""
        path, use = scope["path"], None
        if self._keys and path not in OPEN_PATHS:
            key, use = self._keys.find(dict(scope["headers"]).get(b"authorization", b""))
            call.key = key.name
        if path not in GENERATING_PATHS:
            yield
            return
        if self._traffic.draining:
            raise DrainingError("the server is shutting down", retry_after_seconds=_RETRY_SECONDS)
        self._traffic.num_running += 1
        try:
            if use is None:
                yield
            else:
                with use.one_more(time.monotonic()):
                    yield
        finally:
            self._traffic.num_running -= 1

    async def _body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """Read the body.

        Raises:
            BodyTooLargeError: if it has more bytes than it may.
        """
        refused = BodyTooLargeError(f"the body is larger than {self._body_bytes:,} bytes")
        declared = int(headers.get(b"content-length", b"0"))
        if declared > (self._body_bytes if b"expect" in headers else _DISCARDED_BYTES):
            raise refused  # who asks before sending is not told to go on
        parts: list[bytes] = []
        size, more = 0, True
        while more and size <= _DISCARDED_BYTES:
            message = await receive()
            # A client that leaves meanwhile sends no more; nobody reads what it is answered.
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= self._body_bytes:
                parts.append(part)
        if size > self._body_bytes:
            raise refused
        return b"".join(parts)


def _hand_on(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, then what else comes: the client's leaving."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return first.pop() if first else await receive()

    return receiving
