"""What attention remembers of a request: keys and values of all its tokens, or of the last in a ring.

The pools also attend: what a query may see depends on where its keys stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from derailleur.kernels import (
    PAGE_TOKENS,
    banded_attention,
    cached_attention,
    causal_attention,
    extend_pages,
)
from derailleur.model.mixers.base import MAX_TRACE_TOKENS, Paging, Pool, Rows


@dataclass
class KeyValuePool(Pool):
    """Keys and values [slots, kv_heads, length, head_dim] by position, keys already rotated."""

    by_position = True

    keys: Tensor
    values: Tensor

    def extend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
        """Store the rows' new keys and values, and let their queries attend to all that they may see.

        Args:
            q: [rows, num_tokens, heads, head_dim].
            k, v: [rows, num_tokens, kv_heads, head_dim].

        Returns:
            [rows, num_tokens, heads, head_dim].
        """
        self._store(k, v, rows.slots, rows.token_positions)
        if rows.max_position == 0 and rows.num_tokens > 1:
            return causal_attention(q, k, v)
        length = rows.max_position + rows.num_tokens
        if rows.contiguous:
            keys, values = self.keys[rows.span, :, :length], self.values[rows.span, :, :length]
            return cached_attention(q, keys, values, rows.causal_mask)
        count = rows.last_slot - rows.first_slot + 1
        if count > 2 * q.shape[0]:
            keys, values = self.keys[rows.slots, :, :length], self.values[rows.slots, :, :length]
            return cached_attention(q, keys, values, rows.visible)
        # Few slots lie between the rows: attending over the whole span is cheaper than copying the caches
        # together. The rows in between see one key each and are thrown away.
        place = rows.slots - rows.first_slot
        spread = q.new_zeros(count, *q.shape[1:])
        spread[place] = q
        mask = torch.zeros(count, rows.num_tokens, length, dtype=torch.bool, device=q.device)
        mask[:, :, 0] = True
        mask[place] = rows.visible
        keys, values = self.keys[rows.span, :, :length], self.values[rows.span, :, :length]
        return cached_attention(spread, keys, values, mask)[place]

    def _store(self, k: Tensor, v: Tensor, slots: Tensor, entries: Tensor) -> None:
        index = (slots.view(-1, 1), slice(None), entries)
        self.keys[index], self.values[index] = k, v  # advanced indices first: [rows, num_tokens, kv, D]


@dataclass
class WindowPool(KeyValuePool):
    """The last keys and values of a request: position p stands in entry p % length.

    The ring holds `MAX_TRACE_TOKENS` more than the window, so that the tokens of a verify step that are
    then forgotten have not yet overwritten anything that the window still shows.
    """

    window: int

    def extend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
        if rows.num_tokens > MAX_TRACE_TOKENS:
            return self._prefill(q, k, v, rows)
        ring = self.keys.shape[2]
        self._store(k, v, rows.slots, rows.token_positions % ring)
        return cached_attention(
            q, rows.read(self.keys), rows.read(self.values), rows.ring_mask(ring, self.window)
        )

    def _prefill(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
        """Long pieces, one row after another: rows may have different pasts."""
        ring = self.keys.shape[2]
        outputs = []
        slots, positions = rows.slots.tolist(), rows.positions.tolist()
        for row, (slot, position) in enumerate(zip(slots, positions, strict=True)):
            known = min(position, self.window - 1)
            past = torch.arange(position - known, position, device=q.device) % ring
            keys, values = (x[slot][:, past].transpose(0, 1).unsqueeze(0) for x in (self.keys, self.values))
            piece = slice(row, row + 1)
            outputs.append(
                banded_attention(q[piece], k[piece], v[piece], self.window, previous=(keys, values))
            )
        kept = min(ring, rows.num_tokens)
        entries = rows.token_positions[:, -kept:] % ring
        self._store(k[:, -kept:], v[:, -kept:], rows.slots, entries)
        return torch.cat(outputs)


@dataclass
class KeyValuePages(Pool):
    """Keys [pages, kv_heads, head_dim, PAGE_TOKENS] and values [pages, kv_heads, PAGE_TOKENS, head_dim].

    What other pools call a slot is a page here; keys are already rotated.
    """

    by_position = True

    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, paging: Paging, *, dtype: torch.dtype, device: torch.device) -> KeyValuePages:
        """No pages yet."""
        keys = torch.empty(0, paging.num_kv_heads, paging.head_dim, PAGE_TOKENS, dtype=dtype, device=device)
        values = torch.empty(0, paging.num_kv_heads, PAGE_TOKENS, paging.head_dim, dtype=dtype, device=device)
        return cls(keys, values)


@dataclass
class PagedKeyValues(KeyValuePages):
    """The pages, and which of them the rows of one step have.

    Attributes:
        tables: int32 [rows, pages of a row], as `extend_pages` reads them.
        window: how many tokens a token sees; None for all.
    """

    tables: Tensor
    window: int | None

    def extend(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
        """As `KeyValuePool.extend`."""
        return extend_pages(q, k, v, self.keys, self.values, self.tables, rows.positions, window=self.window)
