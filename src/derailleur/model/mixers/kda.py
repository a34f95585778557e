"""Kimi Delta Attention (KDA): a recurrent state with a decay per key channel (arXiv:2510.26692)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derailleur.kernels import DeltaRuleOutput, chunk_kda
from derailleur.model.mixers.base import register
from derailleur.model.mixers.gdn import inverse_softplus, log_uniform
from derailleur.model.mixers.recurrent import DeltaInputs, RecurrentConfig, RecurrentMixer

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class KdaConfig(RecurrentConfig):
    """Settings of Kimi Delta Attention."""


@register("K")
class Kda(RecurrentMixer):
    """KDA: log_decay = -exp(A_log) softplus(W_f x + dt_bias), one per head and key channel.

    W_f and the output gate W_g have rank head_dim.
    """

    def __init__(self, config: DecoderConfig) -> None:
        assert config.mixers.K is not None
        super().__init__(config, config.mixers.K)
        rank = self.head_dim
        self.in_proj_qkv = nn.Linear(config.hidden_size, 3 * self.inner_size, bias=False)
        self.in_proj_fgb = nn.Linear(config.hidden_size, 2 * rank + self.num_heads, bias=False)
        self.f_proj = nn.Linear(rank, self.inner_size, bias=False)
        self.g_proj = nn.Linear(rank, self.inner_size, bias=False)
        self.gate_bias = nn.Parameter(torch.zeros(self.inner_size))
        self.A_log = nn.Parameter(torch.empty(self.num_heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(log_uniform(self.inner_size, 1e-3, 1e-1)))

    def project(self, x: Tensor) -> tuple[Tensor, DeltaInputs]:
        f, g, b = self.in_proj_fgb(x).split([self.head_dim, self.head_dim, self.num_heads], -1)
        rate = F.softplus(self.f_proj(f).float() + self.dt_bias)
        log_decay = -self.A_log.exp().unsqueeze(-1) * rate.unflatten(-1, (self.num_heads, self.head_dim))
        gate = self.g_proj(g) + self.gate_bias.to(g.dtype)
        return self.in_proj_qkv(x), DeltaInputs(b.float().sigmoid(), log_decay, gate)

    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, inputs: DeltaInputs, state: Tensor | None
    ) -> DeltaRuleOutput:
        with torch.autocast(q.device.type, enabled=False):
            return chunk_kda(q, k, v, inputs.beta, inputs.log_decay, state=state)
