"""State memory: which slots and pages hold the state of which request, within a budget of bytes.

Keys and values lie in pages that all layers and requests draw from one pool: a table of them grows with its
request, and is a ring under a window. Recurrent states have one size, and a pool of slots per layer and
mixer. A request holds memory for the mixers that its placement names, and nothing for the others. Pools
grow on demand and shrink when others need the room; where that is not enough, remembered prefixes go, the
least recently used first.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from derailleur.engine.pages import CountedPool, Pages, PageTable
from derailleur.engine.prefix import Prefix, PrefixCache, SharedPages
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers import MAX_TRACE_TOKENS, PAGE_TOKENS, KeyValuePages, Mixer, Paging, Snapshot
from derailleur.placement.placement import Placement

_GROWTH = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 0)
"""By which share of its entries a pool grows, as the room allows it."""
_WORTH_COPYING = 1 / 8
"""The share of a pool that must be free at its end for others to take it while there are prefixes to drop."""


@dataclass(frozen=True)
class Claim:
    """What one placement of one request needs.

    Attributes:
        num_tokens: how many tokens the state must be able to hold.
        scratch: also a second state that can run ahead and be forgotten, for drafting.
        text: what will be read; a remembered beginning of it is resumed from.
    """

    placement: Placement
    num_tokens: int
    scratch: bool = False
    text: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class Slot:
    """A recurrent state's place in one layer."""

    pool: CountedPool
    number: int

    @property
    def entries(self) -> Pages:
        """Its number alone."""
        return np.array([self.number], np.int32)


@dataclass(eq=False)
class State:
    """What a request remembers under one placement.

    Attributes:
        layers: where it lies, one a layer.
        length: how many tokens the state has consumed.
        writable: up to which position pages are there that nobody else holds.
        scratch: a state that runs ahead of this one. It has slots of its own where the state is
            recurrent; keys and values are addressed by position, so there it shares this state's pages.
    """

    placement: Placement
    layers: tuple[Slot | PageTable, ...]
    length: int = 0
    writable: int = 0
    scratch: "State | None" = None

    @property
    def tables(self) -> list[PageTable]:
        """Its page tables."""
        return [layer for layer in self.layers if isinstance(layer, PageTable)]

    @property
    def slots(self) -> tuple[int, ...]:
        """The numbers of its slots."""
        return tuple(layer.number for layer in self.layers if isinstance(layer, Slot))

    @property
    def exact(self) -> bool:
        """Whether it knows its text as a whole only."""
        return self.exact_at(self.length)

    def exact_at(self, num_tokens: int) -> bool:
        """Whether it does after so many tokens: it has a recurrent layer, or a ring that came round.

        Tokens that were verified and forgotten may have gone round as well.
        """
        written = num_tokens + MAX_TRACE_TOKENS
        return any(isinstance(layer, Slot) or layer.comes_round(written) for layer in self.layers)

    def copy_from(self, source: "State") -> None:
        """Become equal to a state of the same placement, of which no page is shared with this one."""
        self.length = source.length
        for mine, other in zip(self.layers, source.layers, strict=True):
            mine.pool.copy(other.entries, mine.entries[: len(other.entries)])


def restart_scratch(states: Sequence[State]) -> list[State]:
    """Set the scratch states of several states to these, and give them; a layer is copied in one call."""
    scratches: list[State] = []
    moves: dict[CountedPool, list[tuple[int, int]]] = {}
    for state in states:
        assert state.scratch is not None, "only a draft's state has a scratch state"
        state.scratch.length = state.length
        scratches.append(state.scratch)
        for source, target in zip(state.layers, state.scratch.layers, strict=True):
            if isinstance(source, Slot) and isinstance(target, Slot):
                moves.setdefault(source.pool, []).append((source.number, target.number))
    for pool, pairs in moves.items():
        sources, targets = np.array(pairs, np.int32).T.copy()
        pool.copy(sources, targets)
    return scratches


