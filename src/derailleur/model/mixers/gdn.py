"""Gated DeltaNet (GDN): a recurrent state with one decay per head (arXiv:2412.06464)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from derailleur.kernels import DeltaRuleOutput, chunk_gdn
from derailleur.model.mixers.base import register
from derailleur.model.mixers.recurrent import Projections, RecurrentConfig, RecurrentMixer

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class GdnConfig(RecurrentConfig):
    """Settings of Gated DeltaNet."""


@register("G")
class Gdn(RecurrentMixer):
    """Gated DeltaNet: log_decay = -exp(A_log) softplus(W_a x + dt_bias), one per head."""

    def __init__(self, config: DecoderConfig) -> None:
        assert config.mixers.G is not None
        super().__init__(config, config.mixers.G, num_rates=1)
        self.in_proj_qkvz = nn.Linear(config.hidden_size, 4 * self.inner_size, bias=False)
        self.in_proj_ba = nn.Linear(config.hidden_size, 2 * self.num_heads, bias=False)

    def project(self, x: Tensor) -> Projections:
        qkv, z = self.in_proj_qkvz(x).split([3 * self.inner_size, self.inner_size], -1)
        write, rate = self.in_proj_ba(x).chunk(2, -1)
        return Projections(qkv, rate, write, z)

    def chunked(
        self, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, state: Tensor | None
    ) -> DeltaRuleOutput:
        return chunk_gdn(q, k, v, beta, log_decay, state=state)
