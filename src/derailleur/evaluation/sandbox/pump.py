"""One poll for all programs of a worker, so that none waits while the caller waits for another."""

import select
import time
from collections.abc import Callable
from typing import Protocol

Handler = Callable[[int], object]
"""Told what happened to its descriptor, as select.POLL* flags."""


class Watched(Protocol):
    """Something with limits that time brings."""

    def next_look(self) -> float:
        """When to call `enforce` at the latest, on the monotonic clock; infinity for never."""

    def enforce(self) -> None:
        """Apply the limits that are due."""


class Pump:
    """Descriptors and what to do when something happens to them.

    Attributes:
        watched: what is asked for its limits in every step.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}
        self.watched: list[Watched] = []

    def register(self, descriptor: int, events: int, handler: Handler) -> None:
        """Have `handler` told of `events`; a second call replaces the first."""
        self._poll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """Leave a descriptor alone, before it is closed; one that is not registered is no error."""
        if self._handlers.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def step(self, until: float) -> None:
        """Wait until something happens or is due, at most until a time, and deal with it."""
        wake = min([until, *(watched.next_look() for watched in self.watched)])
        patience = None if wake == float("inf") else max(0.0, wake - time.monotonic()) * 1000
        for descriptor, event in self._poll.poll(patience):
            if handler := self._handlers.get(descriptor):  # else forgotten by one before it
                handler(event)
        for watched in list(self.watched):
            watched.enforce()
