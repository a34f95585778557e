"""An ordered map over threads that never runs far ahead of its reader."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4  # tasks a thread that may be waiting for the reader


def available_threads() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int
) -> Iterator[Result]:
    """Yield `function(item)` in the order of `items`, computed by threads a bounded way ahead."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as executor:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= _AHEAD * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
