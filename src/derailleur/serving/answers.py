"""Responses that end when the client leaves."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from derailleur.serving.worker import AnswerStream

Result = TypeVar("Result")

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class ServerSentEvents(StreamingResponse):
    """Events as they come; cancels what the engine still does when the client leaves."""

    def __init__(self, events: AsyncIterator[str], stream: AnswerStream) -> None:
        super().__init__(events, media_type="text/event-stream", headers=_HEADERS)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_disconnected(receive, self.stream_response(send))
        finally:
            self._stream.close()


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of `work`, or None if the client leaves before; then `work` is cancelled.

    Args:
        receive: of a request whose body was read.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
