"""What GDN and KDA share: the causal convolution, the gated output norm, the state and its rollback."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from derailleur.config import Config
from derailleur.kernels import DeltaRuleOutput, recurrent_delta_rule
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


@dataclass(frozen=True)
class DeltaInputs:
    """What the delta rule reads besides q, k and v.

    Attributes:
        beta: [batch, seq, heads].
        log_decay: [batch, seq, heads] or [batch, seq, heads, head_dim].
        gate: [batch, seq, heads * head_dim], before its activation.
    """

    beta: Tensor
    log_decay: Tensor
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
    """A delta-rule mixer with q, k, v of one convolution and a gated, normalised output."""

    def __init__(self, config: DecoderConfig, settings: RecurrentConfig) -> None:
        super().__init__()
        self.num_heads, self.head_dim = config.num_heads, config.head_dim
        self.inner_size = config.num_heads * config.head_dim
        self.num_taps = settings.convolution_tokens
        self.settings = settings
        self.gate_activation = F.silu if settings.gate_activation == "silu" else torch.sigmoid
        self.convolution = CausalConvolution(3 * self.inner_size, self.num_taps)
        self.norm = RmsNorm(config.head_dim, config.norm_eps)
        self.out_proj = nn.Linear(self.inner_size, config.hidden_size, bias=False)

    @abstractmethod
    def project(self, x: Tensor) -> tuple[Tensor, DeltaInputs]:
        """The convolution's inputs q, k, v in one [batch, seq, 3 * inner], and what else the rule reads."""

    @abstractmethod
    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, inputs: DeltaInputs, state: Tensor | None
    ) -> DeltaRuleOutput:
        """The chunked form of this mixer's rule."""

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        qkv, inputs = self.project(x)
        q, k, v = self._heads(self.convolution(F.pad(qkv, (0, 0, self.num_taps - 1, 0))))
        return self._output(self.chunked(q, k, v, inputs, None).output, inputs.gate)

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
        qkv, inputs = self.project(x)
        taps = torch.cat([rows.read(pool.tail), qkv], 1)
        q, k, v = self._heads(self.convolution(taps))
        state = rows.read(pool.state)
        if trace:
            outputs, states = [], []
            for t in range(rows.num_tokens):
                step = _token(q, k, v, inputs, t, state)
                outputs.append(step.output)
                states.append(state := step.state)
            return self._output(torch.cat(outputs, 1), inputs.gate), RecurrentTrace(taps, states)
        if rows.num_tokens <= MAX_TRACE_TOKENS:
            mixed = recurrent_delta_rule(q, k, v, inputs.beta, inputs.log_decay, state=state)
        else:
            mixed = self.chunked(q, k, v, inputs, state)
        rows.write(pool.tail, taps[:, -(self.num_taps - 1) :])
        rows.write(pool.state, mixed.state)
        return self._output(mixed.output, inputs.gate), None

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

    def _output(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """Norm, then gate, then the output projection: [B, T, H, D] -> [B, T, hidden]."""
        normed = self.norm(mixed.to(gate.dtype)).flatten(-2)
        return self.out_proj(normed * self.gate_activation(gate))


def _token(q: Tensor, k: Tensor, v: Tensor, inputs: DeltaInputs, t: int, state: Tensor) -> DeltaRuleOutput:
    token = slice(t, t + 1)
    return recurrent_delta_rule(
        q[:, token], k[:, token], v[:, token], inputs.beta[:, token], inputs.log_decay[:, token], state=state
    )
