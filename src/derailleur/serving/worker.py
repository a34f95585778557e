"""The thread that owns the engine, and how asynchronous code talks to it.

Commands go in through a thread-safe queue and run between two steps; what a step adds goes back to the
event loop of the stream that waits for it.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import Future
from typing import TypeVar

from derailleur.engine import Delta, Engine, EngineLoad, Request
from derailleur.errors import DerailleurError, UserError
from derailleur.serving.auto import AutoPreset
from derailleur.serving.config import LimitsConfig
from derailleur.serving.metrics import Meter
from derailleur.serving.refusals import DeadlineError, DrainingError, OverloadedError, SlowClientError

log = logging.getLogger(__name__)

_SHUTTING_DOWN = "the server is shutting down"
_RETRY_SECONDS = 1.0
_MAX_BACKLOG = 8192
"""Pieces of an answer that wait for a client to read; they are memory that no budget counts."""

Result = TypeVar("Result")


class AnswerStream:
    """What comes back for a group of requests, in the order in which it is computed.

    Args:
        meter: is told of everything that comes back.
        seconds: when, from now on, the group must be finished.

    Attributes:
        deadline: the same, by the event loop's clock.
    """

    def __init__(self, worker: "EngineWorker", meter: Meter, *, seconds: float) -> None:
        self._worker, self._meter = worker, meter
        self._loop = asyncio.get_running_loop()
        self._seconds, self.deadline = seconds, self._loop.time() + seconds
        self._arrived: asyncio.Queue[tuple[int, Delta] | DerailleurError] = asyncio.Queue()
        self._num_unfinished = 0

    async def __aiter__(self) -> AsyncIterator[tuple[int, Delta]]:
        """Pairs of a request's place in the group and what was added to it.

        Raises:
            DerailleurError: if the engine failed or was stopped.
            DeadlineError: if time ran out.
        """
        while self._num_unfinished:
            try:
                async with asyncio.timeout_at(self.deadline):
                    arrived = await self._arrived.get()
            except TimeoutError:
                raise DeadlineError(f"not finished within {self._seconds:g} seconds") from None
            if isinstance(arrived, DerailleurError):
                raise arrived
            self._num_unfinished -= arrived[1].finish_reason is not None
            yield arrived

    @property
    def lags(self) -> bool:
        """Whether the client reads far less than is written for it."""
        return self._arrived.qsize() > _MAX_BACKLOG

    async def open(self, requests: list[Request], *, auto: bool = False) -> list[Request]:
        """Submit the requests; gives them as the engine took them on.

        Args:
            auto: whether their placement is yet to be chosen.

        Raises:
            UserError, CapacityError: if the engine refuses one of them.
            OverloadedError: if too many wait already.
        """
        self._num_unfinished = len(requests)
        try:
            return await self._worker.call(
                lambda engine: self._worker.submit(engine, self, requests, auto=auto)
            )
        except BaseException:
            # Refused half-way, or the client left meanwhile: the rest must not run on.
            self.close()
            raise

    def close(self) -> None:
        """Cancel what is not finished; frees its memory before the next step."""

        def command(engine: Engine) -> None:
            self._worker.cancel(engine, self)
            self._meter.close()

        self._worker.post(command)

    def accept(self, requests: Sequence[Request]) -> None:
        """Called by the worker's thread before anything is delivered."""
        self._meter.accept(requests[0].placement)

    def deliver(self, arrived: tuple[int, Delta] | DerailleurError) -> None:
        """Called by the worker's thread."""
        if not isinstance(arrived, DerailleurError):
            self._meter.add(*arrived)
        self._loop.call_soon_threadsafe(self._arrived.put_nowait, arrived)


