"""Lines to and from a program, neither side waiting for the other."""

import select
import socket
from collections import deque

_BLOCK_BYTES = 1 << 16


class Channel:
    """Our end of a program's descriptor 3.

    Attributes:
        lines: what came whole and was not taken yet, without newlines.
        open: whether more can come.
    """

    def __init__(self, ours: socket.socket, most_bytes: int) -> None:
        """Take over a socket.

        Args:
            most_bytes: how much may wait here to be taken.
        """
        ours.setblocking(False)
        self._socket = ours
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._partial = bytearray()
        self._unsent = b""
        self.lines: deque[bytes] = deque()
        self.open = True

    def fileno(self) -> int:
        """The descriptor, to poll."""
        return self._socket.fileno()

    def interest(self) -> int:
        """What to poll for."""
        return (select.POLLIN if self.open else 0) | (select.POLLOUT if self._unsent else 0)

    def take(self) -> bytes:
        """The oldest line."""
        line = self.lines.popleft()
        self._held_bytes -= len(line) + 1
        return line

    def send(self, data: bytes) -> None:
        """Write as much as goes now and keep the rest."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Write more of what is kept; a program that is gone or has closed its end loses it."""
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._unsent = b""

    def receive(self) -> bool:
        """Read what is there.

        Returns:
            False if the program has sent more than may wait.
        """
        while self.open:
            try:
                block = self._socket.recv(_BLOCK_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                block = b""
            self.open = bool(block)
            self._held_bytes += len(block)
            first, *others = block.split(b"\n")
            self._partial += first
            for line in others:
                self.lines.append(bytes(self._partial))
                self._partial = bytearray(line)
            if self._held_bytes > self._most_bytes:
                return False
        return True

    def close(self) -> None:
        """Close our end."""
        self._socket.close()
