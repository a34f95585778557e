"""Listening, saying so, and shutting down."""

import asyncio
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from derailleur.errors import DerailleurError, UserError

_GRACE_SECONDS = 5
"""How long open streams may go on after a signal; then they end with an error."""

_LAST_RESORT_SECONDS = 10
"""When connections are cut whose clients do not read."""


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; done before the model is loaded, so that a port in use is known at once.

    Raises:
        UserError: if there can be no such port.
        DerailleurError: if the address cannot be bound.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"port {port}: expected 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        reason = (error.strerror or str(error)).lower()
        raise DerailleurError(f"cannot listen on {host}:{port}: {reason}") from None
    return made


class Server(uvicorn.Server):
    """A uvicorn server that says when it answers, and that ends streams itself when it is stopped.

    Args:
        ready: called once requests are answered.
        end_streams: called some seconds after a stop; must end what is still being answered.
    """

    def __init__(self, app: FastAPI, *, ready: Callable[[], None], end_streams: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_LAST_RESORT_SECONDS)
        )
        self._ready, self._end_streams = ready, end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._end_streams)
        await super().shutdown(sockets)


def serve(
    app: FastAPI, listener: socket.socket, *, ready: Callable[[], None], end_streams: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; open streams then have some seconds to end."""
    # After its own clean shutdown uvicorn raises the signal once more, for whoever handled it before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    Server(app, ready=ready, end_streams=end_streams).run(sockets=[listener])
