"""Kimi Delta Attention (KDA): a recurrent state with a decay per key channel (arXiv:2510.26692)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from derailleur.kernels import DeltaRuleOutput, chunk_kda
from derailleur.model.mixers.base import register
from derailleur.model.mixers.recurrent import Projections, RecurrentConfig, RecurrentMixer

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
        super().__init__(config, config.mixers.K, num_rates=config.head_dim)
        self.in_proj_qkv = nn.Linear(config.hidden_size, 3 * self.inner_size, bias=False)
        self.in_proj_fgb = nn.Linear(config.hidden_size, 2 * self.head_dim + self.num_heads, bias=False)
        self.f_proj = nn.Linear(self.head_dim, self.inner_size, bias=False)
        self.g_proj = nn.Linear(self.head_dim, self.inner_size, bias=False)

    def project(self, x: Tensor) -> Projections:
        f, g, write = self.in_proj_fgb(x).split([self.head_dim, self.head_dim, self.num_heads], -1)
        return Projections(self.in_proj_qkv(x), self.f_proj(f), write, self.g_proj(g))

    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None
    ) -> DeltaRuleOutput:
        return chunk_kda(q, k, v, beta, log_decay, state=state)
