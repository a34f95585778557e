"""Cuts a stream of sized items into batches of about as many bytes."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_MOST_ITEMS = 8192
"""However small they are: a unit's list has to be held by whoever reads it."""


def batches(sized: Iterable[tuple[Item, int]], num_bytes: int) -> Iterator[tuple[list[Item], int]]:
    """Yield lists of items with the sum of their sizes; a list ends once it reaches `num_bytes`."""
    items: list[Item] = []
    total = 0
    for item, size in sized:
        items.append(item)
        total += size
        if total >= num_bytes or len(items) >= _MOST_ITEMS:
            yield items, total
            items, total = [], 0
    if items:
        yield items, total
