"""Attention over keys and values in pages, which rows of any length share out among themselves.

Position p of a row stands in page `tables[row, (p // page_tokens) % max_pages]`: a table that is shorter
than its row is a ring, which holds the row's last `max_pages * page_tokens` positions. Keys stand in their
page with the tokens last, so that the scores of a page's tokens are sums of whole vectors.
"""

import torch
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels import paged_compiled
from derailleur.kernels.attention import banded_attention, cached_attention, causal_attention
from derailleur.kernels.dispatch import triton_serves

PAGE_TOKENS = 64
"""How many tokens a page holds."""
MAX_STEP_TOKENS = 32
"""Up to how many new tokens a row are a step of decoding or verifying; more are a piece of a prompt."""


def extend_pages(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    *,
    window: int | None = None,
) -> Tensor:
    """Store each row's new keys and values in its pages; its queries attend to all they may see.

    Up to `MAX_STEP_TOKENS` tokens are a step, which needs rings of `window - 1 + num_tokens` positions or
    more; pieces of a prompt may be longer than a ring. In kernels, what a token gives depends, to the last
    bit, neither on the other rows nor on how many tokens are in its step or, on a CPU, its piece.

    Args:
        q: [rows, num_tokens, heads, head_dim]; head h reads key-value head h // (heads // kv_heads).
        k, v: [rows, num_tokens, kv_heads, head_dim].
        key_pages: [pages, kv_heads, head_dim, page_tokens].
        value_pages: [pages, kv_heads, page_tokens, head_dim].
        tables: int32 [rows, max_pages], the pages of each row; entries beyond its length are not read.
        positions: int64 [rows], where in its row the first new token stands.
        window: how many tokens a token sees, itself included, or None for all.

    Returns:
        [rows, num_tokens, heads, head_dim].

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, key_pages, value_pages, tables, positions)
    if paged_compiled.serves(q, key_pages):
        return paged_compiled.extend(q, k, v, key_pages, value_pages, tables, positions, window)
    if q.shape[1] > MAX_STEP_TOKENS:
        return _extend_by_piece(q, k, v, key_pages, value_pages, tables, positions, window)
    _store(k, v, key_pages, value_pages, tables, positions)
    if triton_serves(q, k):
        from derailleur.kernels import triton

        return triton.paged_attention(q, key_pages, value_pages, tables, positions, window=window)
    return attend_to_pages(q, key_pages, value_pages, tables, positions, window=window)


def attend_to_pages(
    q: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    *,
    window: int | None = None,
) -> Tensor:
    """The same for tokens that are stored already, without a kernel: gather, mask, softmax."""
    _, T, heads, dim = q.shape
    _, kv_heads, _, page_tokens = key_pages.shape
    last = (positions + (T - 1)).unsqueeze(1)
    num_pages = min(tables.shape[1], int(last.max()) // page_tokens + 1)
    capacity = num_pages * page_tokens
    held = last - (last - torch.arange(capacity, device=q.device)) % capacity  # newest position of each place
    age = (positions.unsqueeze(1) + torch.arange(T, device=q.device)).unsqueeze(2) - held.unsqueeze(1)
    seen = (age >= 0) & (held >= 0).unsqueeze(1)  # [rows, T, capacity]
    if window is not None:
        seen &= age < window
    shown = seen.any(1)
    pages = tables[:, :num_pages].masked_fill(~shown.unflatten(1, (-1, page_tokens)).any(-1), 0)
    keys = key_pages[pages].permute(0, 2, 3, 1, 4).flatten(3)  # [rows, kv, D, capacity]
    values = value_pages[pages].transpose(1, 2).flatten(2, 3)  # [rows, kv, capacity, D]
    # Zero times whatever stands where no token may look is not always zero.
    values = values.masked_fill(~shown[:, None, :, None], 0)
    group = heads // kv_heads
    queries = (q * dim**-0.5).unflatten(2, (kv_heads, group)).transpose(1, 2).flatten(2, 3)
    hidden = ~seen.repeat_interleave(group, 1).unsqueeze(1)  # [rows, 1, T * group, capacity]
    weights = (queries @ keys).masked_fill(hidden, -torch.inf).softmax(-1)
    return (weights @ values).unflatten(2, (T, group)).transpose(1, 2).flatten(2, 3)


def _extend_by_piece(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    window: int | None,
) -> Tensor:
    """Long pieces, one row after another: rows may have different pasts.

    A row's past is read before the piece is stored, which may take its place in a ring.
    """
    known = positions.tolist()
    if not any(known):
        out = causal_attention(q, k, v) if window is None else banded_attention(q, k, v, window)
    else:
        outputs = []
        for row, position in enumerate(known):
            piece = q[row : row + 1], k[row : row + 1], v[row : row + 1]
            begin = 0 if window is None else max(0, position - window + 1)
            past = _read(key_pages, value_pages, tables[row], begin, position)
            outputs.append(_attend_to_past(*piece, *past, window))
        out = torch.cat(outputs)
    kept = min(q.shape[1], tables.shape[1] * key_pages.shape[-1])
    begin = q.shape[1] - kept
    _store(k[:, begin:], v[:, begin:], key_pages, value_pages, tables, positions + begin)
    return out


def _attend_to_past(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, window: int | None
) -> Tensor:
    """One row's piece [1, T, heads, D] attends to itself and to what stands before it [1, past, kv, D]."""
    if window is not None:
        return banded_attention(q, k, v, window, previous=(keys, values))
    if not keys.shape[1]:
        return causal_attention(q, k, v)
    T, past = q.shape[1], keys.shape[1]
    visible = torch.ones(1, T, past + T, dtype=torch.bool, device=q.device).tril(past)
    keys, values = (torch.cat(x, 1).transpose(1, 2) for x in ((keys, k), (values, v)))
    return cached_attention(q, keys, values, visible)


