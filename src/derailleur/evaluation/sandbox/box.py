"""The supervisor's side of one running program: its pipes, its channel, the wall clock and the caps.

Independent of how the program is confined: a back end is given the inner ends of the pipes and gives
back a `Process`. All programs of a worker are pumped whenever the caller waits for one, so that a program can
block nothing but itself.
"""

import functools
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
from derailleur.evaluation.sandbox.pump import Pump

Reply = Callable[[bytes], bytes | None]
"""Called with each line that a guest writes on its channel; what it returns is sent back."""

_NEVER = float("inf")
_BLOCK_BYTES = 1 << 16
_MEMORY_EVERY_SECONDS = 0.1
_CPU_SHARE = 0.5  # of its limit, that a process killed for it has had at least: the kernel counts clock ticks


class Box:
    """One running program."""

    def __init__(self, back_end: BackEnd, pump: Pump, job: Job) -> None:
        """Start the program.

        Raises:
            RefusedError: if the back end no longer works.
        """
        self._pump = pump
        self._limits = job.limits
        self._started = time.monotonic()
        self._deadline = self._started + job.limits.wall_seconds
        self._next_measure = _NEVER
        self._end: End | None = None
        self._outcome: Outcome | None = None
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, job.limits.report_bytes)
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
        self._watch()

    def send(self, data: bytes) -> None:
        """Write to the channel. Never blocks: what the program does not read waits here."""
        if self._outcome is None:
            self._channel.send(data)
            self._watch_channel()

    def read_line(self, timeout: float | None = None) -> bytes | None:
        """Take the next line of the channel, without its newline; it will not be in the outcome's report.

        Args:
            timeout: seconds; by default as long as the program may run.

        Returns:
            None if none came in time or the program has ended.
        """
        until = _NEVER if timeout is None else time.monotonic() + timeout
        while not self._channel.lines and self._outcome is None:
            self._pump.step(until)
            if time.monotonic() >= until:
                break
        return self._channel.take() if self._channel.lines else None

    def let_end(self, seconds: float) -> None:
        """Wait at most so long for the program's end, so that what ended it is not taken for `kill`."""
        until = time.monotonic() + seconds
        while self._outcome is None and time.monotonic() < until:
            self._pump.step(until)

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
            while reply is not None and answered < len(self._channel.lines):
                answer = reply(self._channel.lines[answered])
                answered += 1
                if answer is not None:
                    self.send(answer)
            if self._outcome is not None:
                return self._outcome
            self._pump.step(_NEVER)

    def next_look(self) -> float:
        """See `Watched`."""
        return min(self._deadline, self._next_measure)

    def enforce(self) -> None:
        """Apply the limits that the kernel does not."""
        now = time.monotonic()
        if now >= self._deadline:
            self._stop(End.TIMEOUT)
        elif now >= self._next_measure:
            self._next_measure = now + _MEMORY_EVERY_SECONDS
            if memory_bytes(self._process.pidfd) > self._limits.memory_bytes:
                self._stop(End.MEMORY)

    def _watch(self) -> None:
        if not self._process.memory_limited:
            self._next_measure = self._started + _MEMORY_EVERY_SECONDS
        self._pump.watched.append(self)
        self._pump.register(self._process.pidfd, select.POLLIN, self._finish)
        self._watch_channel()
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            self._pump.register(descriptor, select.POLLIN, functools.partial(self._read, descriptor))

    def _watch_channel(self) -> None:
        if interest := self._channel.interest():
            self._pump.register(self._channel.fileno(), interest, self._exchange)
        else:
            self._pump.forget(self._channel.fileno())

    def _stop(self, end: End) -> None:
        """Kill the program for a reason of ours; the first one counts, and its limits no longer do."""
        self._end = self._end or end
        self._deadline = self._next_measure = _NEVER
        self._process.kill()

    def _exchange(self, event: int) -> None:
        if event & select.POLLOUT:
            self._channel.flush()
        if event & ~select.POLLOUT and not self._channel.receive():
            self._stop(End.OUTPUT)
        self._watch_channel()

    def _read(self, descriptor: int, _: int = 0) -> bool:
        """Read a block of standard output or error; False where there is none for now."""
        try:
            block = os.read(descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return False
        if not block:
            self._close_stream(descriptor)
            return False
        room = self._limits.output_bytes - len(self._output) - len(self._errors)
        self._streams[descriptor] += block[:room]
        if len(block) > room:
            self._stop(End.OUTPUT)
        return len(block) <= room

    def _finish(self, _: int) -> None:
        """Collect what is left in the pipes, reap the program, and make the outcome."""
        for descriptor in list(self._streams):
            while self._read(descriptor):
                pass
        if not self._channel.receive():
            self._end = self._end or End.OUTPUT
        self._pump.watched.remove(self)
        self._pump.forget(self._process.pidfd)
        exit_ = self._process.wait()
        end = self._end or _end_of(exit_, self._limits.cpu_seconds)
        self._outcome = Outcome(
            end,
            exit_.code,
            bytes(self._output),
            bytes(self._errors),
            tuple(self._channel.lines),
            exit_.cpu_seconds,
            time.monotonic() - self._started,
            exit_.memory_bytes,
            exit_.trouble if end is End.SANDBOX else "",
        )
        self._close()

    def _close(self) -> None:
        self._pump.forget(self._channel.fileno())
        self._channel.close()
        for descriptor in list(self._streams):
            self._close_stream(descriptor)

    def _close_stream(self, descriptor: int) -> None:
        self._pump.forget(descriptor)
        os.close(descriptor)
        del self._streams[descriptor]


def _end_of(exit_: Exit, cpu_seconds: int) -> End:
    """Why a program ended that we did not stop."""
    if exit_.trouble:
        return End.SANDBOX
    if exit_.out_of_memory:
        return End.MEMORY
    if exit_.code == -signal.SIGKILL and exit_.cpu_seconds >= cpu_seconds * _CPU_SHARE:
        return End.TIMEOUT
    return End.EXITED
