"""Where tasks run: in this process, in processes beside it, or on a Ray cluster.

A task is a pure function of its argument that leaves its result in files, so that it may be killed and done
again, anywhere. Results come in the order of the arguments, whoever made them.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, forkserver
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from derailleur.errors import DerailleurError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_AHEAD = 2  # tasks a worker: one at work, one waiting
_TRIES = 3
_NO_SERVER = (ConnectionError, EOFError)
"""What starting a process says when the server of forks was killed; the next start brings it back."""


class Workers(Protocol):
    """Runs tasks. `count` is how many run at once."""

    count: int

    def map(
        self, function: Callable[[Argument], Result], arguments: Sequence[Argument]
    ) -> Iterator[Result]: ...

    def close(self) -> None: ...


def available_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def start_workers(*, count: int | None = None, ray_address: str | None = None) -> Workers:
    """Workers of the kind that was asked for.

    Args:
        count: processes; None takes the cores that this process may use. Without effect on Ray.
        ray_address: of a Ray cluster that shares this file system.

    Raises:
        UserError: if Ray is not installed or does not answer.
    """
    if ray_address is not None:
        from derailleur.corpus.ray_workers import RayWorkers

        return RayWorkers(ray_address)
    count = count or available_cores()
    return ThisProcess() if count == 1 else Processes(count)


class ThisProcess:
    """Runs one task after another, here."""

    count = 1

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Yield `function(argument)` for each argument."""
        return map(function, arguments)

    def close(self) -> None:
        """Nothing is left open."""


class Processes:
    """Runs tasks in processes of this machine.

    A process that dies, as one does that the kernel kills for its memory, takes its pool along. The tasks
    that were under way are done again one at a time, so that one that kills its process is known by name.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        forkserver.set_forkserver_preload(["derailleur.corpus.stage", "derailleur.corpus.warm"])
        forkserver.ensure_running()  # it imports while the caller plans

    def map(self, function: Callable[[Argument], Result], arguments: Sequence[Argument]) -> Iterator[Result]:
        """Yield `function(argument)` for each argument, in their order.

        Raises:
            DerailleurError: if a task kills its process even when it runs alone.
        """
        rest = iter(arguments)
        under_way: deque[tuple[Argument, Future[Result]]] = deque()
        while True:
            for argument in islice(rest, self.count * _AHEAD - len(under_way)):
                under_way.append((argument, self._submit(function, argument)))
            if not under_way:
                return
            try:
                result = under_way[0][1].result()
            except BrokenProcessPool:
                suspects = [argument for argument, _ in under_way]
                under_way.clear()
                yield from self._one_at_a_time(function, suspects)
            else:
                under_way.popleft()
                yield result

    def close(self) -> None:
        """End the processes, at once where an error left tasks waiting."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _submit(self, function: Callable[[Argument], Result], argument: Argument) -> Future[Result]:
        if self._pool is None:
            self._pool = _pool(self.count)
        try:
            return self._pool.submit(function, argument)
        except (BrokenProcessPool, *_NO_SERVER):  # it broke between two submissions: the result tells
            broken: Future[Result] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken

    def _one_at_a_time(
        self, function: Callable[[Argument], Result], suspects: Iterable[Argument]
    ) -> Iterator[Result]:
        self.close()
        for argument in suspects:
            yield _alone(function, argument)


def _alone(function: Callable[[Argument], Result], argument: Argument) -> Result:
    """Do one task in a process of its own."""
    for _ in range(_TRIES):
        with _pool(1) as pool:
            try:
                future = pool.submit(function, argument)
            except _NO_SERVER:
                continue
            try:
                return future.result()
            except BrokenProcessPool:
                raise DerailleurError(
                    f"{argument}: its worker was killed twice, the second time alone; out of memory? "
                    "What is done stays: the same command resumes"
                ) from None
    raise DerailleurError(f"{argument}: no process can be started for it; the same command resumes")


def _pool(count: int) -> ProcessPoolExecutor:
    # A fork of this process would take along its threads' locks; a spawned one would import all anew.
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(count, mp_context=context, initializer=prepare_worker)


def prepare_worker() -> None:
    """What every worker process does first: use one core, and end when its parent does."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: Any) -> None:
    connection.wait([sentinel])
    os._exit(1)
