"""Pools whose entries are handed out, shared and taken back, and the page tables made of them.

An entry is a slot (a recurrent state) or a page (keys and values of `PAGE_TOKENS` tokens). A page that
several hold is copied before one of them writes to it.
"""

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from derailleur.model.mixers import PAGE_TOKENS, KeyValuePages, PagedKeyValues, Pool

Pages = NDArray[np.int32]


class CountedPool:
    """A pool, and how many hold each of its entries; entries that nobody holds are free.

    Attributes:
        pool: its tensors are replaced when it is resized.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.bytes_per_entry = pool.bytes_per_slot
        self._holders: Pages = np.zeros(pool.num_slots, np.int32)
        self._free = list(range(pool.num_slots))

    @property
    def num_entries(self) -> int:
        """Free or not."""
        return len(self._holders)

    @property
    def num_free(self) -> int:
        """Entries that can be taken."""
        return len(self._free)

    @property
    def num_bytes(self) -> int:
        """Memory of all entries, free ones included."""
        return self.num_entries * self.bytes_per_entry

    def take(self) -> int:
        """The lowest free entry: low ones keep the rows of a batch close to each other."""
        entry = heapq.heappop(self._free)
        self._holders[entry] = 1
        return entry

    def share(self, entries: Pages) -> None:
        """Count one more holder of each."""
        self._holders[entries] += 1

    def give_back(self, entries: Pages) -> None:
        """Count one holder of each less."""
        self._holders[entries] -= 1
        for entry in entries[self._holders[entries] == 0].tolist():
            heapq.heappush(self._free, entry)

    def is_shared(self, entry: int) -> bool:
        """Whether it must not be written to."""
        return bool(self._holders[entry] > 1)

    def copy(self, sources: Pages, targets: Pages) -> None:
        """Copy what entries hold to others, one to one."""
        for x in self.pool.tensors().values():
            read, written = (torch.from_numpy(entries).to(x.device).long() for entries in (sources, targets))
            x[written] = x[read]

    def resize(self, num_entries: int) -> None:
        """Add free entries, or drop the last ones, which must be free."""
        self.pool.resize(num_entries)
        holders = np.zeros(num_entries, np.int32)
        kept = self._holders[:num_entries]
        holders[: len(kept)] = kept
        self._holders = holders
        self._free = np.flatnonzero(holders == 0).tolist()  # in order, and so a heap

    def trim(self) -> int:
        """Drop the free entries behind the last that is held; gives the bytes that this returned."""
        held = np.flatnonzero(self._holders)
        num_needed = int(held[-1]) + 1 if len(held) else 0
        returned = (self.num_entries - num_needed) * self.bytes_per_entry
        if returned:
            self.resize(num_needed)
        return returned


class PageTable:
    """The pages of one state's keys and values in one layer: position p stands in page p // PAGE_TOKENS.

    Args:
        num_ring_pages: pages of a ring, which p // PAGE_TOKENS goes round; None where all tokens are kept.

    Attributes:
        version: another one after every change.
    """

    def __init__(self, pool: CountedPool, num_ring_pages: int | None) -> None:
        self.pool, self.num_ring_pages = pool, num_ring_pages
        self.version = 0
        self._pages: Pages = np.zeros(num_ring_pages or 8, np.int32)
        self._num_pages = 0

    @property
    def entries(self) -> Pages:
        """The pages' numbers; a view."""
        return self._pages[: self._num_pages]

    def comes_round(self, num_tokens: int) -> bool:
        """Whether so many tokens write over the first ones."""
        return self.num_ring_pages is not None and num_tokens > self.num_ring_pages * PAGE_TOKENS

    def num_missing(self, start: int, end: int) -> int:
        """Pages to take before positions from start to end can be written, copies of shared ones included."""
        return sum(self._must_take(place) for place in self._places(start, end))

    def prepare(self, start: int, end: int) -> None:
        """Take those pages."""
        for place in self._places(start, end):
            if not self._must_take(place):
                continue
            page = self.pool.take()
            if place == self._num_pages:
                self._append(page)
            else:
                shared = self._pages[place : place + 1].copy()
                self._pages[place] = page
                self.pool.copy(shared, self._pages[place : place + 1])
                self.pool.give_back(shared)
            self.version += 1

    def adopt(self, pages: Pages) -> None:
        """Begin with pages that others hold too."""
        self.pool.share(pages)
        for page in pages.tolist():
            self._append(page)
        self.version += 1

    def release(self) -> None:
        """Hold nothing any more."""
        self.pool.give_back(self.entries)
        self._num_pages = 0
        self.version += 1

    def _places(self, start: int, end: int) -> Sequence[int]:
        """Places in the table of the pages that positions from start to end stand in, in order."""
        written = range(start // PAGE_TOKENS, -(-end // PAGE_TOKENS))
        ring = self.num_ring_pages
        if ring is None or written.stop <= ring:
            return written
        return range(ring) if len(written) >= ring else sorted(page % ring for page in written)

    def _must_take(self, place: int) -> bool:
        return place >= self._num_pages or self.pool.is_shared(int(self._pages[place]))

    def _append(self, page: int) -> None:
        if self._num_pages == len(self._pages):
            self._pages = np.concatenate([self._pages, np.zeros_like(self._pages)])
        self._pages[self._num_pages] = page
        self._num_pages += 1


class JoinedTables:
    """The page tables of several states side by side, joined anew only when one of them has changed."""

    def __init__(self, tables: Sequence[PageTable], window: int | None, device: torch.device) -> None:
        self._tables, self._window, self._device = tables, window, device
        self._versions: list[int] = []
        self._joined = torch.empty(0)

    @property
    def pool(self) -> PagedKeyValues:
        """The pages as the step's rows see them."""
        versions = [table.version for table in self._tables]
        if versions != self._versions:
            self._joined, self._versions = self._join(), versions
        pages = self._tables[0].pool.pool
        assert isinstance(pages, KeyValuePages)
        return PagedKeyValues(pages.keys, pages.values, self._joined, self._window)

    def _join(self) -> torch.Tensor:
        width = self._tables[0].num_ring_pages or max(len(table.entries) for table in self._tables)
        joined: Pages = np.zeros((len(self._tables), width), np.int32)
        for row, table in zip(joined, self._tables, strict=True):
            row[: len(table.entries)] = table.entries
        return torch.from_numpy(joined).to(self._device)
