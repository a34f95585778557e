"""What GDN and KDA share: the causal convolution, the gated output norm, the state and its rollback."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from derailleur.config import Config
from derailleur.errors import ConfigError
from derailleur.kernels import (
    DeltaRule,
    causal_convolution,
    decode_step,
    document_positions,
    recurrent_delta_rule,
    replay,
    triton_serves,
)
from derailleur.model.layers import Linear, RmsNorm
from derailleur.model.mixers.base import MAX_TRACE_TOKENS, Mixer, Pool, Rows, TeacherLayer, Trace
from derailleur.model.mixers.linearise import inverse_softplus, linearise
from derailleur.model.rotary import Rotary

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig

L2_EPS = 1e-6
"""Added to the squared length of queries and keys before they are divided by its root."""


class RecurrentConfig(Config):
    """Settings that both recurrent mixers have."""

    num_key_heads: int | None = Field(
        None, gt=0, description="Heads of queries and keys; as many as value heads if absent."
    )
    num_value_heads: int | None = Field(
        None, gt=0, description="Heads of values, a multiple of the key heads; the query heads if absent."
    )
    head_dim: int | None = Field(None, gt=0, description="Width of a head; that of attention if absent.")
    norm_eps: float | None = Field(
        None, gt=0, description="Added to the mean square in the output norm; the decoder's if absent."
    )
    convolution_tokens: int = Field(4, ge=2, description="Length of the causal convolution, tokens.")
    gate_activation: Literal["silu", "sigmoid"] = Field(
        "silu", description="Activation of the output gate: Fast-LLM uses silu, Moonshot's KDA sigmoid."
    )
    gate_bias: bool = Field(
        True, description="A learnt bias of the output gate, by which surgery opens it; others have none."
    )
    negative_eigenvalues: bool = Field(
        False, description="Write strengths between 0 and 2 instead of 0 and 1 (arXiv:2411.12537)."
    )


@dataclass
class RecurrentPool(Pool):
    """The convolution's last inputs and the delta rule's state.

    Attributes:
        tail: [slots, convolution_tokens - 1, channels].
        state: [slots, value_heads, head_dim, head_dim] float32.
    """

    tail: Tensor
    state: Tensor


@dataclass
class UpdatesTrace(Trace):
    """What each traced token does to the state, of the fused kernel on a CPU: `replay` takes it.

    Attributes:
        inputs: [rows, num_tokens, channels], the convolution's.
        updates: [rows, num_tokens, value_heads, 3, head_dim], keys, written values and decays.
    """

    inputs: Tensor
    updates: Tensor


@dataclass
class RecurrentTrace(Trace):
    """What `commit` finds the state after any traced token by: all of them, or what they are made of.

    Attributes:
        inputs: [rows, convolution_tokens - 1 + num_tokens, channels], what the convolution read.
        states: one [rows, value_heads, head_dim, head_dim] a token, or none.
        tokens: q, k, v, write strengths and log decays [rows, num_tokens, ...], where there are no states.
    """

    inputs: Tensor
    states: tuple[Tensor, ...] = ()
    tokens: tuple[Tensor, ...] = ()


class Projections(NamedTuple):
    """What a mixer reads off its input, before any activation.

    Attributes:
        qkv: [batch, seq, 2 * key_size + value_size], the convolution's inputs.
        rate: [batch, seq, value_heads] (GDN) or [batch, seq, value_size] (KDA), of the decay.
        write: [batch, seq, value_heads], the write strength.
        gate: [batch, seq, value_size], the output gate.
    """

    qkv: Tensor
    rate: Tensor
    write: Tensor
    gate: Tensor


class CausalConvolution(nn.Module):
    """The weights of `causal_convolution`, as a grouped conv1d holds them."""

    def __init__(self, channels: int, num_taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, num_taps))

    def forward(self, inputs: Tensor, positions: Tensor | None = None) -> Tensor:
        return causal_convolution(inputs, self.weight.squeeze(1), positions)


class RecurrentMixer(Mixer):
    """A delta-rule mixer with q, k, v of one convolution and a gated, normalised output.

    Each key head serves value_heads / key_heads value heads next to each other.
    log_decay = -exp(A_log) softplus(rate + dt_bias), `num_rates` of them per value head: one, or one per
    key channel. With `decay_lower_bound` it is decay_lower_bound * sigmoid(exp(A_log) (rate + dt_bias)).

    Attributes:
        chunked: this mixer's rule in chunks.
    """

    chunked: ClassVar[DeltaRule]

    def __init__(
        self,
        config: DecoderConfig,
        layer: int,
        settings: RecurrentConfig,
        *,
        num_rates: int,
        decay_lower_bound: float | None = None,
    ) -> None:
        super().__init__(config, layer)
        self.settings, self.decay_lower_bound = settings, decay_lower_bound
        self.max_write = 2.0 if settings.negative_eigenvalues else 1.0
        self.head_dim = settings.head_dim or config.head_dim
        self.num_value_heads = settings.num_value_heads or config.num_heads
        self.num_key_heads = settings.num_key_heads or self.num_value_heads
        if self.num_value_heads % self.num_key_heads:
            raise ConfigError(
                f"mixers.{self.letter}: {self.num_value_heads} value heads are not a multiple "
                f"of num_key_heads {self.num_key_heads}"
            )
        self.key_size = self.num_key_heads * self.head_dim
        self.value_size = self.num_value_heads * self.head_dim
        self.qkv_size = 2 * self.key_size + self.value_size
        self.num_taps = settings.convolution_tokens
        self.convolution = CausalConvolution(self.qkv_size, self.num_taps)
        self.A_log = nn.Parameter(torch.empty(self.num_value_heads))
        self.dt_bias = nn.Parameter(torch.empty(self.num_value_heads * num_rates))
        self.gate_bias = nn.Parameter(torch.zeros(self.value_size)) if settings.gate_bias else None
        self.norm = RmsNorm(self.head_dim, settings.norm_eps or config.norm_eps)
        self.out_proj = Linear(self.value_size, config.hidden_size, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.convolution.weight.normal_(std=self.num_taps**-0.5, generator=generator)
        self.A_log.uniform_(1, 16, generator=generator).log_()
        self.dt_bias.uniform_(math.log(1e-3), math.log(1e-1), generator=generator).exp_()
        self.dt_bias.copy_(inverse_softplus(self.dt_bias))
        if self.gate_bias is not None:
            self.gate_bias.zero_()

    @property
    @abstractmethod
    def qkv_weight(self) -> Tensor:
        """[qkv_size, hidden], a view of the projection to queries, keys and values."""

    @property
    @abstractmethod
    def write_weight(self) -> Tensor:
        """[value_heads, hidden], a view of the projection to write strengths."""

    @abstractmethod
    def open_gate(self, constant: Tensor, preactivation: float) -> None:
        """Lift the output gate's pre-activation by weights alone; `constant` as in `TeacherLayer`."""

    def take_over(self, teacher: TeacherLayer) -> None:
        linearise(self, teacher)

    @abstractmethod
    def project(self, x: Tensor) -> Projections:
        """[batch, seq, hidden] -> everything that is linear in the input."""

    def forward(self, x: Tensor, rotary: Rotary, cu_seqlens: Tensor | None = None) -> Tensor:
        seen = self.project(x)
        positions = None if cu_seqlens is None else document_positions(x, cu_seqlens)
        q, k, v = self._heads(self.convolution(F.pad(seen.qkv, (0, 0, self.num_taps - 1, 0)), positions))
        with torch.autocast(x.device.type, enabled=False):
            mixed = self.chunked(q, k, v, *self._rates(seen), cu_seqlens=cu_seqlens)
        return self._output(mixed.output, seen.gate)

    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> RecurrentPool:
        tail = torch.zeros(num_slots, self.num_taps - 1, self.qkv_size, dtype=dtype, device=device)
        heads, dim = self.num_value_heads, self.head_dim
        state = torch.zeros(num_slots, heads, dim, dim, dtype=torch.float32, device=device)
        return RecurrentPool(tail, state)

    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        assert isinstance(pool, RecurrentPool)
        seen = self.project(x)
        if _numba_serves(seen.qkv, pool):
            mixed, updates = self._fused(decode_step, seen, pool, rows, trace=trace)
            return self.out_proj(mixed), UpdatesTrace(seen.qkv, updates) if trace else None
        if rows.num_tokens == 1 and not trace and _triton_serves(seen.qkv, pool):
            return self.out_proj(self._triton_step(seen, pool, rows)), None
        taps = torch.cat([rows.read(pool.tail), seen.qkv], 1)
        q, k, v = self._heads(self.convolution(taps))
        beta, log_decay = self._rates(seen)
        state = rows.read(pool.state)
        tokens = q, k, v, beta, log_decay
        chunked = rows.num_tokens > MAX_TRACE_TOKENS or _prefers_chunks(pool)
        if trace and not chunked:
            outputs, states = [], []
            for t in range(rows.num_tokens):
                step = recurrent_delta_rule(*(x[:, t : t + 1] for x in tokens), state=state)
                outputs.append(step.output)
                states.append(state := step.state)
            return self._output(torch.cat(outputs, 1), seen.gate), RecurrentTrace(taps, states=tuple(states))
        mixed = (self.chunked if chunked else recurrent_delta_rule)(*tokens, state=state)
        if trace:
            return self._output(mixed.output, seen.gate), RecurrentTrace(taps, tokens=tokens)
        rows.write(pool.tail, taps[:, -(self.num_taps - 1) :])
        rows.write(pool.state, mixed.state)
        return self._output(mixed.output, seen.gate), None

    def commit(self, pool: Pool, rows: Rows, trace: Trace | None, num_accepted: Tensor) -> None:
        assert isinstance(pool, RecurrentPool)
        if isinstance(trace, UpdatesTrace):
            replay(num_accepted, trace.inputs, trace.updates, rows.slots, pool.tail, pool.state)
            return
        assert isinstance(trace, RecurrentTrace)
        row = torch.arange(num_accepted.shape[0], device=num_accepted.device)
        if trace.states:
            states = torch.stack([rows.read(pool.state), *trace.states], 1)
            rows.write(pool.state, states[row, num_accepted])
        else:
            rows.write(pool.state, self._replay(trace.tokens, num_accepted, rows.read(pool.state)))
        tail = num_accepted.unsqueeze(1) + torch.arange(self.num_taps - 1, device=num_accepted.device)
        rows.write(pool.tail, trace.inputs[row.unsqueeze(1), tail])

    def _replay(self, tokens: tuple[Tensor, ...], num_accepted: Tensor, state: Tensor) -> Tensor:
        """The state after the accepted tokens; zeros in place of the others leave it as it is."""
        forgotten = torch.arange(tokens[0].shape[1], device=state.device) >= num_accepted.unsqueeze(1)
        kept = (x.masked_fill(forgotten.view(*forgotten.shape, *[1] * (x.dim() - 2)), 0) for x in tokens)
        return self.chunked(*kept, state=state).state

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, qkv_size] -> L2-normalised q and k, and v, each [B, T, value_heads, D] float32."""
        heads = qkv.unflatten(-1, (-1, self.head_dim))
        qk, v = heads.split([2 * self.num_key_heads, self.num_value_heads], -2)
        qk = qk * (qk.square().sum(-1, keepdim=True) + L2_EPS).rsqrt()
        q, k = qk.chunk(2, -2)
        if self.num_key_heads != self.num_value_heads:
            group = self.num_value_heads // self.num_key_heads
            q, k = q.repeat_interleave(group, -2), k.repeat_interleave(group, -2)
        return q, k, v

    def _rates(self, seen: Projections) -> tuple[Tensor, Tensor]:
        """Write strengths [B, T, H] and log decays [B, T, H] or [B, T, H, D], float32 at least."""
        dtype = torch.promote_types(seen.rate.dtype, torch.float32)
        rate = (seen.rate.to(dtype) + self.dt_bias).unflatten(-1, (self.num_value_heads, -1))
        speed = self.A_log.to(dtype).exp().unsqueeze(-1)
        if self.decay_lower_bound is None:
            log_decay = -speed * F.softplus(rate)
        else:
            log_decay = self.decay_lower_bound * (speed * rate).sigmoid()
        return self.max_write * seen.write.to(dtype).sigmoid(), log_decay.squeeze(-1)

    def _output(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """Norm, then gate, then the output projection: [B, T, H, D] -> [B, T, hidden]."""
        normed = self.norm(mixed.to(gate.dtype)).flatten(-2)
        if self.gate_bias is not None:
            gate = gate + self.gate_bias.to(gate.dtype)
        opened = F.silu(gate) if self.settings.gate_activation == "silu" else gate.sigmoid()
        return self.out_proj(normed * opened)

    def _triton_step(self, seen: Projections, pool: RecurrentPool, rows: Rows) -> Tensor:
        """One token a row on CUDA."""
        from derailleur.kernels import triton

        newest = Projections(*(x.squeeze(1) for x in seen))
        out: Tensor = self._fused(triton.decode_step, newest, pool, rows)
        return out.unsqueeze(1)

    def _fused(
        self, step: Callable[..., Any], seen: Projections, pool: RecurrentPool, rows: Rows, **options: bool
    ) -> Any:
        """What a kernel makes of the projections, instead of the rest of `extend` before the last one."""
        return step(
            *seen,
            rows.slots,
            pool.tail,
            pool.state,
            self.convolution.weight.squeeze(1),
            self.A_log,
            self.dt_bias,
            self.gate_bias,
            self.norm.weight,
            norm_eps=self.norm.eps,
            l2_eps=L2_EPS,
            silu_gate=self.settings.gate_activation == "silu",
            max_write=self.max_write,
            decay_lower_bound=self.decay_lower_bound,
            **options,
        )


def _numba_serves(qkv: Tensor, pool: RecurrentPool) -> bool:
    """Whether the kernel for CPUs takes these; it is the faster form for long pieces too."""
    return all(x.is_cpu and x.dtype == torch.float32 for x in (qkv, pool.tail)) and _detached(qkv, pool)


def _triton_serves(qkv: Tensor, pool: RecurrentPool) -> bool:
    return triton_serves(pool.state) and _detached(qkv, pool)


def _detached(qkv: Tensor, pool: RecurrentPool) -> bool:
    """Whether nobody wants gradients."""
    return not torch.is_grad_enabled() or not (qkv.requires_grad or pool.tail.requires_grad)


def _prefers_chunks(pool: RecurrentPool) -> bool:
    """Whether a few tokens are computed in chunks too.

    On CUDA that is a handful of kernels, where the recurrence launches a dozen for each token; and states
    after each token of a verify step, kept for all layers, would take many times the memory of the requests.
    """
    return triton_serves(pool.state)
