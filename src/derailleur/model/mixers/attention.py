"""Softmax attention, over the whole past or a window of it: grouped heads, RoPE, optional norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from derailleur.kernels import banded_attention, causal_attention
from derailleur.model.layers import Linear, RmsNorm
from derailleur.model.mixers.base import MAX_TRACE_TOKENS, Mixer, Paging, Pool, Rows, TeacherLayer, Trace
from derailleur.model.mixers.key_value import KeyValuePool, PagedKeyValues, WindowPool
from derailleur.model.rotary import Rotary

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class Attention(Mixer):
    """Multi-head, grouped-query or multi-query attention: one class, a number of key-value heads.

    Args:
        window: how many tokens a token sees, itself included; None for all.
    """

    def __init__(self, config: DecoderConfig, layer: int, window: int | None) -> None:
        super().__init__(config, layer)
        self.window = window
        self.head_dim = config.head_dim
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        self.paging = Paging(config.num_kv_heads, config.head_dim, window)
        q_size, kv_size = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        bias = config.attention_bias
        self.q_proj = Linear(config.hidden_size, q_size, bias=bias)
        self.k_proj = Linear(config.hidden_size, kv_size, bias=bias)
        self.v_proj = Linear(config.hidden_size, kv_size, bias=bias)
        self.o_proj = Linear(q_size, config.hidden_size, bias=config.attention_output_bias)
        self.q_norm = RmsNorm(config.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RmsNorm(config.head_dim, config.norm_eps) if config.qk_norm else None

    def forward(self, x: Tensor, rotary: Rotary, cu_seqlens: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x, rotary)
        if self.window is None:
            return self.output(causal_attention(q, k, v, cu_seqlens=cu_seqlens))
        return self.output(banded_attention(q, k, v, self.window, cu_seqlens=cu_seqlens))

    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> KeyValuePool:
        length = capacity_tokens
        if self.window is not None:
            length = min(self.window, capacity_tokens) + MAX_TRACE_TOKENS
        shape = (num_slots, self.num_kv_heads, length, self.head_dim)
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        return KeyValuePool(keys, values) if self.window is None else WindowPool(keys, values, self.window)

    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        assert isinstance(pool, KeyValuePool | PagedKeyValues)
        return self.output(pool.extend(*self.project(x, rotary), rows)), None

    def project(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries [B, T, H, D], rotated keys and values [B, T, kv, D]."""
        q = self.q_proj(x).unflatten(-1, (self.num_heads, self.head_dim))
        k = self.k_proj(x).unflatten(-1, (self.num_kv_heads, self.head_dim))
        v = self.v_proj(x).unflatten(-1, (self.num_kv_heads, self.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return rotary.apply(q), rotary.apply(k), v

    def take_over(self, teacher: TeacherLayer) -> None:
        self.load_state_dict(teacher.attention.state_dict())

    def output(self, heads: Tensor) -> Tensor:
        """[B, T, H, D] -> [B, T, hidden]."""
        return self.o_proj(heads.flatten(-2))
