"""Softmax attention: causal over a whole sequence, in a band of recent tokens, and from a cache.

Grouped heads: with `heads = kv_heads * group`, query head h reads key head h // group. Keys are never
repeated in memory: the group's queries become rows of one product.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.kernels.documents import documents_of

_CAUSAL_BLOCK_TOKENS = 128
_BAND_BLOCKS_PER_WINDOW = 4


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
    """Every token attends to itself and all before it.

    Args:
        q: [batch, seq, heads, head_dim].
        k, v: [batch, seq, kv_heads, head_dim].
        cu_seqlens: int64 [documents + 1], where packed documents begin and end in a batch of one row.

    Returns:
        [batch, seq, heads, head_dim].

    Raises:
        ShapeError: if `cu_seqlens` does not fit.
    """
    if cu_seqlens is not None:
        return _document_by_document(causal_attention, q, k, v, cu_seqlens)
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return _causal_attention_in_blocks(q, k, v)
    grouped = q.shape[2] != k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped).transpose(1, 2)


def _causal_attention_in_blocks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same as plain matrix products, a block of queries at a time against the keys up to its end.

    On a CPU that multiplies bfloat16 this is about twice as fast, forward and backward, as the fused
    kernel, which does not use that.
    """
    _, T, H, D = q.shape
    kv = k.shape[2]
    group = H // kv
    q = (q * D**-0.5).unflatten(2, (kv, group)).transpose(1, 2)  # [B, kv, T, group, D]
    keys, v = k.permute(0, 2, 3, 1), v.transpose(1, 2)  # [B, kv, D, T], [B, kv, T, D]
    outputs = []
    for start in range(0, T, _CAUSAL_BLOCK_TOKENS):
        end = min(start + _CAUSAL_BLOCK_TOKENS, T)
        scores = q[:, :, start:end].flatten(2, 3) @ keys[..., :end]  # [B, kv, n * group, end]
        size = end - start
        later = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)
        scores[..., start:].masked_fill_(later.repeat_interleave(group, 0), -torch.inf)
        outputs.append((scores.softmax(-1) @ v[:, :, :end]).unflatten(2, (size, group)))
    return torch.cat(outputs, 2).transpose(1, 2).flatten(2, 3)


def banded_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int,
    *,
    previous: tuple[Tensor, Tensor] | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """Every token attends to itself and the `window - 1` tokens before it.

    A block of queries reads the blocks of keys that its window touches, so the cost is linear in the
    sequence.

    Args:
        q: [batch, seq, heads, head_dim].
        k, v: [batch, seq, kv_heads, head_dim].
        previous: keys and values [batch, any, kv_heads, head_dim] right before the first token.
        cu_seqlens: int64 [documents + 1], where packed documents begin and end in a batch of one row.

    Returns:
        [batch, seq, heads, head_dim].

    Raises:
        ShapeError: if `cu_seqlens` does not fit.
    """
    if cu_seqlens is not None:
        return _document_by_document(partial(banded_attention, window=window), q, k, v, cu_seqlens)
    B, T, H, D = q.shape
    if previous is None and window >= T:
        return causal_attention(q, k, v)
    known = 0 if previous is None else previous[0].shape[1]
    window = min(window, known + T)
    size = min(-(-window // _BAND_BLOCKS_PER_WINDOW), T)
    reach = -(-(window - 1) // size)  # how many blocks before its own a query may see
    if previous is not None:
        known = min(known, reach * size)
        k, v = (
            torch.cat([old[:, old.shape[1] - known :], new], 1)
            for old, new in zip(previous, (k, v), strict=True)
        )
    tail = -T % size
    k, v = (F.pad(x, (0, 0, 0, 0, reach * size - known, tail)) for x in (k, v))
    q = F.pad(q, (0, 0, 0, 0, 0, tail))
    N = q.shape[1] // size
    q = q.unflatten(1, (N, size)).flatten(0, 1)  # [B * N, size, H, D]
    blocks = [x.unflatten(1, (N + reach, size)) for x in (k, v)]
    k, v = (torch.cat([x[:, i : i + N] for i in range(reach + 1)], 2).flatten(0, 1) for x in blocks)
    mask = _band(N, size, reach, window, known, q.device).repeat(B, 1, 1)
    return _masked_attention(q, k, v, mask).reshape(B, N * size, H, D)[:, :T]


def _masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Many short sequences [rows, seq, heads, D] and their keys, under a bool mask [rows, seq, keys].

    On a CPU that multiplies bfloat16 plain products take half the time of the fused kernel, forward and
    backward; in float32 it is the other way round.
    """
    _, T, H, D = q.shape
    kv = k.shape[2]
    if q.is_cuda:
        # Under a mask torch's fused kernels take no grouped heads there: all scores would lie in memory.
        return cached_attention(q, k.transpose(1, 2), v.transpose(1, 2), mask)
    if q.dtype != torch.bfloat16:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.unsqueeze(1), enable_gqa=kv != H)
        return out.transpose(1, 2)
    group = H // kv
    q = (q * D**-0.5).unflatten(2, (kv, group)).transpose(1, 2).flatten(2, 3)  # [rows, kv, T * group, D]
    hidden = ~mask.repeat_interleave(group, 1).unsqueeze(1)
    scores = (q @ k.permute(0, 2, 3, 1)).masked_fill(hidden, -torch.inf)
    out = scores.softmax(-1) @ v.transpose(1, 2)
    return out.unflatten(2, (T, group)).transpose(1, 2).flatten(2, 3)


def _band(num_blocks: int, size: int, reach: int, window: int, known: int, device: torch.device) -> Tensor:
    """Bool [num_blocks, size, (reach + 1) * size]: which keys of its blocks each query sees."""
    row = torch.arange(size, device=device).unsqueeze(1)
    column = torch.arange((reach + 1) * size, device=device)
    age = row + reach * size - column
    position = column + size * (torch.arange(num_blocks, device=device) - reach).view(-1, 1, 1)
    return (age >= 0) & (age < window) & (position >= -known)


def _document_by_document(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor
) -> Tensor:
    """Packed documents do not see each other, and need no mask over the whole row for it."""
    documents = [slice(d.start, d.stop) for d in documents_of(q, cu_seqlens) if d]
    return torch.cat([attend(q[:, d], k[:, d], v[:, d]) for d in documents], 1)


def cached_attention(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """A few new tokens of each row attend to the row's cache.

    Args:
        q: [rows, seq, heads, head_dim].
        keys, values: [rows, kv_heads, length, head_dim], views of the cache.
        mask: bool [rows, seq, length], True where the token may look, or None where all is visible.

    Returns:
        [rows, seq, heads, head_dim].
    """
    R, T, H, D = q.shape
    kv = keys.shape[1]
    group = H // kv
    q = q.view(R, T, kv, group, D).transpose(1, 2).reshape(R, kv, T * group, D)
    if mask is not None and T * group > 1:
        mask = mask.repeat_interleave(group, 1)
    out = F.scaled_dot_product_attention(q, keys, values, None if mask is None else mask.unsqueeze(1))
    return out.view(R, kv, T, group, D).transpose(1, 2).reshape(R, T, H, D)
