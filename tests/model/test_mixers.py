"""The contract that every mixer keeps: causal, packed, resumable, isolated between slots, exact rollback."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.errors import ConfigError, ShapeError
from derailleur.model import (
    DecoderConfig,
    FullAttentionConfig,
    GdnConfig,
    KdaConfig,
    Mixer,
    MixersConfig,
    Pool,
    Rows,
    SlidingWindowConfig,
    Trace,
)
from derailleur.model.mixers import build_mixer, recurrent
from derailleur.model.rotary import Rotary, RotaryTable
from derailleur.placement.placement import MIXERS

CPU = torch.device("cpu")
SEQ, HIDDEN, HEAD_DIM, WINDOW = 150, 32, 8, 12

VARIANTS = {
    "F": MixersConfig(),
    "F windowed": MixersConfig(F=FullAttentionConfig(window_tokens=WINDOW, first_window_layer=1)),
    "S": MixersConfig(S=SlidingWindowConfig(window_tokens=WINDOW)),
    "S of one token": MixersConfig(S=SlidingWindowConfig(window_tokens=1)),
    "S wider than the text": MixersConfig(S=SlidingWindowConfig(window_tokens=10_000)),
    "K": MixersConfig(K=KdaConfig()),
    "K sigmoid": MixersConfig(K=KdaConfig(gate_activation="sigmoid", convolution_tokens=2)),
    "K bounded": MixersConfig(K=KdaConfig(decay_lower_bound=-5.0, gate_bias=False)),
    "K grouped": MixersConfig(K=KdaConfig(num_key_heads=2, num_value_heads=6, head_dim=5)),
    "K negative": MixersConfig(K=KdaConfig(negative_eigenvalues=True)),
    "G": MixersConfig(G=GdnConfig()),
    "G sigmoid": MixersConfig(G=GdnConfig(gate_activation="sigmoid", convolution_tokens=5)),
    "G grouped": MixersConfig(G=GdnConfig(num_key_heads=1, num_value_heads=3, head_dim=6, gate_bias=False)),
    "G negative": MixersConfig(G=GdnConfig(negative_eigenvalues=True, num_key_heads=2)),
}
"""By the letter of the mixer that is tested and, where that has settings, what is set."""

RECURRENT = [name for name in VARIANTS if name[0] in "KG"]


def configure(mixers: MixersConfig) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=8,
        hidden_size=HIDDEN,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=HEAD_DIM,
        intermediate_size=8,
        max_positions=512,
        mixers=mixers,
    )


def build(name: str) -> Mixer:
    """A mixer of layer 1 whose weights are all random, gates, biases and norms too."""
    torch.manual_seed(0)
    mixer = build_mixer(name[0], configure(VARIANTS[name]), 1).eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return mixer


@pytest.fixture(scope="module", params=VARIANTS)
def mixer(request: pytest.FixtureRequest) -> Mixer:
    return build(request.param)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(3, SEQ, HIDDEN, generator=torch.Generator().manual_seed(5))


TABLE = RotaryTable(HEAD_DIM, 10_000.0)


def whole(mixer: Mixer, x: Tensor, cuts: Sequence[int] = ()) -> Tensor:
    """Rows mixed from position 0; with cuts, documents packed into one row."""
    seq = x.shape[1]
    if not cuts:
        return mixer(x, TABLE.sequence(seq))
    bounds = torch.tensor([0, *cuts, seq])
    positions = torch.cat([torch.arange(int(n)) for n in bounds.diff()]).unsqueeze(0)
    return mixer(x, TABLE.at(positions, seq), bounds)


def dirty_pool(mixer: Mixer, dtype: torch.dtype = torch.float32) -> Pool:
    """A pool of 7 slots full of another request's leftovers, then slots 1, 2 and 4 given out."""
    pool = mixer.new_pool(7, SEQ + 40, dtype=dtype, device=CPU)
    for tensor in pool.tensors().values():
        tensor.fill_(torch.nan)
    pool.clear(torch.tensor([1, 2, 4]))
    return pool


def place(rows: Rows) -> Rotary:
    return TABLE.at(rows.token_positions, rows.max_position + rows.num_tokens - 1)


def extend(mixer: Mixer, pool: Pool, x: Tensor, slots: list[int], at: int) -> Tensor:
    rows = Rows.of(slots, [at] * len(slots), x.shape[1], CPU)
    mixed, _ = mixer.extend(x, pool, rows, place(rows))
    return mixed


