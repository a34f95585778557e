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

_ROOM_PAGES = 8
"""By how much joined tables are wider than they must be, so that they last for a while."""


class CountedPool:
    """A pool, and how many hold each of its entries; entries that nobody holds are free.

    Args:
        has_spare: there is one entry more than is counted, which nobody is given.

    Attributes:
        pool: its tensors are replaced when it is resized.
    """

    def __init__(self, pool: Pool, *, has_spare: bool = False) -> None:
        self.pool = pool
        self._num_spare = int(has_spare)
        self.bytes_per_entry = pool.bytes_per_slot
        self._holders: Pages = np.zeros(pool.num_slots, np.int32)
        self._free = list(range(pool.num_slots))

    @property
    def num_entries(self) -> int:
        """Free or not."""
        return len(self._holders)

    @property
    def spare(self) -> int:
        """The entry behind all others, where rows write that only fill a batch up."""
        assert self._num_spare, "this pool has no spare entry"
        return self.num_entries

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
        self.pool.resize(num_entries + self._num_spare)
        holders = np.zeros(num_entries, np.int32)
        kept = self._holders[:num_entries]
        holders[: len(kept)] = kept
        self._holders = holders
        self._free = np.flatnonzero(holders == 0).tolist()  # in order, and so a heap

    def trim(self, *, min_share: float = 0.0) -> int:
        """Drop the free entries behind the last that is held; gives the bytes that this returned.

        Args:
            min_share: the share of all entries that this must drop: those that stay are copied for it.
        """
        held = np.flatnonzero(self._holders)
        num_needed = int(held[-1]) + 1 if len(held) else 0
        num_dropped = self.num_entries - num_needed
        if not num_dropped or num_dropped < min_share * self.num_entries:
            return 0
        self.resize(num_needed)
        return num_dropped * self.bytes_per_entry


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
        if self.num_ring_pages is None:
            self._pages = np.zeros(len(pages) + 8, np.int32)
        self._pages[: len(pages)] = pages
        self._num_pages = len(pages)
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
    """The page tables of several states side by side; what changed in one of them is written anew.

    Attributes:
        counted: the pool of all their pages.
        num_ring_pages: of all of them.
    """

    def __init__(self, tables: Sequence[PageTable], window: int | None, device: torch.device) -> None:
        self._tables, self._window, self._device = tables, window, device
        self._versions = [-1] * len(tables)
        self._rows: Pages = np.zeros((len(tables), 0), np.int32)
        self._joined = torch.empty(0)
        self.counted = tables[0].pool
        self.num_ring_pages = tables[0].num_ring_pages

    @property
    def pool(self) -> PagedKeyValues:
        """The pages as the step's rows see them."""
        versions = [table.version for table in self._tables]
        if versions != self._versions:
            self._join(versions)
        return self.through(self._joined)

    def through(self, tables: torch.Tensor) -> PagedKeyValues:
        """The pages as they are seen through other tables of as many rows."""
        pages = self.counted.pool
        assert isinstance(pages, KeyValuePages)
        return PagedKeyValues(pages.keys, pages.values, tables, self._window)

    def _join(self, versions: list[int]) -> None:
        changed = [row for row, (a, b) in enumerate(zip(versions, self._versions, strict=True)) if a != b]
        ring = self.num_ring_pages
        width = ring or max(len(self._tables[row].entries) for row in changed)
        if width > self._rows.shape[1]:
            self._rows = np.zeros((len(self._tables), ring or width + _ROOM_PAGES), np.int32)
            changed = list(range(len(self._tables)))
        for row in changed:
            entries = self._tables[row].entries
            self._rows[row, : len(entries)] = entries
        # A copy on a CPU too: a step that still reads the last one is not disturbed.
        self._joined, self._versions = torch.tensor(self._rows, device=self._device), versions
