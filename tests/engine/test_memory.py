"""Slots and pages: taken for the placement's mixers only, shared, given back, within the budget."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.engine.memory import Claim, State, StateMemory, restart_scratch
from derailleur.engine.pages import CountedPool, PageTable
from derailleur.model import Decoder
from derailleur.model.mixers import PAGE_TOKENS, KeyValuePages, Paging
from derailleur.placement import Placement

CPU = torch.device("cpu")
PAGE_BYTES = 2 * 2 * 16 * 4 * PAGE_TOKENS  # keys and values, heads, head_dim, bytes


@pytest.fixture
def make_memory(supernet: Decoder) -> Callable[[int], StateMemory]:
    return lambda budget: StateMemory(supernet, budget, torch.float32, CPU)


def allocate(memory: StateMemory, letters: str, tokens: int = 100, *, scratch: bool = False) -> State:
    states = memory.allocate([Claim(Placement(letters), tokens, scratch)])
    assert states is not None
    return states[0]


def fill(state: State, value: float) -> None:
    for layer in state.layers:
        entries = layer.entries
        for tensor in layer.pool.pool.tensors().values():
            tensor[entries] = value


def holds(state: State, value: float) -> bool:
    return all(
        bool((tensor[layer.entries] == value).all())
        for layer in state.layers
        for tensor in layer.pool.pool.tensors().values()
    )


def test_only_the_placements_mixers_take_memory(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    allocate(memory, "FFGG")
    used = memory.used_bytes()
    assert used["F"] > 0 and used["G"] > 0 and used["S"] == used["K"] == 0
    assert used["F"] == 2 * math.ceil(100 / PAGE_TOKENS) * PAGE_BYTES


def test_a_window_takes_a_ring_of_pages(make_memory: Callable[[int], StateMemory]) -> None:
    """A window of 12 and 32 tokens that can be forgotten."""
    memory = make_memory(1 << 30)
    state = allocate(memory, "FSSF", 10 * PAGE_TOKENS)
    pages = [len(table.entries) for table in state.tables]
    ring = math.ceil((12 + 32) / PAGE_TOKENS)
    assert pages == [10, ring, ring, 10]
    assert memory.used_bytes()["S"] == 2 * ring * PAGE_BYTES


def test_a_ring_that_forgotten_tokens_came_round_is_exact(make_memory: Callable[[int], StateMemory]) -> None:
    """A verify step near the ring's end writes over its first tokens, whether it is kept or not."""
    state = allocate(make_memory(1 << 30), "SSSS")
    room = len(state.tables[0].entries) * PAGE_TOKENS
    for length, exact in ((room - 40, False), (room - 3, True), (room, True)):
        state.length = length
        assert state.exact == exact


