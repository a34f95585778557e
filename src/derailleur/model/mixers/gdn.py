"""Gated DeltaNet (GDN): a recurrent state with one decay per head (arXiv:2412.06464)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from derailleur.kernels import chunk_gdn
from derailleur.model.layers import Linear
from derailleur.model.mixers.base import register
from derailleur.model.mixers.recurrent import Projections, RecurrentConfig, RecurrentMixer

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class GdnConfig(RecurrentConfig):
    """Settings of Gated DeltaNet."""


@register("G", GdnConfig)
class Gdn(RecurrentMixer):
    """Gated DeltaNet: one decay per value head."""

    chunked = staticmethod(chunk_gdn)

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__(config, layer, config.mixers.settings(self.letter), num_rates=1)
        self.in_proj_qkvz = Linear(config.hidden_size, self.qkv_size + self.value_size, bias=False)
        self.in_proj_ba = Linear(config.hidden_size, 2 * self.num_value_heads, bias=False)

    @property
    def qkv_weight(self) -> Tensor:
        return self.in_proj_qkvz.weight[: self.qkv_size]

    @property
    def write_weight(self) -> Tensor:
        return self.in_proj_ba.weight[: self.num_value_heads]

    def open_gate(self, constant: Tensor, preactivation: float) -> None:
        self.in_proj_qkvz.weight[self.qkv_size :] += preactivation * constant

    def project(self, x: Tensor) -> Projections:
        qkv, z = self.in_proj_qkvz(x).split([self.qkv_size, self.value_size], -1)
        write, rate = self.in_proj_ba(x).chunk(2, -1)
        return Projections(qkv, rate, write, z)
