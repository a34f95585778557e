"""Listening, saying so, and shutting down."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from derailleur.errors import DerailleurError, UserError
from derailleur.serving.connection import Connection, set_options
from derailleur.serving.gate import Traffic

_LAST_RESORT_SECONDS = 10
"""When connections are cut whose clients do not read."""


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; done before the model is loaded, so that a port in use is known at once.

    Raises:
        UserError: if there can be no such port or host.
        DerailleurError: if the address cannot be bound.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"port {port}: expected 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sends small writes at once (TCP_NODELAY) only where it is. Without, every
    # answer on a connection that was used before waits 40 ms for the client's acknowledgement.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_options(made)
    try:
        made.bind((host, port))
    except socket.gaierror:
        made.close()
        raise UserError(f"host '{host}': expected an address of this machine, such as 127.0.0.1") from None
    except OSError as error:
        made.close()
        reason = (error.strerror or str(error)).lower()
        raise DerailleurError(f"cannot listen on {host}:{port}: {reason}") from None
    return made


class Server(uvicorn.Server):
    """A uvicorn server that says when it answers, and that ends in peace.

    Asked to end, it refuses new requests, still listening, until the running ones are finished or time is up;
    what is left then ends with an error. Asked again, it does not wait for them; by Ctrl-C, for nothing.

    Args:
        app: of `create_app`.
        traffic: given to `create_app` too.
        grace_seconds: how long running requests may go on.
        ready: called once requests are answered.
        end_streams: must end what is still being answered.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        traffic: Traffic,
        grace_seconds: float,
        ready: Callable[[], None],
        end_streams: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_LAST_RESORT_SECONDS,
            )
        )
        self._traffic, self._grace_seconds = traffic, grace_seconds
        self._ready, self._end_streams = ready, end_streams
        self._end_at: float | None = None
        self._asked_again = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._asked_again = self.should_exit
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        asked_to_end = await super().on_tick(counter)
        if not asked_to_end:
            return False
        now = asyncio.get_running_loop().time()
        if self._end_at is None:
            self._traffic.draining, self._end_at = True, now + self._grace_seconds
        return self._traffic.num_running == 0 or now >= self._end_at or self._asked_again

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


def serve(server: Server, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; running requests then have some time to end."""
    # After its own clean shutdown uvicorn raises the signal once more, for whoever handled it before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
