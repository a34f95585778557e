"""The projections that full and sliding-window attention share; grouped heads, RoPE, optional norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from derailleur.model.layers import RmsNorm
from derailleur.model.mixers.base import Mixer, Pool, Rotary

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


@dataclass
class KeyValuePool(Pool):
    """Keys and values [slots, kv_heads, length, head_dim], keys already rotated."""

    keys: Tensor
    values: Tensor

    @classmethod
    def zeros(
        cls,
        num_slots: int,
        kv_heads: int,
        length: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> KeyValuePool:
        """A zeroed pool."""
        shape = (num_slots, kv_heads, length, head_dim)
        return cls(
            torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device)
        )


class Attention(Mixer):
    """Multi-head, grouped-query or multi-query attention: one class, a number of key-value heads."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        q_size, kv_size = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, q_size, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=bias)
        self.o_proj = nn.Linear(q_size, config.hidden_size, bias=config.attention_output_bias)
        self.q_norm = RmsNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RmsNorm(config.head_dim, config.norm_eps) if config.qk_norm else None

    def project(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [B, T, H, D], rotated keys and values [B, T, kv, D]."""
        q = self.q_proj(x).unflatten(-1, (self.num_heads, self.head_dim))
        k = self.k_proj(x).unflatten(-1, (self.num_kv_heads, self.head_dim))
        v = self.v_proj(x).unflatten(-1, (self.num_kv_heads, self.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return rotary.apply(q), rotary.apply(k), v

    def output(self, heads: Tensor) -> Tensor:
        """[B, T, H, D] -> [B, T, hidden]."""
        return self.o_proj(heads.flatten(-2))
