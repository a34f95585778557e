"""The fused kernel against its twin in float64, and bit by bit against itself in any order of calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.kernels import causal_convolution, decode_step, recurrent_delta_rule, replay

SLOTS = 5


@dataclass(frozen=True)
class Shape:
    """What a mixer fixes; GDN has one rate per head, KDA one per key channel."""

    per_channel: bool = False
    key_heads: int = 2
    group: int = 1
    dim: int = 16
    num_taps: int = 4
    silu_gate: bool = True
    gate_bias: bool = True
    max_write: float = 1.0
    decay_lower_bound: float | None = None

    @property
    def heads(self) -> int:
        return self.key_heads * self.group

    @property
    def channels(self) -> int:
        return (2 * self.key_heads + self.heads) * self.dim


SHAPES = [
    Shape(),
    Shape(per_channel=True),
    Shape(group=3, dim=5, num_taps=2, gate_bias=False, max_write=2.0),
    Shape(per_channel=True, key_heads=1, group=2, dim=7, num_taps=5, silu_gate=False, decay_lower_bound=-5.0),
]


class Layer:
    """Random weights, and slots that hold states of several requests."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.generator = torch.Generator().manual_seed(3)
        inner = shape.heads * shape.dim
        self.tail = self.random(SLOTS, shape.num_taps - 1, shape.channels)
        self.state = self.random(SLOTS, shape.heads, shape.dim, shape.dim)
        self.taps, self.A_log = self.random(shape.channels, shape.num_taps), self.random(shape.heads)
        self.dt_bias = self.random(inner if shape.per_channel else shape.heads)
        self.gate_bias = self.random(inner) if shape.gate_bias else None
        self.norm_weight = self.random(shape.dim)

    def random(self, *size: int) -> Tensor:
        return torch.randn(*size, generator=self.generator)

    def tokens(self, rows: int, num_tokens: int) -> list[Tensor]:
        """Projections, views of wider ones as they come out of a mixer's linear maps."""
        inner = self.shape.heads * self.shape.dim
        rates = inner if self.shape.per_channel else self.shape.heads
        sizes = [self.shape.channels, rates, self.shape.heads, inner]
        return list(self.random(rows, num_tokens, sum(sizes)).split(sizes, -1))

    def step(
        self, tokens: Sequence[Tensor], slots: Sequence[int], trace: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        qkv, rate, write, gate = tokens
        return decode_step(
            qkv,
            rate,
            write,
            gate,
            torch.tensor(slots),
            self.tail,
            self.state,
            self.taps,
            self.A_log,
            self.dt_bias,
            self.gate_bias,
            self.norm_weight,
            norm_eps=1e-5,
            l2_eps=1e-6,
            silu_gate=self.shape.silu_gate,
            max_write=self.shape.max_write,
            decay_lower_bound=self.shape.decay_lower_bound,
            trace=trace,
        )

    def twin(self, tokens: Sequence[Tensor], slots: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Output, tail and state in float64."""
        qkv, rate, write, gate = (x.double() for x in tokens)
        inputs = torch.cat([self.tail[slots].double(), qkv], 1)
        heads = causal_convolution(inputs, self.taps.double()).unflatten(-1, (-1, self.shape.dim))
        sizes = [self.shape.key_heads, self.shape.key_heads, self.shape.heads]
        q, k, v = heads.split(sizes, -2)
        q, k = (
            (x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt()).repeat_interleave(self.shape.group, -2)
            for x in (q, k)
        )
        rate = (rate + self.dt_bias).unflatten(-1, (self.shape.heads, -1))
        speed = self.A_log.double().exp().unsqueeze(-1)
        if self.shape.decay_lower_bound is None:
            log_decay = -speed * F.softplus(rate)
        else:
            log_decay = self.shape.decay_lower_bound * (speed * rate).sigmoid()
        beta = self.shape.max_write * write.sigmoid()
        after = recurrent_delta_rule(q, k, v, beta, log_decay.squeeze(-1), state=self.state[slots].double())
        normed = F.rms_norm(after.output, (self.shape.dim,), self.norm_weight.double(), 1e-5).flatten(-2)
        gate = gate if self.gate_bias is None else gate + self.gate_bias
        opened = F.silu(gate) if self.shape.silu_gate else gate.sigmoid()
        return normed * opened, inputs[:, -(self.shape.num_taps - 1) :], after.state


@pytest.fixture(params=SHAPES, ids=str)
def layer(request: pytest.FixtureRequest) -> Layer:
    return Layer(request.param)


@pytest.mark.parametrize("num_tokens", [1, 2, 70])
def test_equals_its_twin(layer: Layer, num_tokens: int) -> None:
    tokens, slots = layer.tokens(3, num_tokens), [4, 0, 2]
    untouched = layer.state[[1, 3]].clone()
    expected = layer.twin(tokens, slots)
    out, updates = layer.step(tokens, slots)
    assert updates is None and torch.equal(layer.state[[1, 3]], untouched)
    for got, wanted in zip((out, layer.tail[slots], layer.state[slots]), expected, strict=True):
        torch.testing.assert_close(got.double(), wanted, atol=2e-5, rtol=2e-5)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    pieces=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8), st.booleans()), min_size=1, max_size=5),
)
def test_a_token_is_the_same_in_any_call(shape: Shape, pieces: list[tuple[int, int, bool]]) -> None:
    """Bit by bit: in one call or many, alone or in a batch, traced with any number forgotten or not."""
    whole, cut = Layer(shape), Layer(shape)
    kept = [1 + right % n if traced else n for n, right, traced in pieces]
    tokens, slots = whole.tokens(2, sum(kept)), [3, 1]
    together, _ = whole.step(tokens, slots)
    ends = [sum(kept[: i + 1]) for i in range(len(kept))]
    for row, slot in enumerate(slots):
        for (n, _, traced), (begin, end) in zip(pieces, pairwise([0, *ends]), strict=True):
            drafts = cut.tokens(1, n - (end - begin))
            piece = [
                torch.cat([x[row : row + 1, begin:end], y], 1) for x, y in zip(tokens, drafts, strict=True)
            ]
            out, updates = cut.step(piece, [slot], traced)
            assert torch.equal(out[0, : end - begin], together[row, begin:end])
            if updates is not None:
                accepted, where = torch.tensor([end - begin]), torch.tensor([slot])
                replay(accepted, piece[0], updates, where, cut.tail, cut.state)
    assert torch.equal(cut.tail, whole.tail) and torch.equal(cut.state, whole.state)


def test_a_trace_leaves_everything_as_it_was(layer: Layer) -> None:
    before = layer.tail.clone(), layer.state.clone()
    layer.step(layer.tokens(2, 9), [0, 4], trace=True)
    assert torch.equal(layer.tail, before[0]) and torch.equal(layer.state, before[1])


def test_rows_accept_different_numbers(layer: Layer) -> None:
    slots, accepted = [2, 0, 4], [3, 1, 6]
    tokens = layer.tokens(3, 6)
    _, updates = layer.step(tokens, slots, trace=True)
    assert updates is not None
    alone = Layer(layer.shape)
    for row, n in enumerate(accepted):
        alone.step([x[row : row + 1, :n] for x in tokens], [slots[row]])
    replay(torch.tensor(accepted), tokens[0], updates, torch.tensor(slots), layer.tail, layer.state)
    assert torch.equal(layer.tail, alone.tail) and torch.equal(layer.state, alone.state)


def test_threads_change_nothing(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, slots = layer.tokens(3, 7), [3, 4, 0]
    shared = Layer(layer.shape)
    expected, _ = layer.step(tokens, slots)
    monkeypatch.setattr(import_module("derailleur.kernels.decode_step"), "_PARALLEL_WORK", 0)
    torch.set_num_threads(2)
    try:
        got, _ = shared.step(tokens, slots)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(got, expected) and torch.equal(shared.state, layer.state)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e4, 1e8])
def test_extreme_inputs_stay_finite(layer: Layer, size: float) -> None:
    tokens = [size * x for x in layer.tokens(2, 3)]
    expected, _, state = layer.twin(tokens, [0, 1])
    out, _ = layer.step(tokens, [0, 1])
    torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.state[:2].double(), state, atol=1e-4, rtol=1e-4)


def test_what_is_not_a_number_stays_in_its_row(layer: Layer) -> None:
    tokens = layer.tokens(2, 2)
    expected, _, _ = layer.twin(tokens, [1, 2])
    layer.state[1, 0, 0, 0] = torch.nan
    out, _ = layer.step(tokens, [1, 2])
    assert out[0].isnan().any()
    torch.testing.assert_close(out[1].double(), expected[1], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("part", range(4))
def test_what_is_not_a_number_is_not_hidden(layer: Layer, part: int) -> None:
    tokens = layer.tokens(1, 2)
    tokens[part][0, 0, 0] = torch.nan
    out, _ = layer.step(tokens, [1])
    assert out[0, 0].isnan().any()
