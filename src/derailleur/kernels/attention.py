"""Softmax attention: causal over a whole sequence, in a band of recent tokens, and from a cache.

Grouped heads: with `heads = kv_heads * group`, query head h reads key head h // group. Keys are never
repeated in memory: the group's queries become rows of one product.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_CAUSAL_BLOCK_TOKENS = 128


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token attends to itself and all before it.

    Args:
        q: [batch, seq, heads, head_dim].
        k, v: [batch, seq, kv_heads, head_dim].

    Returns:
        [batch, seq, heads, head_dim].
    """
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
    q: Tensor, k: Tensor, v: Tensor, window: int, *, previous: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Every token attends to itself and the `window - 1` tokens before it, in blocks of `window` tokens.

    A block of queries reads its own keys and the block before, so the cost is linear in the sequence.

    Args:
        q: [batch, seq, heads, head_dim].
        k, v: [batch, seq, kv_heads, head_dim].
        previous: keys and values [batch, count <= window, kv_heads, head_dim] right before the first token.

    Returns:
        [batch, seq, heads, head_dim].
    """
    B, T, H, D = q.shape
    known = 0 if previous is None else previous[0].shape[1]
    if known == 0 and window >= T:
        return causal_attention(q, k, v)
    tail = -T % window
    if previous is not None:
        k, v = torch.cat([previous[0], k], 1), torch.cat([previous[1], v], 1)
    # One block of keys before the first query: what is known of it at its end, nothing before.
    k, v = (F.pad(x, (0, 0, 0, 0, window - known, tail)) for x in (k, v))
    q = F.pad(q, (0, 0, 0, 0, 0, tail))
    N = q.shape[1] // window
    q = q.unflatten(1, (N, window)).flatten(0, 1)  # [B * N, W, H, D]
    blocks = [x.unflatten(1, (N + 1, window)) for x in (k, v)]
    k, v = (torch.cat([x[:, :-1], x[:, 1:]], 2).flatten(0, 1) for x in blocks)  # [B * N, 2 W, kv, D]
    row = torch.arange(window, device=q.device).unsqueeze(1)
    column = torch.arange(2 * window, device=q.device)
    band = (column > row) & (column <= row + window)  # [W, 2 W]
    mask = band.expand(N, window, 2 * window)
    if known < window:
        mask = mask.clone()
        mask[0, :, : window - known] = False
    mask = mask.expand(B, -1, -1, -1).flatten(0, 1).unsqueeze(1)  # [B * N, 1, W, 2 W]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=k.shape[1] != H)
    return out.transpose(1, 2).reshape(B, N * window, H, D)[:, :T]


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
