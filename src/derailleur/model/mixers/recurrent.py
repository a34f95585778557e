"""What GDN and KDA share: the causal convolution, the gated output norm, the state and its rollback."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from derailleur.config import Config
from derailleur.kernels import DeltaRuleOutput, decode_step, recurrent_delta_rule
from derailleur.model.layers import RmsNorm
from derailleur.model.mixers.base import MAX_TRACE_TOKENS, Mixer, Pool, Rotary, Rows, Trace

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig

L2_EPS = 1e-6


class RecurrentConfig(Config):
    """Settings that both recurrent mixers have."""

    convolution_tokens: int = Field(4, ge=2, description="Length of the causal convolution, tokens.")
    gate_activation: Literal["silu", "sigmoid"] = Field(
        "silu", description="Activation of the output gate: Fast-LLM uses silu, Moonshot's KDA sigmoid."
    )


@dataclass
class RecurrentPool(Pool):
    """The convolution's last inputs and the delta rule's state.

    Attributes:
        tail: [slots, convolution_tokens - 1, channels].
        state: [slots, heads, head_dim, head_dim] float32.
    """

    tail: Tensor
    state: Tensor


@dataclass
class RecurrentTrace(Trace):
    """States after each traced token.

    Attributes:
        inputs: [rows, convolution_tokens - 1 + num_tokens, channels], what the convolution read.
        states: one [rows, heads, head_dim, head_dim] a token.
    """

    inputs: Tensor
    states: list[Tensor]


class Projections(NamedTuple):
    """What a mixer reads off its input, before any activation.

    Attributes:
        qkv: [batch, seq, 3 * inner], the convolution's inputs.
        rate: [batch, seq, heads] (GDN) or [batch, seq, inner] (KDA), of the decay.
        write: [batch, seq, heads], the write strength.
        gate: [batch, seq, inner], the output gate.
    """

    qkv: Tensor
    rate: Tensor
    write: Tensor
    gate: Tensor


class CausalConvolution(nn.Module):
    """A depthwise causal convolution over time followed by SiLU, without bias."""

    def __init__(self, channels: int, num_taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, num_taps) * num_taps**-0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """[batch, num_taps - 1 + seq, channels] -> [batch, seq, channels].

        A sum of shifted products: on a CPU several times faster, forward and backward, than a
        grouped conv1d of such few taps.
        """
        num_taps = self.weight.shape[-1]
        length = inputs.shape[1] - num_taps + 1
        taps = self.weight.squeeze(1).to(inputs.dtype).unbind(-1)
        total = inputs[:, :length] * taps[0]
        for shift in range(1, num_taps):
            total = torch.addcmul(total, inputs[:, shift : shift + length], taps[shift])
        return F.silu(total)


class RecurrentMixer(Mixer):
    """A delta-rule mixer with q, k, v of one convolution and a gated, normalised output.

    log_decay = -exp(A_log) softplus(rate + dt_bias), `num_rates` of them per head: one, or one per key
    channel.
    """

    def __init__(self, config: DecoderConfig, settings: RecurrentConfig, *, num_rates: int) -> None:
        super().__init__()
        self.settings = settings
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.inner_size = config.num_heads * config.head_dim
        self.num_taps = settings.convolution_tokens
        self.convolution = CausalConvolution(3 * self.inner_size, self.num_taps)
        self.A_log = nn.Parameter(torch.empty(self.num_heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(log_uniform(self.num_heads * num_rates, 1e-3, 1e-1)))
        self.gate_bias = nn.Parameter(torch.zeros(self.inner_size))
        self.norm = RmsNorm(config.head_dim, config.norm_eps)
        self.out_proj = nn.Linear(self.inner_size, config.hidden_size, bias=False)

    @abstractmethod
    def project(self, x: Tensor) -> Projections:
        """[batch, seq, hidden] -> everything that is linear in the input."""

    @abstractmethod
    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None
    ) -> DeltaRuleOutput:
        """The chunked form of this mixer's rule; arguments as `recurrent_delta_rule`'s."""

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        seen = self.project(x)
        q, k, v = self._heads(self.convolution(F.pad(seen.qkv, (0, 0, self.num_taps - 1, 0))))
        with torch.autocast(x.device.type, enabled=False):
            mixed = self.chunked(q, k, v, *self._rates(seen), None)
        return self._output(mixed.output, seen.gate)

    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> RecurrentPool:
        tail = torch.zeros(num_slots, self.num_taps - 1, 3 * self.inner_size, dtype=dtype, device=device)
        state = torch.zeros(num_slots, self.num_heads, self.head_dim, self.head_dim, device=device)
        return RecurrentPool(tail, state)

    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        assert isinstance(pool, RecurrentPool)
        seen = self.project(x)
        if rows.num_tokens == 1 and not trace and _fusible(seen.qkv, pool.tail):
            return self._fused_step(seen, pool, rows), None
        taps = torch.cat([rows.read(pool.tail), seen.qkv], 1)
        q, k, v = self._heads(self.convolution(taps))
        beta, log_decay = self._rates(seen)
        state = rows.read(pool.state)
        if trace:
            outputs, states = [], []
            for t in range(rows.num_tokens):
                now = (x[:, t : t + 1] for x in (q, k, v, beta, log_decay))
                step = recurrent_delta_rule(*now, state=state)
                outputs.append(step.output)
                states.append(state := step.state)
            return self._output(torch.cat(outputs, 1), seen.gate), RecurrentTrace(taps, states)
        if rows.num_tokens <= MAX_TRACE_TOKENS:
            mixed = recurrent_delta_rule(q, k, v, beta, log_decay, state=state)
        else:
            mixed = self.chunked(q, k, v, beta, log_decay, state)
        rows.write(pool.tail, taps[:, -(self.num_taps - 1) :])
        rows.write(pool.state, mixed.state)
        return self._output(mixed.output, seen.gate), None

    def commit(self, pool: Pool, rows: Rows, trace: Trace | None, num_accepted: Tensor) -> None:
        assert isinstance(pool, RecurrentPool) and isinstance(trace, RecurrentTrace)
        row = torch.arange(num_accepted.shape[0], device=num_accepted.device)
        rows.write(pool.state, torch.stack(trace.states, 1)[row, num_accepted - 1])
        tail = num_accepted.unsqueeze(1) + torch.arange(self.num_taps - 1, device=num_accepted.device)
        rows.write(pool.tail, trace.inputs[row.unsqueeze(1), tail])

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, 3 * inner] -> L2-normalised q and k, and v, each [B, T, H, D] float32."""
        q, k, v = qkv.float().unflatten(-1, (3, self.num_heads, self.head_dim)).unbind(-3)
        return F.normalize(q, dim=-1, eps=L2_EPS), F.normalize(k, dim=-1, eps=L2_EPS), v

    def _rates(self, seen: Projections) -> tuple[Tensor, Tensor]:
        """Write strengths [B, T, H] and log decays [B, T, H] or [B, T, H, D], float32."""
        rate = F.softplus(seen.rate.float() + self.dt_bias).unflatten(-1, (self.num_heads, -1))
        log_decay = -self.A_log.exp().unsqueeze(-1) * rate
        return seen.write.float().sigmoid(), log_decay.squeeze(-1)

    def _output(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """Norm, then gate, then the output projection: [B, T, H, D] -> [B, T, hidden]."""
        normed = self.norm(mixed.to(gate.dtype)).flatten(-2)
        gate = gate + self.gate_bias.to(gate.dtype)
        opened = F.silu(gate) if self.settings.gate_activation == "silu" else gate.sigmoid()
        return self.out_proj(normed * opened)

    def _fused_step(self, seen: Projections, pool: RecurrentPool, rows: Rows) -> Tensor:
        """One token a row on a CPU: what the rest of `extend` computes, in one kernel."""
        out = torch.empty_like(seen.gate)
        qkv, rate, write, gate = (x.squeeze(1).numpy() for x in seen)
        decode_step(
            qkv,
            rate,
            write,
            gate,
            rows.slots.numpy(),
            pool.tail.numpy(),
            pool.state.numpy(),
            self.convolution.weight.squeeze(1).numpy(),
            self.A_log.numpy(),
            self.dt_bias.numpy(),
            self.gate_bias.numpy(),
            self.norm.weight.numpy(),
            self.norm.eps,
            self.settings.gate_activation == "silu",
            out.squeeze(1).numpy(),
        )
        return self.out_proj(out)


def _fusible(*tensors: Tensor) -> bool:
    """Whether the fused CPU kernel serves: plain float32 memory and nobody who wants gradients."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return False
    return all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)


def log_uniform(count: int, low: float, high: float) -> Tensor:
    """`count` values between `low` and `high`, uniform in their logarithm."""
    return torch.empty(count).uniform_(math.log(low), math.log(high)).exp()


def inverse_softplus(x: Tensor) -> Tensor:
    """The y with softplus(y) = x."""
    return x + (-(-x).expm1()).log()