def verify(
    mixer: Mixer, pool: Pool, x: Tensor, slots: list[int], at: int
) -> tuple[Tensor, Rows, Trace | None]:
    rows = Rows.of(slots, [at] * len(slots), x.shape[1], CPU)
    mixed, trace = mixer.extend(x, pool, rows, place(rows), trace=True)
    return mixed, rows, trace


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_every_mixer_is_here() -> None:
    assert {name[0] for name in VARIANTS} == set(MIXERS)


@torch.no_grad()
def test_causal(mixer: Mixer, x: Tensor) -> None:
    changed = x.clone()
    changed[:, 70:] = 7
    close(whole(mixer, changed)[:, :70], whole(mixer, x)[:, :70])


@torch.no_grad()
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, SEQ), max_size=6).map(sorted))
def test_packed_equals_separate(mixer: Mixer, x: Tensor, cuts: list[int]) -> None:
    """Documents of any length, empty ones too."""
    packed = whole(mixer, x[:1], cuts or [SEQ])
    for start, end in pairwise([0, *cuts, SEQ]):
        if start < end:
            close(packed[:, start:end], whole(mixer, x[:1, start:end]))


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1, 2, 75], [64, 128], [70, 71]], ids=str)
def test_documents_do_not_leak(mixer: Mixer, x: Tensor, cuts: list[int]) -> None:
    before = whole(mixer, x[:1], cuts)
    for start, end in pairwise([0, *cuts, SEQ]):
        changed = x[:1].clone()
        changed[:, start:end] = 1e3
        after = whole(mixer, changed, cuts)
        others = torch.ones(SEQ, dtype=torch.bool)
        others[start:end] = False
        torch.testing.assert_close(after[:, others], before[:, others], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cuts", [[0, 100], [0, 90, 80, SEQ], [1, SEQ]], ids=str)
def test_cuts_that_do_not_fit_are_one_line(mixer: Mixer, x: Tensor, cuts: list[int]) -> None:
    with pytest.raises(ShapeError, match="expected cu_seqlens to rise from 0 to 150"):
        mixer(x[:1], TABLE.sequence(SEQ), torch.tensor(cuts))
    with pytest.raises(ShapeError, match="expected one row, got a batch of 3"):
        mixer(x, TABLE.sequence(SEQ), torch.tensor([0, SEQ]))


@torch.no_grad()
@pytest.mark.parametrize("slots", [[1, 2], [2, 1], [1, 4], [4]], ids=str)
@pytest.mark.parametrize("pieces", [[SEQ], [1] * 50, [40, 1, 5, 34], [33, 33, 64]], ids=lambda p: str(p[:4]))
def test_pieces_equal_whole(mixer: Mixer, x: Tensor, slots: list[int], pieces: list[int]) -> None:
    x = x[: len(slots), : sum(pieces)]
    pool, at, outputs = dirty_pool(mixer), 0, []
    for n in pieces:
        outputs.append(extend(mixer, pool, x[:, at : at + n], slots, at))
        at += n
    close(torch.cat(outputs, 1), whole(mixer, x))


@torch.no_grad()
@settings(max_examples=8, deadline=None)
@given(pieces=st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_any_pieces_equal_whole(mixer: Mixer, x: Tensor, pieces: list[int]) -> None:
    pool, at, expected = dirty_pool(mixer), 0, whole(mixer, x[:1])
    for n in pieces:
        n = min(n, SEQ - at)
        if n:
            close(extend(mixer, pool, x[:1, at : at + n], [2], at), expected[:, at : at + n])
        at += n


@torch.no_grad()
def test_rows_at_different_positions(mixer: Mixer, x: Tensor) -> None:
    expected = whole(mixer, x)
    pool, lengths = dirty_pool(mixer), [70, 3, 41]
    for row, (slot, n) in enumerate(zip([1, 2, 4], lengths, strict=True)):
        extend(mixer, pool, x[row : row + 1, :n], [slot], 0)
    rows = Rows.of([1, 2, 4], lengths, 1, CPU)
    step = torch.stack([x[row, n : n + 1] for row, n in enumerate(lengths)])
    mixed, _ = mixer.extend(step, pool, rows, place(rows))
    for row, n in enumerate(lengths):
        close(mixed[row, 0], expected[row, n])


@torch.no_grad()
@pytest.mark.parametrize("accepted", [[n, 5 - n] for n in range(6)], ids=str)
def test_verify_keeps_any_number(mixer: Mixer, x: Tensor, accepted: list[int]) -> None:
    """Verify 5 tokens, keep some, all or none, go on: as if the forgotten ones had never been there."""
    x, slots, start, drafted = x[:2], [1, 4], 30, 5
    expected = whole(mixer, x)
    pool = dirty_pool(mixer)
    extend(mixer, pool, x[:, :start], slots, 0)
    junk = x[:, start : start + drafted].clone()
    for row, n in enumerate(accepted):
        junk[row, n:] = 9.0
    mixed, rows, trace = verify(mixer, pool, junk, slots, start)
    mixer.commit(pool, rows, trace, torch.tensor(accepted))
    for row, n in enumerate(accepted):
        close(mixed[row, :n], expected[row, start : start + n])
        at = start + n
        for piece in (1, 20):
            rest = extend(mixer, pool, x[row : row + 1, at : at + piece], [slots[row]], at)
            close(rest[0], expected[row, at : at + piece])
            at += piece


@torch.no_grad()
@pytest.mark.parametrize("name", RECURRENT)
def test_every_way_back_is_the_same(name: str, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused CPU replays what tokens wrote, a GPU computes the accepted ones again, others keep states."""
    mixer, slots, start = build(name), [4, 1, 2], 37
    drafted = x[:, start : start + 5].clone()
    drafted[0, 2:] = 9.0
    committed = []
    for fused, in_chunks in ((False, False), (False, True), (True, False)):
        monkeypatch.setattr(recurrent, "_numba_serves", lambda qkv, pool, fused=fused: fused)
        monkeypatch.setattr(recurrent, "_prefers_chunks", lambda pool, in_chunks=in_chunks: in_chunks)
        pool = dirty_pool(mixer)
        extend(mixer, pool, x[:, :start], slots, 0)
        mixed, rows, trace = verify(mixer, pool, drafted, slots, start)
        mixer.commit(pool, rows, trace, torch.tensor([2, 5, 0]))
        committed.append([mixed, *pool.tensors().values()])
    kept, *others = committed
    for other in others:
        for got, expected in zip(other, kept, strict=True):
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4, equal_nan=True)


@torch.no_grad()
@settings(max_examples=8, deadline=None)
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 31)), max_size=12))
def test_any_pieces_and_verifies_equal_whole(
    mixer: Mixer, x: Tensor, steps: list[tuple[bool, int, int]]
) -> None:
    """Read pieces, or verify drafts that are right up to some token, in any order and of any size."""
    pool, at, expected = dirty_pool(mixer), 0, whole(mixer, x[:1])
    for drafted, n, right in steps:
        kept = n = min(n, SEQ - at, 32 if drafted else SEQ)
        if not n:
            break
        piece = x[:1, at : at + n].clone()
        if drafted:
            kept = 1 + right % n
            piece[:, kept:] = 9.0
            mixed, rows, trace = verify(mixer, pool, piece, [2], at)
            mixer.commit(pool, rows, trace, torch.tensor([kept]))
        else:
            mixed = extend(mixer, pool, piece, [2], at)
        close(mixed[:, :kept], expected[:, at : at + kept])
        at += kept


@torch.no_grad()
def test_a_trace_without_commit_is_forgotten(mixer: Mixer, x: Tensor) -> None:
    pool = dirty_pool(mixer)
    extend(mixer, pool, x[:1, :40], [2], 0)
    verify(mixer, pool, torch.full((1, 32, HIDDEN), 9.0), [2], 40)
    close(extend(mixer, pool, x[:1, 40:80], [2], 40), whole(mixer, x[:1, :80])[:, 40:])


@torch.no_grad()
def test_pools_by_position_forget_tokens_that_are_written_over(mixer: Mixer, x: Tensor) -> None:
    """What a draft does that runs ahead in its own slot; in other pools it needs a slot beside it."""
    pool, forgotten = dirty_pool(mixer), torch.full((1, 32, HIDDEN), 9.0)
    extend(mixer, pool, x[:1, :40], [2], 0)
    for at in range(40, 72):
        extend(mixer, pool, forgotten[:, :1], [2], at)
    again, expected = extend(mixer, pool, x[:1, 40:80], [2], 40), whole(mixer, x[:1, :80])[:, 40:]
    assert torch.allclose(again, expected, atol=1e-5, rtol=1e-4) == pool.by_position


@pytest.mark.parametrize("cuts", [[], [0, 1, 64, 64, 127]], ids=["whole", "packed"])
def test_gradients_equal_finite_differences_in_float64(mixer: Mixer, cuts: list[int]) -> None:
    """Along a random direction, through the whole layer: nothing on the way is less exact than its input."""
    exact = deepcopy(mixer).double()
    generator = torch.Generator().manual_seed(1)
    x, direction, weights = torch.randn(3, 1, 129, HIDDEN, generator=generator, dtype=torch.float64)

    def loss(x: Tensor) -> Tensor:
        return (whole(exact, x, cuts) * weights).sum()

    [gradient] = torch.autograd.grad(loss(x.requires_grad_()), x)
    step = 1e-6 * direction
    with torch.no_grad():
        slope = (loss(x + step) - loss(x - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("num_tokens", [1, 40, 100])
def test_snapshot_goes_into_another_slot(mixer: Mixer, x: Tensor, num_tokens: int) -> None:
    expected = whole(mixer, x[:1])
    pool = dirty_pool(mixer)
    extend(mixer, pool, x[:1, :num_tokens], [2], 0)
    snapshot = pool.snapshot(2)
    extend(mixer, pool, torch.full((1, 20, HIDDEN), 9.0), [2], num_tokens)  # must not reach the snapshot
    for target in (pool, dirty_pool(mixer)):
        for slot in (4, 2):
            target.restore(slot, snapshot)
            mixed = extend(mixer, target, x[:1, num_tokens:], [slot], num_tokens)
            close(mixed, expected[:, num_tokens:])


@torch.no_grad()
@pytest.mark.parametrize("num_slots", [3, 11])
def test_resizing_keeps_the_state(mixer: Mixer, x: Tensor, num_slots: int) -> None:
    expected = whole(mixer, x[:1])
    pool = dirty_pool(mixer)
    extend(mixer, pool, x[:1, :40], [2], 0)
    pool.resize(num_slots)
    assert pool.num_slots == num_slots
    close(extend(mixer, pool, x[:1, 40:], [2], 40), expected[:, 40:])


@torch.no_grad()
def test_bfloat16_pools(mixer: Mixer, x: Tensor) -> None:
    """Weights and caches in bfloat16; the recurrent state stays float32."""
    expected = whole(mixer, x[:1])
    rounded = deepcopy(mixer).bfloat16()
    pool = dirty_pool(rounded, torch.bfloat16)
    at, outputs = 0, []
    for n in (40, 1, 1, 50, 5):
        outputs.append(extend(rounded, pool, x[:1, at : at + n].bfloat16(), [2], at))
        at += n
    got = torch.cat(outputs, 1)
    assert got.dtype == torch.bfloat16
    error = (got.float() - expected[:, :at]).norm() / expected[:, :at].norm()
    assert error < 0.03
    for name, tensor in pool.tensors().items():
        assert tensor.dtype == (torch.float32 if name == "state" else torch.bfloat16)


@torch.no_grad()
@pytest.mark.parametrize("num_tokens", [1, 2, 32, 100])
@pytest.mark.parametrize("name", RECURRENT)
def test_fused_tokens_equal_the_torch_path(
    name: str, num_tokens: int, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer, slots, end = build(name), [4, 1, 2], 37 + num_tokens
    results = []
    for fused in (True, False):
        pool = dirty_pool(mixer)
        extend(mixer, pool, x[:, :37], slots, 0)
        monkeypatch.setattr(recurrent, "_numba_serves", lambda qkv, pool, fused=fused: fused)
        results.append([extend(mixer, pool, x[:, 37:end], slots, 37), *pool.tensors().values()])
        monkeypatch.undo()
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5, equal_nan=True)


@torch.no_grad()
def test_decays_stay_above_their_bound() -> None:
    mixer = build("K bounded")
    seen = mixer.project(100 * torch.randn(1, 50, HIDDEN))
    _, log_decay = mixer._rates(seen)
    assert -5.0 <= float(log_decay.min()) < -4.9 and float(log_decay.max()) <= 0


def test_head_counts_must_fit() -> None:
    config = configure(MixersConfig(G=GdnConfig(num_key_heads=3)))
    with pytest.raises(ConfigError, match=r"mixers\.G: 4 value heads are not a multiple of num_key_heads 3"):
        build_mixer("G", config, 0)


def test_windows_and_states_do_not_grow_with_the_context() -> None:
    def size(name: str, capacity: int) -> int:
        return build(name).new_pool(1, capacity, dtype=torch.float32, device=CPU).bytes_per_slot

    for name in VARIANTS:
        constant = name not in ("F", "S wider than the text")
        assert (size(name, 1_000) == size(name, 2_000)) == constant
    assert size("F", 2_000) == 2 * size("F", 1_000) == 2_000 * 2 * 2 * HEAD_DIM * 4


def test_layers_before_the_first_windowed_one_see_everything() -> None:
    config = configure(VARIANTS["F windowed"])
    pools = [
        build_mixer("F", config, layer).new_pool(1, 1_000, dtype=torch.float32, device=CPU)
        for layer in range(2)
    ]
    lengths = [pool.tensors()["keys"].shape[2] for pool in pools]
    assert lengths[0] == 1_000 and lengths[1] < 100
