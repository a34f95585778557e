"""The contract that every mixer keeps: causal, resumable, isolated between slots, exact rollback."""

import pytest
import torch
from torch import Tensor

from derailleur.model import Decoder, Mixer, Pool, Rotary, Rows

CPU = torch.device("cpu")
LETTERS = "FSKG"
SEQ = 80


@pytest.fixture(params=LETTERS)
def mixer(request: pytest.FixtureRequest, supernet: Decoder) -> Mixer:
    return supernet.layers[1].mixer(request.param)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, SEQ, 32, generator=torch.Generator().manual_seed(5))


def dirty_pool(mixer: Mixer) -> Pool:
    """A pool of 7 slots full of another request's leftovers, then slots 1, 2 and 4 given out."""
    pool = mixer.new_pool(7, SEQ + 40, dtype=torch.float32, device=CPU)
    for tensor in pool.tensors().values():
        tensor.fill_(torch.nan)
    pool.clear(torch.tensor([1, 2, 4]))
    return pool


def rotary(supernet: Decoder, rows: Rows) -> Rotary:
    return supernet.rotary.at(rows.token_positions, rows.max_position + rows.num_tokens - 1)


def extend(supernet: Decoder, mixer: Mixer, pool: Pool, x: Tensor, slots: list[int], at: int) -> Tensor:
    rows = Rows.of(slots, [at] * len(slots), x.shape[1], CPU)
    mixed, _ = mixer.extend(x, pool, rows, rotary(supernet, rows))
    return mixed


@torch.no_grad()
def test_causal(mixer: Mixer, supernet: Decoder, x: Tensor) -> None:
    changed = x.clone()
    changed[:, 50:] = 7
    table = supernet.rotary.sequence(SEQ)
    torch.testing.assert_close(mixer(changed, table)[:, :50], mixer(x, table)[:, :50], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("slots", [[1, 2], [2, 1], [1, 4], [4]], ids=str)
@pytest.mark.parametrize(
    "pieces", [[80], [1] * 80, [40, 1, 5, 34], [33, 33, 14]], ids=["whole", "steps", "mixed", "long"]
)
def test_state_equals_sequence(
    mixer: Mixer, supernet: Decoder, x: Tensor, slots: list[int], pieces: list[int]
) -> None:
    x = x[: len(slots)]
    expected = mixer(x, supernet.rotary.sequence(SEQ))
    pool, at, outputs = dirty_pool(mixer), 0, []
    for n in pieces:
        outputs.append(extend(supernet, mixer, pool, x[:, at : at + n], slots, at))
        at += n
    torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_at_different_positions(mixer: Mixer, supernet: Decoder, x: Tensor) -> None:
    expected = mixer(x, supernet.rotary.sequence(SEQ))
    pool, lengths = dirty_pool(mixer), [70, 3, 41]
    for row, (slot, n) in enumerate(zip([1, 2, 4], lengths, strict=True)):
        extend(supernet, mixer, pool, x[row : row + 1, :n], [slot], 0)
    rows = Rows.of([1, 2, 4], lengths, 1, CPU)
    step = torch.stack([x[row, n : n + 1] for row, n in enumerate(lengths)])
    mixed, _ = mixer.extend(step, pool, rows, rotary(supernet, rows))
    for row, n in enumerate(lengths):
        torch.testing.assert_close(mixed[row, 0], expected[row, n], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("accepted", [[1, 1], [3, 1], [2, 5], [5, 5]], ids=str)
def test_rollback_is_exact(mixer: Mixer, supernet: Decoder, x: Tensor, accepted: list[int]) -> None:
    """Verify 5 tokens, keep some, go on: as if the forgotten ones had never been there."""
    x, slots, start, drafted = x[:2], [1, 4], 30, 5
    expected = mixer(x, supernet.rotary.sequence(SEQ))
    pool = dirty_pool(mixer)
    extend(supernet, mixer, pool, x[:, :start], slots, 0)
    junk = x[:, start : start + drafted].clone()
    for row, n in enumerate(accepted):
        junk[row, n:] = 9.0
    rows = Rows.of(slots, [start, start], drafted, CPU)
    mixed, trace = mixer.extend(junk, pool, rows, rotary(supernet, rows), trace=True)
    mixer.commit(pool, rows, trace, torch.tensor(accepted))
    for row, n in enumerate(accepted):
        torch.testing.assert_close(mixed[row, :n], expected[row, start : start + n], atol=1e-5, rtol=1e-4)
        at = start + n
        rest = extend(supernet, mixer, pool, x[row : row + 1, at : at + 20], [slots[row]], at)
        torch.testing.assert_close(rest[0], expected[row, at : at + 20], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_copy_and_grow_keep_the_state(mixer: Mixer, supernet: Decoder, x: Tensor) -> None:
    expected = mixer(x[:1], supernet.rotary.sequence(SEQ))
    pool = dirty_pool(mixer)
    extend(supernet, mixer, pool, x[:1, :40], [2], 0)
    pool.copy(2, torch.tensor([4, 1]))
    pool.grow(11)
    assert pool.num_slots == 11
    for slot in (1, 2, 4):
        mixed = extend(supernet, mixer, pool, x[:1, 40:], [slot], 40)
        torch.testing.assert_close(mixed, expected[:, 40:], atol=1e-5, rtol=1e-4)


def test_recurrent_memory_does_not_grow_with_the_context(supernet: Decoder) -> None:
    def size(letter: str, capacity: int) -> int:
        mixer = supernet.layers[0].mixer(letter)
        return mixer.new_pool(1, capacity, dtype=torch.float32, device=CPU).bytes_per_slot

    for letter in "SKG":
        assert size(letter, 10_000) == size(letter, 20_000)
    assert size("F", 20_000) == 2 * size("F", 10_000) == 20_000 * 2 * 2 * 8 * 4


@torch.no_grad()
@pytest.mark.parametrize("letter", ["K", "G"])
def test_fused_step_equals_the_torch_path(letter: str, supernet: Decoder, x: Tensor) -> None:
    """One token through the fused kernel and through a trace, which never uses it."""
    mixer, slots = supernet.layers[1].mixer(letter), [4, 1, 2]
    pool = dirty_pool(mixer)
    extend(supernet, mixer, pool, x[:, :37], slots, 0)
    rows = Rows.of(slots, [37] * 3, 1, CPU)
    table = rotary(supernet, rows)
    expected, trace = mixer.extend(x[:, 37:38], pool, rows, table, trace=True)
    before = {name: tensor.clone() for name, tensor in pool.tensors().items()}
    got, _ = mixer.extend(x[:, 37:38], pool, rows, table)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    fused = {name: tensor.clone() for name, tensor in pool.tensors().items()}
    for name, tensor in pool.tensors().items():
        tensor.copy_(before[name])
    mixer.commit(pool, rows, trace, torch.ones(3, dtype=torch.int64))
    for name, tensor in pool.tensors().items():
        torch.testing.assert_close(fused[name], tensor, atol=1e-6, rtol=1e-5, equal_nan=True)