def test_pages_come_as_a_request_grows(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    state = allocate(memory, "FFFF", 1)
    for length in range(3 * PAGE_TOKENS):
        state.length = length
        assert memory.reserve(state, 1)
        assert {len(table.entries) for table in state.tables} == {length // PAGE_TOKENS + 1}


def test_memory_returns_to_zero(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = [allocate(memory, letters, scratch=True) for letters in ("FSKG", "GGGG", "FSKG", "KKFF")]
    assert memory.used_bytes().total() > 0
    for state in states:
        memory.release(state)
    assert memory.used_bytes().total() == 0 and memory.cached_bytes == 0
    memory.drop_idle()
    assert memory.allocated_bytes == 0


def test_slots_are_zeroed_and_the_lowest_are_used_again(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = [allocate(memory, "GKGK") for _ in range(3)]
    assert [state.slots for state in states] == [(0,) * 4, (1,) * 4, (2,) * 4]
    for state in states:
        fill(state, torch.nan)
    memory.release(states[2])
    memory.release(states[1])
    again = allocate(memory, "GKGK")
    assert again.slots == (1,) * 4 and holds(again, 0)


def test_pools_grow_and_keep_what_they_hold(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = []
    for number in range(1, 8):
        states.append(allocate(memory, "FGSK"))
        fill(states[-1], number)
    assert all(holds(state, number) for number, state in enumerate(states, 1))


def test_scratch_has_own_slots_where_the_state_is_recurrent(
    make_memory: Callable[[int], StateMemory],
) -> None:
    memory = make_memory(1 << 30)
    state = allocate(memory, "FSKG", scratch=True)
    assert state.scratch is not None
    shared = [mine is other for mine, other in zip(state.layers, state.scratch.layers, strict=True)]
    assert shared == [True, True, False, False]
    assert set(state.slots).isdisjoint(state.scratch.slots)
    fill(state, 3)
    state.length = 7
    other = allocate(memory, "FSKG", scratch=True)
    fill(other, 4)
    scratches = restart_scratch([state, other])
    assert scratches == [state.scratch, other.scratch] and state.scratch.length == 7
    assert holds(scratches[0], 3) and holds(scratches[1], 4)


def test_copies_share_nothing(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    source, target = allocate(memory, "FSKG", 200), allocate(memory, "FSKG", 200)
    fill(source, 5)
    source.length = 200
    target.copy_from(source)
    fill(source, 6)
    assert target.length == 200 and holds(target, 5)


def test_the_budget_holds_and_idle_pools_make_room(make_memory: Callable[[int], StateMemory]) -> None:
    row = 4 * math.ceil(100 / PAGE_TOKENS) * PAGE_BYTES
    memory = make_memory(3 * row)
    held = [allocate(memory, "FFFF") for _ in range(3)]
    assert memory.allocated_bytes == memory.budget_bytes
    assert memory.allocate([Claim(Placement("FFFF"), 100)]) is None
    assert memory.allocate([Claim(Placement("GGGG"), 100)]) is None
    assert memory.used_bytes()["F"] == 3 * row
    assert not memory.reserve(held[0], 3 * PAGE_TOKENS)
    memory.release(held[1])
    assert memory.reserve(held[0], 3 * PAGE_TOKENS)
    for state in (held[0], held[2]):
        memory.release(state)
    assert memory.allocate([Claim(Placement("SSGG"), 100)]) is not None
    assert memory.allocated_bytes <= memory.budget_bytes


def test_all_claims_or_none(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(4 * math.ceil(100 / PAGE_TOKENS) * PAGE_BYTES)
    claims = [Claim(Placement("FFFF"), 100), Claim(Placement("SSSS"), 100)]
    assert memory.allocate(claims) is None
    assert memory.used_bytes().total() == 0
    assert memory.required_bytes(claims[:1]) == memory.budget_bytes < memory.required_bytes(claims)


def test_a_shared_page_is_copied_before_it_is_written() -> None:
    pool = CountedPool(KeyValuePages.of(Paging(1, 8, None), dtype=torch.float32, device=CPU))
    pool.resize(4)
    first, second = PageTable(pool, None), PageTable(pool, None)
    first.prepare(0, PAGE_TOKENS + 3)
    for page in first.entries:
        pool.pool.tensors()["keys"][page] = float(page)
    second.adopt(first.entries)
    assert second.num_missing(PAGE_TOKENS + 3, PAGE_TOKENS + 4) == 1
    second.prepare(PAGE_TOKENS + 3, PAGE_TOKENS + 4)
    assert first.entries[0] == second.entries[0] and first.entries[1] != second.entries[1]
    keys = pool.pool.tensors()["keys"]
    assert torch.equal(keys[first.entries[1]], keys[second.entries[1]])
    first.release()
    assert pool.num_free == 2 and pool.trim() == pool.bytes_per_entry
    second.release()
    assert pool.num_free == pool.num_entries


@given(
    ring=st.one_of(st.none(), st.integers(1, 4)),
    pieces=st.lists(st.integers(1, 3 * PAGE_TOKENS), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_a_table_has_a_page_of_its_own_for_every_position_written(
    ring: int | None, pieces: list[int]
) -> None:
    pool = CountedPool(KeyValuePages.of(Paging(1, 8, None), dtype=torch.float32, device=CPU))
    pool.resize(80)
    table, other = PageTable(pool, ring), PageTable(pool, ring)
    length = 0
    for number, piece in enumerate(pieces):
        free, missing = pool.num_free, table.num_missing(length, length + piece)
        table.prepare(length, length + piece)
        assert pool.num_free == free - missing
        length += piece
        written = range((length - piece) // PAGE_TOKENS, math.ceil(length / PAGE_TOKENS))
        places = {page if ring is None else page % ring for page in written}
        assert max(places) < len(table.entries) <= (ring or 80)
        assert not any(pool.is_shared(int(table.entries[place])) for place in places)
        assert len(set(table.entries.tolist())) == len(table.entries)
        if number == 0:
            other.adopt(table.entries)
    table.release()
    other.release()
    assert pool.num_free == 80
