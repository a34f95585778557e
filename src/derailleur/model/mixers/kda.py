"""Kimi Delta Attention (KDA): a recurrent state with a decay per key channel (arXiv:2510.26692)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor

from derailleur.kernels import chunk_kda
from derailleur.model.layers import Linear
from derailleur.model.mixers.base import register
from derailleur.model.mixers.recurrent import Projections, RecurrentConfig, RecurrentMixer

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class KdaConfig(RecurrentConfig):
    """Settings of Kimi Delta Attention."""

    decay_lower_bound: float | None = Field(
        None,
        lt=0,
        description="If given, log decay = this * sigmoid(exp(A_log) (rate + dt_bias)).",
    )


@register("K", KdaConfig)
class Kda(RecurrentMixer):
    """KDA: one decay per value head and key channel; decay and output gate have rank head_dim."""

    chunked = staticmethod(chunk_kda)

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        settings: KdaConfig = config.mixers.settings(self.letter)
        num_rates = settings.head_dim or config.head_dim
        super().__init__(
            config, layer, settings, num_rates=num_rates, decay_lower_bound=settings.decay_lower_bound
        )
        self.in_proj_qkv = Linear(config.hidden_size, self.qkv_size, bias=False)
        self._fgb_sizes = [self.head_dim, self.head_dim, self.num_value_heads]
        self.in_proj_fgb = Linear(config.hidden_size, sum(self._fgb_sizes), bias=False)
        self.f_proj = Linear(self.head_dim, self.value_size, bias=False)
        self.g_proj = Linear(self.head_dim, self.value_size, bias=False)

    @property
    def qkv_weight(self) -> Tensor:
        return self.in_proj_qkv.weight

    @property
    def write_weight(self) -> Tensor:
        return self.in_proj_fgb.weight[2 * self.head_dim :]

    def open_gate(self, constant: Tensor, preactivation: float) -> None:
        self.in_proj_fgb.weight[self.head_dim] = constant  # the first of the gate's inner channels
        self.g_proj.weight[:, 0] = preactivation

    def project(self, x: Tensor) -> Projections:
        f, g, write = self.in_proj_fgb(x).split(self._fgb_sizes, -1)
        return Projections(self.in_proj_qkv(x), self.f_proj(f), write, self.g_proj(g))
