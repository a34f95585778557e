"""Runs many programs at once, each distinct one once, and gives every row its judgement."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from derailleur.evaluation.programs.row import Row
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.io import Progress, silent

_SANDBOX_RETRIES = 2
_UNSETTLED = (Verdict.TIMEOUT, Verdict.SANDBOX)
"""Verdicts that may be other ones the next time."""


class Judge(Protocol):
    """A worker's own sandbox, and what judges programs in it."""

    def judge(self, row: Row) -> Judgement: ...

    def close(self) -> None:
        """End whatever runs, also while another thread is in `judge`, which then returns or raises."""


class Store(Protocol):
    """Judgements known already, by key; it is given each new one. Used from the workers' threads."""

    def get(self, key: str) -> Judgement | None: ...

    def put(self, key: str, judgement: Judgement) -> None: ...


class Pool:
    """Worker threads with a judge each; programs start in the order in which they are submitted.

    A timeout is tried once more when all others are done, with nothing beside it, and counts if it times out
    again. A failure of the sandbox is tried again in fresh ones, twice. Leaving the `with` block ends all.

    Attributes:
        num_distinct: programs that differ, of those submitted.
        num_known: of these, found in a store.
        num_retried: of these, tried once more alone.
    """

    def __init__(
        self,
        open_judge: Callable[[], Judge],
        *,
        workers: int,
        key: Callable[[Row], str],
        stores: Sequence[Store] = (),
    ) -> None:
        """Start without any judge; a worker opens its own with its first program.

        Args:
            key: the same text for rows that are judged alike.
            stores: looked through in order.
        """
        self.num_distinct = self.num_known = self.num_retried = 0
        self._open_judge, self._key, self._stores = open_judge, key, stores
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="judge")
        self._of_thread: dict[int, Judge] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._keys: list[str] = []
        self._judgements: dict[str, Judgement] = {}
        self._running: dict[Future[Judgement], tuple[str, Row]] = {}
        self._submitted: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed.set()
            judges = list(self._of_thread.values())
            self._of_thread.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)
        with ExitStack() as stack:  # all are closed, also where one fails to
            stack.callback(self._executor.shutdown, wait=True)
            for judge in judges:
                stack.callback(judge.close)

    def submit(self, row: Row) -> None:
        """Have a row judged; returns at once."""
        key = self._key(row)
        self._keys.append(key)
        if key in self._submitted:
            return
        self._submitted.add(key)
        self.num_distinct += 1
        known = next((found for store in self._stores if (found := store.get(key))), None)
        if known is not None:
            self.num_known += 1
            self._judgements[key] = known
        else:
            self._running[self._executor.submit(self._first_try, key, row)] = key, row

    def finish(self, progress: Progress = silent) -> list[Judgement]:
        """Wait for all; the judgements of the rows in the order in which they were submitted."""
        start = time.monotonic()
        for done, future in enumerate(as_completed(self._running), start=1):
            self._judgements[self._running[future][0]] = future.result()
            rate = f"{done / (time.monotonic() - start):.0f}/s"
            progress("programs", done, len(self._running), rate)
        timeouts = [
            (key, row)
            for key, row in self._running.values()
            if self._judgements[key].verdict is Verdict.TIMEOUT
        ]
        self._running.clear()
        self.num_retried += len(timeouts)
        for done, (key, row) in enumerate(timeouts, start=1):
            self._judgements[key] = self._executor.submit(self._second_try, key, row).result()
            progress("timeouts again, alone", done, len(timeouts))
        return [self._judgements[key] for key in self._keys]

    def _first_try(self, key: str, row: Row) -> Judgement:
        judgement = self._judged(row)
        if judgement.verdict not in _UNSETTLED:
            self._keep(key, judgement)
        return judgement

    def _second_try(self, key: str, row: Row) -> Judgement:
        judgement = self._judged(row)
        self._keep(key, judgement)
        return judgement

    def _keep(self, key: str, judgement: Judgement) -> None:
        if self._closed.is_set():
            return  # a program that we ended has no verdict
        for store in self._stores:
            store.put(key, judgement)

    def _judged(self, row: Row) -> Judgement:
        for _ in range(_SANDBOX_RETRIES):
            judgement = self._own_judge().judge(row)
            if judgement.verdict is not Verdict.SANDBOX:
                return judgement
            self._drop_own_judge()
        return self._own_judge().judge(row)

    def _own_judge(self) -> Judge:
        thread = threading.get_ident()
        if thread in self._of_thread:
            return self._of_thread[thread]
        if self._closed.is_set():
            raise CancelledError
        judge = self._open_judge()
        with self._lock:
            if not self._closed.is_set():
                self._of_thread[thread] = judge
                return judge
        judge.close()
        raise CancelledError

    def _drop_own_judge(self) -> None:
        with self._lock:
            judge = self._of_thread.pop(threading.get_ident(), None)
        if judge is not None:
            judge.close()
