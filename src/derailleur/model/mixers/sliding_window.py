"""Sliding-window attention (SWA): every token sees the last `window_tokens`; the cache is a ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from derailleur.config import Config
from derailleur.kernels import banded_attention, cached_attention
from derailleur.model.mixers.attention import Attention, KeyValuePool
from derailleur.model.mixers.base import MAX_TRACE_TOKENS, Pool, Rotary, Rows, Trace, register

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class SlidingWindowConfig(Config):
    """Settings of sliding-window attention."""

    window_tokens: int = Field(4096, gt=0, description="How many tokens a token sees, itself included.")


@register("S")
class SlidingWindow(Attention):
    """Softmax attention over the last `window_tokens` tokens, with weights of its own.

    The ring holds `MAX_TRACE_TOKENS` more than the window, so that the tokens of a verify step that are
    then forgotten have not yet overwritten anything that the window still shows.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        assert config.mixers.S is not None
        self.window = config.mixers.S.window_tokens

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        return self.output(banded_attention(*self.project(x, rotary), self.window))

    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> KeyValuePool:
        length = min(self.window, capacity_tokens) + MAX_TRACE_TOKENS
        return KeyValuePool.zeros(num_slots, self.num_kv_heads, length, self.head_dim, dtype, device)

    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        assert isinstance(pool, KeyValuePool)
        q, k, v = self.project(x, rotary)
        if rows.num_tokens > MAX_TRACE_TOKENS:
            heads = self._prefill(q, k, v, pool, rows)
        else:
            _store(pool, rows.slots, rows.token_positions, k, v)
            mask = rows.ring_mask(pool.keys.shape[2], self.window)
            heads = cached_attention(q, rows.read(pool.keys), rows.read(pool.values), mask)
        return self.output(heads), None

    def _prefill(self, q: Tensor, k: Tensor, v: Tensor, pool: KeyValuePool, rows: Rows) -> Tensor:
        """Long pieces, one row after another: rows may have different pasts."""
        ring = pool.keys.shape[2]
        outputs = []
        slots, positions = rows.slots.tolist(), rows.positions.tolist()
        for row, (slot, position) in enumerate(zip(slots, positions, strict=True)):
            known = min(position, self.window - 1)
            past = torch.arange(position - known, position, device=q.device) % ring
            previous = tuple(x[slot][:, past].transpose(0, 1).unsqueeze(0) for x in (pool.keys, pool.values))
            piece = slice(row, row + 1)
            outputs.append(
                banded_attention(
                    q[piece], k[piece], v[piece], self.window, previous=(previous[0], previous[1])
                )
            )
        kept = min(ring, rows.num_tokens)
        _store(pool, rows.slots, rows.token_positions[:, -kept:], k[:, -kept:], v[:, -kept:])
        return torch.cat(outputs)


def _store(pool: KeyValuePool, slots: Tensor, positions: Tensor, k: Tensor, v: Tensor) -> None:
    index = (slots.view(-1, 1), slice(None), positions % pool.keys.shape[2])
    pool.keys[index], pool.values[index] = k, v
