"""The supervisor's side of one running program: its pipes, its channel, the wall clock and the caps.

Independent of how the program is confined: a back end is given the inner ends of the pipes and gives
back a `Process`. All is pumped from one poll, in whatever call the caller waits in, so that a program can
block nothing but itself.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable

from derailleur.evaluation.sandbox.backend import BackEnd, Exit
from derailleur.evaluation.sandbox.channel import Channel
from derailleur.evaluation.sandbox.job import End, Job, Outcome
from derailleur.evaluation.sandbox.memory_files import sealed
from derailleur.evaluation.sandbox.memory_use import memory_bytes

Reply = Callable[[bytes], bytes | None]
"""Called with each line that a guest writes on its channel; what it returns is sent back."""

_BLOCK_BYTES = 1 << 16
_MEMORY_EVERY_SECONDS = 0.1
_CPU_SHARE = 0.5  # of its limit, that a process killed for it has had at least: the kernel counts clock ticks


class Box:
    """One running program.

    Attributes:
        channel: our end of the program's descriptor 3; read and written through `read_line` and `send`.
    """

    def __init__(self, back_end: BackEnd, job: Job) -> None:
        """Start the program.

        Raises:
            RefusedError: if the back end no longer works.
        """
        self._limits = job.limits
        self._started = time.monotonic()
        self._deadline = self._started + job.limits.wall_seconds
        self._next_look = self._started + _MEMORY_EVERY_SECONDS
        self._end: End | None = None
        self._outcome: Outcome | None = None
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours, job.limits.report_bytes)
        output, inner_output = os.pipe()
        errors, inner_errors = os.pipe()
        self._output, self._errors = bytearray(), bytearray()
        self._streams = {output: self._output, errors: self._errors}
        stdin = sealed(job.stdin) if job.stdin else os.open(os.devnull, os.O_RDONLY)
        inner = [stdin, inner_output, inner_errors, theirs.detach()]
        if job.peer is not None:
            inner.append(job.peer.detach())
        try:
            self._process = back_end.start(job, tuple(inner))
        except BaseException:
            self._close()
            raise
        finally:
            for descriptor in inner:
                os.close(descriptor)
        self._poll = select.poll()
        self._poll.register(self._process.pidfd, select.POLLIN)
        self._poll.register(self.channel, select.POLLIN)
        for stream in self._streams:
            os.set_blocking(stream, False)
            self._poll.register(stream, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Write to the channel. Never blocks: what the program does not read waits here."""
        if self._outcome is None:
            self.channel.send(data)
            self._poll.register(self.channel, self.channel.interest())

    def read_line(self, timeout: float | None = None) -> bytes | None:
        """Take the next line of the channel, without its newline; it will not be in the outcome's report.

        Args:
            timeout: seconds; by default as long as the program may run.

        Returns:
            None if none came in time or the program has ended.
        """
        until = self._deadline if timeout is None else time.monotonic() + timeout
        while not self.channel.lines and self._outcome is None:
            if time.monotonic() >= until and timeout is not None:
                return None
            self._step(until)
        return self.channel.take() if self.channel.lines else None

    def kill(self) -> None:
        """End the program now; the outcome then says that it exited, by SIGKILL."""
        if self._outcome is None:
            self._stop(End.EXITED)

    def wait(self, reply: Reply | None = None) -> Outcome:
        """Wait for the program's end.

        Args:
            reply: answers the lines of the channel, those that wait first.
        """
        answered = 0
        while True:
            while reply is not None and answered < len(self.channel.lines):
                answer = reply(self.channel.lines[answered])
                answered += 1
                if answer is not None:
                    self.send(answer)
            if self._outcome is not None:
                return self._outcome
            self._step(self._deadline)

    def _step(self, until: float) -> None:
        """Wait until something happens, and deal with it."""
        ended = False
        for descriptor, event in self._poll.poll(self._patience(until)):
            if descriptor == self._process.pidfd:
                ended = True
            elif descriptor in self._streams:
                self._read_stream(descriptor)
            else:
                self._exchange(event)
        if ended:
            self._finish()
        elif self._end is None:
            self._enforce()

    def _patience(self, until: float) -> float | None:
        """How long to wait for an event, milliseconds; None once the program was killed."""
        if self._end is not None:
            return None
        seconds = min(until, self._deadline) - time.monotonic()
        if not self._process.memory_limited:
            seconds = min(seconds, _MEMORY_EVERY_SECONDS)
        return max(0.0, seconds) * 1000

    def _enforce(self) -> None:
        """Apply the limits that the kernel does not."""
        now = time.monotonic()
        if now >= self._deadline:
            self._stop(End.TIMEOUT)
        elif not self._process.memory_limited and now >= self._next_look:
            self._next_look = now + _MEMORY_EVERY_SECONDS
            if memory_bytes(self._process.pidfd) > self._limits.memory_bytes:
                self._stop(End.MEMORY)

    def _stop(self, end: End) -> None:
        """Kill the program for a reason of ours; the first one counts."""
        self._end = self._end or end
        self._process.kill()

    def _exchange(self, event: int) -> None:
        if event & select.POLLOUT:
            self.channel.flush()
        if event & ~select.POLLOUT and not self.channel.receive():
            self._stop(End.OUTPUT)
        if interest := self.channel.interest():
            self._poll.register(self.channel, interest)
        else:
            self._poll.unregister(self.channel)

    def _read_stream(self, descriptor: int) -> bool:
        """Read a block of standard output or error; False where there is none for now."""
        try:
            block = os.read(descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return False
        if not block:
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._streams[descriptor]
            return False
        room = self._limits.output_bytes - len(self._output) - len(self._errors)
        self._streams[descriptor] += block[:room]
        if len(block) > room:
            self._stop(End.OUTPUT)
        return len(block) <= room

    def _finish(self) -> None:
        """Collect what is left in the pipes, reap the program, and make the outcome."""
        for descriptor in list(self._streams):
            while self._read_stream(descriptor):
                pass
        if not self.channel.receive():
            self._end = self._end or End.OUTPUT
        exit_ = self._process.wait()
        end = self._end or _end_of(exit_, self._limits.cpu_seconds)
        self._outcome = Outcome(
            end,
            exit_.code,
            bytes(self._output),
            bytes(self._errors),
            tuple(self.channel.lines),
            exit_.cpu_seconds,
            time.monotonic() - self._started,
            exit_.memory_bytes,
            exit_.trouble if end is End.SANDBOX else "",
        )
        self._close()

    def _close(self) -> None:
        self.channel.close()
        for stream in self._streams:
            os.close(stream)


def _end_of(exit_: Exit, cpu_seconds: int) -> End:
    """Why a program ended that we did not stop."""
    if exit_.trouble:
        return End.SANDBOX
    if exit_.out_of_memory:
        return End.MEMORY
    if exit_.code == -signal.SIGKILL and exit_.cpu_seconds >= cpu_seconds * _CPU_SHARE:
        return End.TIMEOUT
    return End.EXITED