class EngineWorker:
    """Runs an engine in a thread of its own.

    Args:
        max_waiting: how many requests it holds beside those that can run.
        auto: chooses placements; is told of all that the engine does.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_waiting: int = LimitsConfig().max_waiting,
        auto: AutoPreset | None = None,
    ) -> None:
        self._engine, self._auto = engine, auto
        self._capacity = engine.config.max_rows + max_waiting
        self._commands: queue.SimpleQueue[Callable[[Engine], None] | None] = queue.SimpleQueue()
        self._streams: dict[int, tuple[AnswerStream, int]] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel everything and wait for the thread to end."""
        self._commands.put(None)
        self._thread.join()

    def end_streams(self) -> None:
        """End what is still being answered, with an error to those who wait."""
        self.post(lambda engine: self._fail_all(DrainingError(_SHUTTING_DOWN)))

    def post(self, command: Callable[[Engine], None]) -> None:
        """Run a command between two steps."""
        self._commands.put(command)

    async def call(self, function: Callable[[Engine], Result]) -> Result:
        """Run a function between two steps and wait for its result."""
        future: Future[Result] = Future()

        def command(engine: Engine) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(engine))
            except Exception as error:
                future.set_exception(error)

        self.post(command)
        return await asyncio.wrap_future(future)

    async def load(self) -> EngineLoad:
        """What the engine is busy with."""
        return await self.call(lambda engine: engine.load)

    def submit(
        self, engine: Engine, stream: AnswerStream, requests: list[Request], *, auto: bool
    ) -> list[Request]:
        """Queue requests for a stream. Called in the worker's thread.

        Only here a placement is chosen: everything that came before is in the engine by now, so that of a
        burst each request sees those before it.
        """
        if len(requests) > self._capacity:
            raise UserError(f"{len(requests)} answers in one request; this server gives {self._capacity}")
        if len(self._streams) + len(requests) > self._capacity:
            raise OverloadedError("too many requests are waiting", retry_after_seconds=_RETRY_SECONDS)
        if auto:
            assert self._auto is not None, "a job whose placement nobody chooses"
            requests = self._auto.place(requests, fits=engine.fits)
        for place, request in enumerate(requests):
            request_id = engine.submit(request)
            self._streams[request_id] = (stream, place)
            if self._auto is not None:
                self._auto.begin(request_id, request)
        stream.accept(requests)
        return requests

    def cancel(self, engine: Engine, stream: AnswerStream) -> None:
        """Cancel a stream's unfinished requests. Called in the worker's thread."""
        for request_id in [i for i, (owner, _) in self._streams.items() if owner is stream]:
            self._forget(request_id)
            engine.cancel(request_id)

    def _run(self) -> None:
        while True:
            while not (self._engine.busy and self._commands.empty()):
                command = self._commands.get()
                if command is None:
                    self._fail_all(DrainingError(_SHUTTING_DOWN))
                    return
                command(self._engine)
            self._step()

    def _step(self) -> None:
        begin = time.perf_counter()
        try:
            deltas = self._engine.step()
        except Exception:
            # A defect of ours: those who wait are told, the server goes on with an empty engine.
            log.exception("the engine failed")
            self._fail_all(DerailleurError("the engine failed; the server's log has the details"))
            return
        if self._auto is not None:
            seconds = time.perf_counter() - begin
            num_ended = sum(delta.finish_reason is not None for delta in deltas)
            num_running = len(self._engine.scheduler.running) + num_ended
            self._auto.observe(seconds, deltas, num_running=num_running)
        for delta in deltas:
            stream, place = self._streams[delta.request_id]
            if delta.finish_reason is not None:
                self._forget(delta.request_id)
            stream.deliver((place, delta))
        lagging = {stream for stream, _ in self._streams.values() if stream.lags}
        self._fail(lagging, SlowClientError("the answer is not read as fast as it is written"))

    def _forget(self, request_id: int) -> None:
        del self._streams[request_id]
        if self._auto is not None:
            self._auto.end(request_id)

    def _fail_all(self, error: DerailleurError) -> None:
        self._fail({stream for stream, _ in self._streams.values()}, error)

    def _fail(self, streams: Collection[AnswerStream], error: DerailleurError) -> None:
        for stream in streams:
            self.cancel(self._engine, stream)
            stream.deliver(error)
