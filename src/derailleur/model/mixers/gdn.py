"""Gated DeltaNet (GDN): a recurrent state with one decay per head (arXiv:2412.06464)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derailleur.kernels import DeltaRuleOutput, chunk_gdn
from derailleur.model.mixers.base import register
from derailleur.model.mixers.recurrent import DeltaInputs, RecurrentConfig, RecurrentMixer

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class GdnConfig(RecurrentConfig):
    """Settings of Gated DeltaNet."""


@register("G")
class Gdn(RecurrentMixer):
    """Gated DeltaNet: log_decay = -exp(A_log) softplus(W_a x + dt_bias), one per head."""

    def __init__(self, config: DecoderConfig) -> None:
        assert config.mixers.G is not None
        super().__init__(config, config.mixers.G)
        self.in_proj_qkvz = nn.Linear(config.hidden_size, 4 * self.inner_size, bias=False)
        self.in_proj_ba = nn.Linear(config.hidden_size, 2 * self.num_heads, bias=False)
        self.gate_bias = nn.Parameter(torch.zeros(self.inner_size))
        self.A_log = nn.Parameter(torch.empty(self.num_heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(log_uniform(self.num_heads, 1e-3, 1e-1)))

    def project(self, x: Tensor) -> tuple[Tensor, DeltaInputs]:
        qkv, z = self.in_proj_qkvz(x).split([3 * self.inner_size, self.inner_size], -1)
        b, a = self.in_proj_ba(x).float().chunk(2, -1)
        log_decay = -self.A_log.exp() * F.softplus(a + self.dt_bias)
        return qkv, DeltaInputs(b.sigmoid(), log_decay, z + self.gate_bias.to(z.dtype))

    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, inputs: DeltaInputs, state: Tensor | None
    ) -> DeltaRuleOutput:
        with torch.autocast(q.device.type, enabled=False):
            return chunk_gdn(q, k, v, inputs.beta, inputs.log_decay, state=state)


def log_uniform(count: int, low: float, high: float) -> Tensor:
    """`count` values between `low` and `high`, uniform in their logarithm."""
    return torch.empty(count).uniform_(math.log(low), math.log(high)).exp()


def inverse_softplus(x: Tensor) -> Tensor:
    """The y with softplus(y) = x."""
    return x + (-(-x).expm1()).log()
