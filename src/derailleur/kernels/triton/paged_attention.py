"""Softmax attention of a few new tokens a row over keys and values in pages (flash-decoding).

Every new token is on its own. The tokens that it sees are cut into pieces of a fixed size, so that one long
row keeps the whole device busy, and so that what a token gives depends neither on which rows are in the
batch nor on how many tokens a row appends. Each piece leaves its own softmax and the logarithm of its sum;
a second kernel weighs the pieces together.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.tiles import matmul, matmul_precision

_PIECE_TOKENS = 256
_BLOCK_TOKENS = 64


def paged_attention(
    q: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    *,
    window: int | None = None,
) -> Tensor:
    """Attention of tokens whose keys are stored; arguments and result as the torch twin's."""
    rows, num_tokens, heads, dim = q.shape
    _, kv_heads, _, page_tokens = key_pages.shape
    capacity = tables.shape[1] * page_tokens
    visible = capacity if window is None else min(window, capacity)
    num_pieces = triton.cdiv(visible, _PIECE_TOKENS)
    partial = torch.empty(rows * num_tokens, heads, num_pieces, dim, dtype=torch.float32, device=q.device)
    log_sum = torch.empty(rows * num_tokens, heads, num_pieces, dtype=torch.float32, device=q.device)
    block_dim = max(16, triton.next_power_of_2(dim))
    _pieces_kernel[(num_pieces, kv_heads, rows * num_tokens)](
        q.contiguous(),
        key_pages.contiguous(),
        value_pages.contiguous(),
        tables.contiguous(),
        positions,
        num_tokens,
        visible,
        tables.shape[1],
        dim**-0.5,
        partial,
        log_sum,
        KV=kv_heads,
        GROUP=heads // kv_heads,
        D=dim,
        PAGE=page_tokens,
        BLOCK_GROUP=max(16, triton.next_power_of_2(heads // kv_heads)),
        BLOCK_D=block_dim,
        BLOCK=_BLOCK_TOKENS,
        PIECE=_PIECE_TOKENS,
        PRECISION=matmul_precision(),
    )
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    _merge_kernel[(heads, rows * num_tokens)](
        partial,
        log_sum,
        positions,
        num_tokens,
        visible,
        num_pieces,
        out,
        D=dim,
        BLOCK_D=block_dim,
        PIECE=_PIECE_TOKENS,
    )
    return out


@triton.jit
def _pieces_kernel(
    q,
    key_pages,
    value_pages,
    tables,
    positions,
    num_tokens,
    visible,
    max_pages,
    scale,
    partial,
    log_sum,
    KV: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK_GROUP: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    PIECE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    piece, kv_head, asker = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    row = asker // num_tokens
    length = tl.load(positions + row).to(tl.int32) + (asker % num_tokens).to(tl.int32) + 1
    begin = tl.maximum(length - visible, 0) + piece * PIECE
    if begin >= length:
        return
    end = tl.minimum(begin + PIECE, length)
    member, channel, token = tl.arange(0, BLOCK_GROUP), tl.arange(0, BLOCK_D), tl.arange(0, BLOCK)
    asking = (member < GROUP)[:, None] & (channel < D)[None, :]
    head = kv_head * GROUP + member
    queries = tl.load(q + (asker * KV * GROUP + head[:, None]) * D + channel[None, :], mask=asking, other=0.0)
    highest = tl.full([BLOCK_GROUP], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_GROUP], tl.float32)
    mixed = tl.zeros([BLOCK_GROUP, BLOCK_D], tl.float32)
    for start in range(begin, end, BLOCK):
        position = start + token
        inside = position < end
        # Positions wrap around a table that is shorter than the row: the ring of a sliding window.
        entry = tables + row * max_pages + (position // PAGE) % max_pages
        page = tl.load(entry, mask=inside, other=0).to(tl.int64)
        place = (page * KV + kv_head) * D * PAGE  # both pages of a head are D * PAGE numbers
        cell = place[None, :] + channel[:, None] * PAGE + (position % PAGE)[None, :]
        keys = tl.load(key_pages + cell, mask=(channel < D)[:, None] & inside[None, :], other=0.0)
        scores = matmul(queries, keys, keys.dtype, PRECISION) * scale
        scores = tl.where(inside[None, :], scores, -float("inf"))
        above = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp(scores - above[:, None])
        faded = tl.exp(highest - above)
        total = total * faded + tl.sum(weights, 1)
        cell = place[:, None] + (position % PAGE)[:, None] * D + channel[None, :]
        values = tl.load(value_pages + cell, mask=inside[:, None] & (channel < D)[None, :], other=0.0)
        mixed = mixed * faded[:, None] + matmul(weights, values, values.dtype, PRECISION)
        highest = above
    place = (asker * KV * GROUP + head) * tl.num_programs(0) + piece
    tl.store(partial + place[:, None] * D + channel[None, :], mixed / total[:, None], mask=asking)
    tl.store(log_sum + place, highest + tl.log(total), mask=member < GROUP)


@triton.jit
def _merge_kernel(
    partial,
    log_sum,
    positions,
    num_tokens,
    visible,
    num_pieces,
    out,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PIECE: tl.constexpr,
):
    head, asker = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, BLOCK_D)
    place = asker * tl.num_programs(0) + head
    length = tl.load(positions + asker // num_tokens).to(tl.int32) + (asker % num_tokens).to(tl.int32) + 1
    shown = tl.minimum(length, visible)
    highest, total = -float("inf"), 0.0
    mixed = tl.zeros([BLOCK_D], tl.float32)
    for piece in range(0, tl.cdiv(shown, PIECE)):
        weight = tl.load(log_sum + place * num_pieces + piece)
        above = tl.maximum(highest, weight)
        faded, weight = tl.exp(highest - above), tl.exp(weight - above)
        part = tl.load(partial + (place * num_pieces + piece) * D + channel, mask=channel < D, other=0.0)
        mixed, total, highest = mixed * faded + part * weight, total * faded + weight, above
    tl.store(out + place * D + channel, mixed / total, mask=channel < D)
