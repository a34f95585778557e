"""A client's connection: closed where no request comes, or nobody is at its other end."""

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADER_SECONDS = 60.0
"""Longest time in which the headers of a request must have arrived."""

_UNREAD_SECONDS = 60
"""Longest time in which a client takes nothing of what it is sent."""


class Connection(H11Protocol):
    """uvicorn's, with a bound to the time that headers take; it has bounds for all that comes after them."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        """Close later if headers are awaited; a part of them does not give the rest more time."""
        awaited = self.conn.their_state is h11.IDLE
        if awaited and self._closing is None:
            self._closing = self.loop.call_later(_HEADER_SECONDS, self.transport.close)
        elif not awaited and self._closing is not None:
            self._closing.cancel()
            self._closing = None


def set_options(listener: socket.socket) -> None:
    """Options that connections inherit: one whose client vanished, or never reads, ends by itself."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _UNREAD_SECONDS)