def _read(
    key_pages: Tensor, value_pages: Tensor, table: Tensor, begin: int, end: int
) -> tuple[Tensor, Tensor]:
    """A row's keys and values of positions begin to end, [1, end - begin, kv_heads, head_dim] each."""
    page_tokens = key_pages.shape[-1]
    first = begin // page_tokens
    pages = table[torch.arange(first, -(-end // page_tokens), device=table.device) % len(table)]
    keys = key_pages[pages].permute(0, 3, 1, 2).flatten(0, 1)
    values = value_pages[pages].transpose(1, 2).flatten(0, 1)
    held = slice(begin - first * page_tokens, end - first * page_tokens)
    return keys[held].unsqueeze(0), values[held].unsqueeze(0)


def _store(
    k: Tensor, v: Tensor, key_pages: Tensor, value_pages: Tensor, tables: Tensor, positions: Tensor
) -> None:
    page_tokens = key_pages.shape[-1]
    places = positions.unsqueeze(1) + torch.arange(k.shape[1], device=k.device)
    pages = tables.gather(1, places // page_tokens % tables.shape[1])
    # Advanced indices first: [rows, num_tokens, kv_heads, head_dim].
    key_pages[pages, :, :, places % page_tokens] = k
    value_pages[pages, :, places % page_tokens] = v


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
) -> None:
    rows, T, heads, dim = q.shape
    pages, kv_heads, _, page_tokens = key_pages.shape
    if (
        k.shape != (rows, T, kv_heads, dim)
        or v.shape != k.shape
        or key_pages.shape != (pages, kv_heads, dim, page_tokens)
        or value_pages.shape != (pages, kv_heads, page_tokens, dim)
        or heads % kv_heads
        or tables.shape[:1] != (rows,)
        or positions.shape != (rows,)
    ):
        inputs = (q, k, v, key_pages, value_pages, tables, positions)
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ShapeError(
            f"paged attention: q, k, v, key and value pages, tables, positions do not fit together: {shapes}"
        )
