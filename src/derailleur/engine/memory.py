"""State memory: which slots of which pools hold the state of which request.

Every layer has a pool per mixer (and per slot size: a key-value slot is as long as its request). A
request takes one slot in each layer, in the pool of the mixer that its placement names, and nothing in
the others. Pools grow on demand; what they occupy together stays within a budget of bytes.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from derailleur.errors import CapacityError
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers import Mixer, Pool
from derailleur.placement.placement import Placement


@dataclass(frozen=True)
class Claim:
    """What one placement of one request needs.

    Attributes:
        capacity_tokens: how many tokens the state must be able to hold.
        scratch: also a second state that can run ahead and be forgotten, for drafting.
    """

    placement: Placement
    capacity_tokens: int
    scratch: bool = False


@dataclass(eq=False)
class SlotPool:
    """A mixer's pool in one layer, and which of its slots are free (a heap)."""

    mixer: Mixer
    pool: Pool
    free: list[int]

    @property
    def used_bytes(self) -> int:
        """Memory of the slots that requests hold."""
        return (self.pool.num_slots - len(self.free)) * self.pool.bytes_per_slot

    def take(self, device: torch.device) -> int:
        """The lowest free slot, zeroed. Low slots keep the rows of a batch next to each other."""
        slot = heapq.heappop(self.free)
        self.pool.clear(torch.tensor([slot], device=device))
        return slot

    def add(self, num_slots: int) -> None:
        """Enlarge the pool."""
        first = self.pool.num_slots
        self.pool.grow(first + num_slots)
        for slot in range(first, first + num_slots):
            heapq.heappush(self.free, slot)


@dataclass(eq=False)
class State:
    """What a request remembers under one placement.

    Attributes:
        pools, slots: one per layer.
        length: how many tokens the state has consumed.
        scratch: a state that runs ahead of this one. It has slots of its own where the state is
            recurrent; keys and values are addressed by position, so there it shares this state's.
    """

    placement: Placement
    pools: tuple[SlotPool, ...]
    slots: tuple[int, ...]
    length: int = 0
    scratch: "State | None" = None

    def copy_from(self, source: "State", device: torch.device) -> None:
        """Become equal to a state of the same placement and capacity."""
        self.length = source.length
        for pool, slot, mine in zip(self.pools, source.slots, self.slots, strict=True):
            if slot != mine:
                pool.pool.copy(slot, torch.tensor([mine], device=device))

    def restart_scratch(self, device: torch.device) -> "State":
        """Set the scratch state to this state, and give it."""
        assert self.scratch is not None, "only a draft's state has a scratch state"
        self.scratch.copy_from(self, device)
        return self.scratch

    def held(self) -> set[tuple[SlotPool, int]]:
        """Every slot that this state and its scratch hold."""
        states = [self] if self.scratch is None else [self, self.scratch]
        return {pair for state in states for pair in zip(state.pools, state.slots, strict=True)}


@dataclass(frozen=True)
class _SlotKind:
    """Slots of one layer, mixer and size are interchangeable."""

    layer: int
    letter: str
    bytes_per_slot: int
    capacity_tokens: int = field(compare=False)
    recurrent: bool = field(compare=False)


