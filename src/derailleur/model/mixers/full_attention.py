"""Full attention (FA): every token sees all before it; the cache grows with the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from derailleur.config import Config
from derailleur.kernels import cached_attention, causal_attention
from derailleur.model.mixers.attention import Attention, KeyValuePool
from derailleur.model.mixers.base import Pool, Rotary, Rows, Trace, register


class FullAttentionConfig(Config):
    """Full attention has no settings beyond the decoder's heads."""


@register("F")
class FullAttention(Attention):
    """Softmax attention over the whole past."""

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        return self.output(causal_attention(*self.project(x, rotary)))

    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> KeyValuePool:
        return KeyValuePool.zeros(num_slots, self.num_kv_heads, capacity_tokens, self.head_dim, dtype, device)

    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        assert isinstance(pool, KeyValuePool)
        q, k, v = self.project(x, rotary)
        index = (rows.slots.view(-1, 1), slice(None), rows.token_positions)
        pool.keys[index], pool.values[index] = k, v  # advanced indices first: [rows, num_tokens, kv, D]
        if rows.max_position == 0 and rows.num_tokens > 1:
            return self.output(causal_attention(q, k, v)), None
        return self.output(_attend(q, pool, rows)), None


def _attend(q: Tensor, pool: KeyValuePool, rows: Rows) -> Tensor:
    length = rows.max_position + rows.num_tokens
    if rows.contiguous:
        return cached_attention(
            q, pool.keys[rows.span, :, :length], pool.values[rows.span, :, :length], rows.causal_mask
        )
    count = rows.last_slot - rows.first_slot + 1
    if count > 2 * q.shape[0]:
        keys, values = pool.keys[rows.slots, :, :length], pool.values[rows.slots, :, :length]
        return cached_attention(q, keys, values, rows.visible)
    # Few slots lie between the rows: attending over the whole span is cheaper than copying the caches
    # together. The rows in between see one key each and are thrown away.
    place = rows.slots - rows.first_slot
    spread = q.new_zeros(count, *q.shape[1:])
    spread[place] = q
    mask = torch.zeros(count, rows.num_tokens, length, dtype=torch.bool, device=q.device)
    mask[:, :, 0] = True
    mask[place] = rows.visible
    keys, values = pool.keys[rows.span, :, :length], pool.values[rows.span, :, :length]
    return cached_attention(spread, keys, values, mask)[place]
