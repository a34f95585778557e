"""Attention of one new token a row over a cache in pages that rows share out among themselves."""

import torch
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels.dispatch import triton_serves


def paged_attention(
    q: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    block_table: Tensor,
    lengths: Tensor,
    *,
    window: int | None = None,
) -> Tensor:
    """Each row's newest token attends to the row's tokens, itself included.

    Position p of a row stands in page `block_table[row, (p // page_tokens) % max_pages]`: a table that is
    shorter than its row is a ring, which holds the last `max_pages * page_tokens` positions.

    Args:
        q: [rows, heads, head_dim]; head h reads key-value head h // (heads // kv_heads).
        key_pages, value_pages: [pages, page_tokens, kv_heads, head_dim].
        block_table: int [rows, max_pages], the pages of each row; entries beyond its length are not read.
        lengths: int [rows], how many tokens each row has; a row without tokens gives zeros.
        window: how many of the last tokens a row sees, or None for all that its pages hold.

    Returns:
        [rows, heads, head_dim].

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    rows, heads, dim = q.shape
    _, page_tokens, kv_heads, _ = key_pages.shape
    if (
        value_pages.shape != key_pages.shape
        or key_pages.shape[-1] != dim
        or heads % kv_heads
        or block_table.shape[:1] != (rows,)
        or lengths.shape != (rows,)
    ):
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, key_pages, value_pages, block_table, lengths))
        raise ShapeError(f"paged attention: q, pages, block_table, lengths do not fit together: {shapes}")
    if triton_serves(q, key_pages, value_pages):
        from derailleur.kernels import triton

        return triton.paged_attention(q, key_pages, value_pages, block_table, lengths, window=window)
    capacity = block_table.shape[1] * page_tokens
    last = (lengths - 1).unsqueeze(1)
    entries = torch.arange(capacity, device=q.device)
    held = last - (last - entries) % capacity  # [rows, capacity], the newest position an entry can hold
    seen = held >= 0 if window is None else (held >= 0) & (last - held < window)
    pages = block_table.masked_fill(~seen.unflatten(1, (-1, page_tokens)).any(-1), 0)
    keys, values = (x[pages].flatten(1, 2) for x in (key_pages, value_pages))  # [rows, capacity, kv, D]
    # Softmax over no keys at all is NaN, and so is zero times whatever stands beyond a row's end.
    values = values.masked_fill(~seen[..., None, None], 0)
    scores = torch.einsum("rkgd,rckd->rkgc", q.unflatten(1, (kv_heads, -1)), keys) * dim**-0.5
    weights = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(-1).nan_to_num()
    return torch.einsum("rkgc,rckd->rkgd", weights, values).flatten(1, 2)