class StateMemory:
    """All pools of a decoder, within a budget of bytes."""

    def __init__(self, decoder: Decoder, budget_bytes: int, dtype: torch.dtype, device: torch.device) -> None:
        self.budget_bytes = budget_bytes
        self._decoder, self._dtype, self._device = decoder, dtype, device
        self._pools: dict[_SlotKind, SlotPool] = {}
        self._sizes: dict[tuple[int, str, int], tuple[int, bool]] = {}

    @property
    def allocated_bytes(self) -> int:
        """What the pools occupy, free slots included."""
        return sum(pool.pool.num_slots * kind.bytes_per_slot for kind, pool in self._pools.items())

    def used_bytes(self) -> Counter[str]:
        """What requests hold, by the letter of the mixer."""
        used: Counter[str] = Counter()
        for pool in self._pools.values():
            used[pool.mixer.letter] += pool.used_bytes
        return used

    def check(self, claims: Sequence[Claim]) -> None:
        """Refuse what can never be granted.

        Raises:
            CapacityError: if the claims exceed the whole budget.
        """
        required = sum(kind.bytes_per_slot * count for kind, count in self._needed(claims).items())
        if required > self.budget_bytes:
            raise CapacityError(
                f"the request needs {required:,} bytes of state, the budget is {self.budget_bytes:,}: "
                "ask for fewer tokens or a cheaper placement, or raise state_memory_bytes"
            )

    def allocate(self, claims: Sequence[Claim]) -> list[State] | None:
        """Grant all claims, or none: None means that other requests must finish first."""
        needed = self._needed(claims)
        if not self._make_room(needed):
            self.drop_idle_pools()
            if not self._make_room(needed):
                return None
        return [self._grant(claim) for claim in claims]

    def release(self, state: State) -> None:
        """Take a state's slots back."""
        for pool, slot in state.held():
            heapq.heappush(pool.free, slot)

    def drop_idle_pools(self) -> None:
        """Return the memory of pools of which no slot is held."""
        self._pools = {kind: pool for kind, pool in self._pools.items() if pool.used_bytes}

    def _grant(self, claim: Claim) -> State:
        kinds = self._kinds(claim)
        pools = tuple(self._pools[kind] for kind in kinds)
        state = State(claim.placement, pools, tuple(pool.take(self._device) for pool in pools))
        if claim.scratch:
            own = zip(kinds, pools, state.slots, strict=True)
            slots = tuple(pool.take(self._device) if kind.recurrent else slot for kind, pool, slot in own)
            state.scratch = State(claim.placement, pools, slots)
        return state

    def _make_room(self, needed: Counter[_SlotKind]) -> bool:
        """Add the slots that are missing, as many again where the budget allows it."""
        missing = Counter({kind: count - self._num_free(kind) for kind, count in needed.items()})
        missing = +missing
        generous = {kind: max(count, self._num_slots(kind)) for kind, count in missing.items()}
        for added in (generous, missing):
            growth = sum(kind.bytes_per_slot * count for kind, count in added.items())
            if self.allocated_bytes + growth <= self.budget_bytes:
                for kind, count in added.items():
                    self._add(kind, count)
                return True
        return False

    def _add(self, kind: _SlotKind, num_slots: int) -> None:
        if kind in self._pools:
            self._pools[kind].add(num_slots)
        else:
            mixer = self._mixer(kind.layer, kind.letter)
            pool = mixer.new_pool(num_slots, kind.capacity_tokens, dtype=self._dtype, device=self._device)
            self._pools[kind] = SlotPool(mixer, pool, list(range(num_slots)))

    def _num_slots(self, kind: _SlotKind) -> int:
        return self._pools[kind].pool.num_slots if kind in self._pools else 0

    def _num_free(self, kind: _SlotKind) -> int:
        return len(self._pools[kind].free) if kind in self._pools else 0

    def _needed(self, claims: Sequence[Claim]) -> Counter[_SlotKind]:
        needed: Counter[_SlotKind] = Counter()
        for claim in claims:
            kinds = self._kinds(claim)
            needed.update(kinds)
            if claim.scratch:
                needed.update(kind for kind in kinds if kind.recurrent)
        return needed

    def _kinds(self, claim: Claim) -> list[_SlotKind]:
        """The kind of slot that a claim needs in each layer."""
        kinds = []
        for layer, letter in enumerate(claim.placement):
            size, recurrent = self._size(layer, letter, claim.capacity_tokens)
            kinds.append(_SlotKind(layer, letter, size, claim.capacity_tokens, recurrent))
        return kinds

    def _size(self, layer: int, letter: str, capacity_tokens: int) -> tuple[int, bool]:
        """Bytes of a slot, and whether it is recurrent; read off a pool that occupies no memory."""
        known = self._sizes.get((layer, letter, capacity_tokens))
        if known is None:
            meta = torch.device("meta")
            pool = self._mixer(layer, letter).new_pool(1, capacity_tokens, dtype=self._dtype, device=meta)
            known = pool.bytes_per_slot, not pool.by_position
            self._sizes[layer, letter, capacity_tokens] = known
        return known

    def _mixer(self, layer: int, letter: str) -> Mixer:
        of_layer = self._decoder.layers[layer]
        assert isinstance(of_layer, DecoderLayer)
        return of_layer.mixer(letter)
