"""Slots: taken for the placement's mixers only, zeroed, given back, within the budget."""

from collections.abc import Callable

import pytest
import torch

from derailleur.engine.memory import Claim, State, StateMemory
from derailleur.errors import CapacityError
from derailleur.model import Decoder
from derailleur.placement import Placement

CPU = torch.device("cpu")


@pytest.fixture
def make_memory(supernet: Decoder) -> Callable[[int], StateMemory]:
    return lambda budget: StateMemory(supernet, budget, torch.float32, CPU)


def allocate(memory: StateMemory, letters: str, capacity: int = 100, *, scratch: bool = False) -> State:
    states = memory.allocate([Claim(Placement(letters), capacity, scratch)])
    assert states is not None
    return states[0]


def test_only_the_placements_mixers_take_memory(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    allocate(memory, "FFGG")
    used = memory.used_bytes()
    assert used["F"] > 0 and used["G"] > 0 and used["S"] == used["K"] == 0
    kv_heads, head_dim, layers, tensors, float_bytes = 2, 16, 2, 2, 4
    assert used["F"] == layers * tensors * kv_heads * head_dim * 100 * float_bytes


def test_memory_returns_to_zero(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = [allocate(memory, letters, scratch=True) for letters in ("FSKG", "GGGG", "FSKG", "KKFF")]
    assert sum(memory.used_bytes().values()) > 0
    for state in states:
        memory.release(state)
    assert sum(memory.used_bytes().values()) == 0


def test_slots_are_zeroed_and_the_lowest_are_used_again(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = [allocate(memory, "FSKG") for _ in range(3)]
    assert [state.slots for state in states] == [(0,) * 4, (1,) * 4, (2,) * 4]
    for pool in states[0].pools:
        for tensor in pool.pool.tensors().values():
            tensor.fill_(torch.nan)
    memory.release(states[2])
    memory.release(states[1])
    again = allocate(memory, "FSKG")
    assert again.slots == (1,) * 4
    for pool, slot in again.held():
        assert all(not tensor[slot].any() for tensor in pool.pool.tensors().values())


def test_pools_grow_and_keep_what_they_hold(make_memory: Callable[[int], StateMemory]) -> None:
    memory = make_memory(1 << 30)
    states = []
    for number in range(1, 8):
        states.append(allocate(memory, "FGFG"))
        for pool, slot in states[-1].held():
            for tensor in pool.pool.tensors().values():
                tensor[slot] = number
    for number, state in enumerate(states, 1):
        for pool, slot in state.held():
            assert all((tensor[slot] == number).all() for tensor in pool.pool.tensors().values())


def test_requests_of_one_capacity_share_a_pool(make_memory: Callable[[int], StateMemory]) -> None:
    """Keys and values are as long as the request; windows and recurrent states are all of one size."""
    memory = make_memory(1 << 30)
    short, long = allocate(memory, "FSKG", 100), allocate(memory, "FSKG", 400)
    shared = [mine is other for mine, other in zip(short.pools, long.pools, strict=True)]
    assert shared == [False, True, True, True]


def test_scratch_has_own_slots_where_the_state_is_recurrent(
    make_memory: Callable[[int], StateMemory],
) -> None:
    memory = make_memory(1 << 30)
    state = allocate(memory, "FSKG", scratch=True)
    assert state.scratch is not None
    own = [mine != other for mine, other in zip(state.slots, state.scratch.slots, strict=True)]
    assert own == [False, False, True, True]
    for pool, slot in zip(state.pools, state.slots, strict=True):
        for tensor in pool.pool.tensors().values():
            tensor[slot] = 3
    state.length = 7
    scratch = state.restart_scratch(CPU)
    assert scratch.length == 7
    for pool, slot in zip(scratch.pools, scratch.slots, strict=True):
        assert all((tensor[slot] == 3).all() for tensor in pool.pool.tensors().values())


def test_the_budget_holds_and_idle_pools_make_room(make_memory: Callable[[int], StateMemory]) -> None:
    one_row = 4 * 2 * 2 * 16 * 100 * 4  # layers, keys and values, heads, head_dim, tokens, bytes
    memory = make_memory(3 * one_row)
    held = [allocate(memory, "FFFF") for _ in range(3)]
    assert memory.allocated_bytes <= memory.budget_bytes
    assert memory.allocate([Claim(Placement("FFFF"), 100)]) is None
    assert memory.allocate([Claim(Placement("GGGG"), 100)]) is None
    assert memory.used_bytes()["F"] == 3 * one_row
    for state in held:
        memory.release(state)
    assert memory.allocate([Claim(Placement("SSGG"), 100)]) is not None
    assert memory.allocated_bytes <= memory.budget_bytes


def test_all_claims_or_none(make_memory: Callable[[int], StateMemory]) -> None:
    one_row = 4 * 2 * 2 * 16 * 100 * 4
    memory = make_memory(one_row)
    claims = [Claim(Placement("FFFF"), 100), Claim(Placement("SSSS"), 100)]
    assert memory.allocate(claims) is None
    assert sum(memory.used_bytes().values()) == 0
    with pytest.raises(CapacityError, match="raise state_memory_bytes"):
        memory.check(claims)
    memory.check(claims[:1])