class StateMemory:
    """All pools of a decoder, within a budget of bytes.

    Args:
        has_spares: every pool has a spare entry, for CUDA graphs, beyond the budget.

    Attributes:
        prefixes: what can be resumed from.
    """

    def __init__(
        self,
        decoder: Decoder,
        budget_bytes: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        has_spares: bool = False,
    ) -> None:
        self.budget_bytes = budget_bytes
        self.prefixes = PrefixCache()
        self._decoder, self._dtype, self._device = decoder, dtype, device
        self._has_spares = has_spares
        self._slots: dict[tuple[int, str], CountedPool] = {}
        self._pages: dict[tuple[int, int], CountedPool] = {}
        self._states: set[State] = set()

    @property
    def allocated_bytes(self) -> int:
        """What the pools occupy, free entries included, and the remembered recurrent states."""
        return sum(pool.num_bytes for pool in self._pools) + self.prefixes.snapshot_bytes

    @property
    def cached_bytes(self) -> int:
        """What only remembered prefixes hold."""
        taken = sum((pool.num_entries - pool.num_free) * pool.bytes_per_entry for pool in self._pools)
        return taken - self.used_bytes().total() + self.prefixes.snapshot_bytes

    def used_bytes(self) -> Counter[str]:
        """What requests hold, by the letter of the mixer; a page that several share counts once."""
        used = Counter(dict.fromkeys(self._decoder.config.mixers.letters, 0))
        pages: dict[tuple[str, CountedPool], NDArray[np.bool_]] = {}
        for state in self._states:
            for letter, layer in zip(state.placement, state.layers, strict=True):
                if isinstance(layer, PageTable):
                    held = pages.setdefault((letter, layer.pool), np.zeros(layer.pool.num_entries, np.bool_))
                    held[layer.entries] = True
                else:
                    used[letter] += layer.pool.bytes_per_entry * (2 if state.scratch else 1)
        for (letter, pool), held in pages.items():
            used[letter] += int(held.sum()) * pool.bytes_per_entry
        return used

    def required_bytes(self, claims: Sequence[Claim]) -> int:
        """What claims take that share nothing; beyond the budget they can never be granted."""
        return sum(pool.bytes_per_entry * count for pool, count in self._needed(claims).items())

    def allocate(self, claims: Sequence[Claim]) -> list[State] | None:
        """Grant all claims, or none: None means that other requests must finish first."""
        # Pools are copied when they grow: what is sure to be needed is added at once.
        needed = self._needed([claim for claim in claims if not claim.text])
        if not self._ensure(lambda: needed):
            return None
        states: list[State] = []
        for claim in claims:
            state = self._grant(claim)
            if state is None:
                for granted in states:
                    self.release(granted)
                return None
            states.append(state)
        return states

    def reserve(self, state: State, num_tokens: int) -> bool:
        """Have pages for the next tokens of a state; False, and nothing is done, if there are too few."""
        end = state.length + num_tokens
        if end <= state.writable:
            return True
        tables = state.tables

        def missing() -> Counter[CountedPool]:
            pages: Counter[CountedPool] = Counter()
            for table in tables:
                pages[table.pool] += table.num_missing(state.length, end)
            return pages

        if not self._ensure(missing):
            return False
        for table in tables:
            table.prepare(state.length, end)
        # In a ring the page after this one may be shared.
        state.writable = -(-end // PAGE_TOKENS) * PAGE_TOKENS
        return True

    def release(self, state: State) -> None:
        """Take a state's slots and pages back."""
        self._states.discard(state)
        for layer in state.layers:
            if isinstance(layer, PageTable):
                layer.release()
        for own in (state, state.scratch):
            for layer in own.layers if own is not None else ():
                if isinstance(layer, Slot):
                    layer.pool.give_back(layer.entries)

    def remember(self, state: State, text: Sequence[int]) -> None:
        """Keep what a state has read, as far as there is room, for other requests to resume from.

        Args:
            text: whose first `state.length` tokens it has consumed; or all, where a draft was accepted
                beyond the end.
        """
        read = text[: state.length]
        if state.exact and len(read) < state.length:
            return
        if len(read) < PAGE_TOKENS or self.prefixes.knows(state.placement, read):
            return
        size = sum(layer.pool.bytes_per_entry for layer in state.layers if isinstance(layer, Slot))
        while self.allocated_bytes + size > self.budget_bytes:
            if not self._make_room():
                return
        layers = tuple(_shared(layer, len(read)) for layer in state.layers)
        self.prefixes.add(Prefix(state.placement, np.asarray(read, np.int32), layers, state.exact))
        state.writable = state.length

    def drop_idle(self) -> None:
        """Forget all prefixes and return the memory of free entries."""
        while self.prefixes.drop_oldest():
            pass
        self._trim()

    @property
    def _pools(self) -> list[CountedPool]:
        return [*self._slots.values(), *self._pages.values()]

    def _grant(self, claim: Claim) -> State | None:
        found = self.prefixes.find(claim.placement, claim.text) if claim.text else None
        pools = [self._pool(layer, letter) for layer, letter in enumerate(claim.placement)]
        pagings = [self._mixer(layer, letter).paging for layer, letter in enumerate(claim.placement)]
        slots = [pool for pool, paging in zip(pools, pagings, strict=True) if paging is None]
        tables = {
            layer: PageTable(pool, _num_ring_pages(paging))
            for layer, (pool, paging) in enumerate(zip(pools, pagings, strict=True))
            if paging is not None
        }
        if found is not None:
            # First of all: now the prefix may be forgotten.
            _adopt(tables, *found)
        ways = 2 if claim.scratch else 1
        needed = Counter(slots * ways)
        if not self._ensure(lambda: needed):
            for table in tables.values():
                table.release()
            return None

        def state() -> State:
            layers = (tables.get(i) or Slot(pool, pool.take()) for i, pool in enumerate(pools))
            return State(claim.placement, tuple(layers))

        made = state()
        made.scratch = state() if claim.scratch else None
        self._states.add(made)
        self._set(made, found)
        if not self.reserve(made, claim.num_tokens - made.length):
            self.release(made)
            return None
        return made

    def _set(self, state: State, found: tuple[Prefix, int] | None) -> None:
        """Begin at the end of a prefix, or with nothing."""
        if found is not None:
            state.length = state.writable = found[1]
        for i, layer in enumerate(state.layers):
            if not isinstance(layer, Slot):
                continue
            remembered = None if found is None else found[0].layers[i]
            if remembered is None or isinstance(remembered, SharedPages):
                layer.pool.pool.clear(torch.tensor([layer.number]))
            else:
                layer.pool.pool.restore(layer.number, remembered)

    def _ensure(self, needed: Callable[[], Mapping[CountedPool, int]]) -> bool:
        """Have so many free entries.

        Args:
            needed: asked again after every prefix that went: a page that it shared need not be copied then.
        """
        while not self._grow(needed()):
            if not self._make_room():
                return False
        return True

    def _grow(self, needed: Mapping[CountedPool, int]) -> bool:
        """Add the entries that are missing; more, where the budget allows it: pools are copied for it."""
        missing = +Counter({pool: count - pool.num_free for pool, count in needed.items()})
        if not missing:
            return True
        room = self.budget_bytes - self.allocated_bytes
        for share in _GROWTH:
            added = {pool: max(count, int(share * pool.num_entries)) for pool, count in missing.items()}
            if sum(pool.bytes_per_entry * count for pool, count in added.items()) <= room:
                for pool, count in added.items():
                    pool.resize(pool.num_entries + count)
                return True
        return False

    def _make_room(self) -> bool:
        """Return some memory that no request holds; False if there was none.

        What is free in the middle of pools serves them alone; where little is free at their ends, prefixes go
        before pools are copied for it.
        """
        return self._trim(_WORTH_COPYING) or self.prefixes.drop_oldest() or self._trim()

    def _trim(self, min_share: float = 0.0) -> bool:
        """Return the memory of free entries at the ends of pools; False if there was none."""
        return sum(pool.trim(min_share=min_share) for pool in self._pools) > 0

    def _needed(self, claims: Sequence[Claim]) -> Counter[CountedPool]:
        """Slots and pages of claims that share nothing."""
        needed: Counter[CountedPool] = Counter()
        for claim in claims:
            for layer, letter in enumerate(claim.placement):
                paging, pool = self._mixer(layer, letter).paging, self._pool(layer, letter)
                if paging is None:
                    needed[pool] += 2 if claim.scratch else 1
                else:
                    pages = math.ceil(claim.num_tokens / PAGE_TOKENS)
                    needed[pool] += min(pages, _num_ring_pages(paging) or pages)
        return needed

    def _pool(self, layer: int, letter: str) -> CountedPool:
        """Where a layer's mixer keeps states."""
        mixer = self._mixer(layer, letter)
        paging = mixer.paging
        if paging is not None:
            shape = paging.num_kv_heads, paging.head_dim
            if shape not in self._pages:
                pages = KeyValuePages.of(paging, dtype=self._dtype, device=self._device)
                self._pages[shape] = CountedPool(pages, has_spare=self._has_spares)
            return self._pages[shape]
        if (layer, letter) not in self._slots:
            slots = mixer.new_pool(0, 0, dtype=self._dtype, device=self._device)
            self._slots[layer, letter] = CountedPool(slots, has_spare=self._has_spares)
        return self._slots[layer, letter]

    def _mixer(self, layer: int, letter: str) -> Mixer:
        of_layer = self._decoder.layers[layer]
        assert isinstance(of_layer, DecoderLayer)
        return of_layer.mixer(letter)


def _num_ring_pages(paging: Paging) -> int | None:
    """Room for the window and for the tokens of a verify step that are then forgotten."""
    return None if paging.window is None else math.ceil((paging.window + MAX_TRACE_TOKENS) / PAGE_TOKENS)


def _shared(layer: Slot | PageTable, num_tokens: int) -> SharedPages | Snapshot:
    """A layer's part of a prefix."""
    if isinstance(layer, Slot):
        return layer.pool.pool.snapshot(layer.number)
    pages = layer.entries[: math.ceil(num_tokens / PAGE_TOKENS)].copy()
    layer.pool.share(pages)
    return SharedPages(layer.pool, pages)


def _adopt(tables: Mapping[int, PageTable], prefix: Prefix, num_tokens: int) -> None:
    """Share a prefix's pages, as far as they hold its first tokens."""
    for i, table in tables.items():
        shared = prefix.layers[i]
        assert isinstance(shared, SharedPages)
        table.adopt(shared.pages[: math.ceil(num_tokens / PAGE_TOKENS)])
