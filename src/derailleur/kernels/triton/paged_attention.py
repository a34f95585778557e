"""Softmax attention of a few new tokens a row over keys and values in pages (flash-decoding).

What the tokens see is cut into pieces at fixed positions, so that one long row keeps the whole device busy,
and so that what a token gives depends neither on which rows are in the batch nor on how many tokens a row
appends. Each piece leaves its own softmax and the logarithm of its sum; a second kernel weighs the pieces
together. Tokens of a row share the tiles of queries that a product needs anyway, and with them the keys and
values that they read: verifying a few costs little more than adding one.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.tiles import matmul, matmul_precision

_PIECE_TOKENS = 256
_BLOCK_TOKENS = 64
_FEWEST_QUERIES = 16
"""Rows of the smallest tile that tensor cores multiply."""


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
    group = heads // kv_heads
    tile_tokens = max(1, _FEWEST_QUERIES // triton.next_power_of_2(group))
    num_tiles = triton.cdiv(num_tokens, tile_tokens)
    capacity = tables.shape[1] * page_tokens
    visible = capacity if window is None else min(window, capacity)
    num_pieces = triton.cdiv(visible + tile_tokens - 2, _PIECE_TOKENS) + 1  # wherever the first token begins
    partial = torch.empty(rows * num_tokens, heads, num_pieces, dim, dtype=torch.float32, device=q.device)
    log_sum = torch.empty(rows * num_tokens, heads, num_pieces, dtype=torch.float32, device=q.device)
    block_dim = max(16, triton.next_power_of_2(dim))
    # Tiles of one piece run next to each other: what one reads, the others find in the cache.
    _pieces_kernel[(num_pieces * num_tiles, kv_heads, rows)](
        q.contiguous(),
        key_pages.contiguous(),
        value_pages.contiguous(),
        tables.contiguous(),
        positions,
        num_tokens,
        num_tiles,
        num_pieces,
        visible,
        tables.shape[1],
        dim**-0.5,
        partial,
        log_sum,
        KV=kv_heads,
        GROUP=group,
        D=dim,
        PAGE=page_tokens,
        TILE=tile_tokens,
        BLOCK_GROUP=triton.next_power_of_2(group),
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
        num_pieces,
        visible,
        out,
        D=dim,
        TILE=tile_tokens,
        BLOCK_D=block_dim,
        PIECE=_PIECE_TOKENS,
    )
    return out


@triton.jit
def _first_piece(position, visible, PIECE: tl.constexpr):
    """The piece in which begins what a token sees."""
    return tl.maximum(position + 1 - visible, 0) // PIECE


@triton.jit
def _pieces_kernel(
    q,
    key_pages,
    value_pages,
    tables,
    positions,
    num_tokens,
    num_tiles,
    num_pieces,
    visible,
    max_pages,
    scale,
    partial,
    log_sum,
    KV: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_GROUP: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK: tl.constexpr,
    PIECE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    piece, first_token = tl.program_id(0) // num_tiles, tl.program_id(0) % num_tiles * TILE
    kv_head, row = tl.program_id(1), tl.program_id(2).to(tl.int64)
    position = tl.load(positions + row).to(tl.int32)
    low = tl.maximum(position + first_token + 1 - visible, 0)
    high = position + tl.minimum(first_token + TILE, num_tokens)
    begin = (_first_piece(position + first_token, visible, PIECE) + piece) * PIECE
    if begin >= high:
        return
    end = tl.minimum(begin + PIECE, high)
    member, channel = tl.arange(0, TILE * BLOCK_GROUP), tl.arange(0, BLOCK_D)
    token, place_in_group = first_token + member // BLOCK_GROUP, member % BLOCK_GROUP
    asks = (token < num_tokens) & (place_in_group < GROUP)
    asking = asks[:, None] & (channel < D)[None, :]
    query = (row * num_tokens + token) * KV * GROUP + kv_head * GROUP + place_in_group
    queries = tl.load(q + query[:, None] * D + channel[None, :], mask=asking, other=0.0)
    length = (position + token + 1)[:, None]
    highest = tl.full([TILE * BLOCK_GROUP], -1e30, tl.float32)
    total = tl.zeros([TILE * BLOCK_GROUP], tl.float32)
    mixed = tl.zeros([TILE * BLOCK_GROUP, BLOCK_D], tl.float32)
    for start in range(begin, end, BLOCK):
        cached = start + tl.arange(0, BLOCK)
        inside = (cached >= low) & (cached < end)
        # Positions wrap around a table that is shorter than the row: the ring of a sliding window.
        entry = tables + row * max_pages + (cached // PAGE) % max_pages
        page = tl.load(entry, mask=inside, other=0).to(tl.int64)
        place = (page * KV + kv_head) * D * PAGE  # both pages of a head are D * PAGE numbers
        cell = place[None, :] + channel[:, None] * PAGE + (cached % PAGE)[None, :]
        keys = tl.load(key_pages + cell, mask=(channel < D)[:, None] & inside[None, :], other=0.0)
        scores = matmul(queries, keys, keys.dtype, PRECISION) * scale
        seen = inside[None, :] & (cached[None, :] < length) & (cached[None, :] >= length - visible)
        scores = tl.where(seen, scores, -float("inf"))
        above = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp(scores - above[:, None])
        faded = tl.exp(highest - above)
        total = total * faded + tl.sum(weights, 1)
        cell = place[:, None] + (cached % PAGE)[:, None] * D + channel[None, :]
        values = tl.load(value_pages + cell, mask=inside[:, None] & (channel < D)[None, :], other=0.0)
        mixed = mixed * faded[:, None] + matmul(weights, values, values.dtype, PRECISION)
        highest = above
    # A token may see nothing of a piece that another token of its tile sees.
    sees = total > 0.0
    total = tl.where(sees, total, 1.0)
    place = query * num_pieces + piece
    tl.store(partial + place[:, None] * D + channel[None, :], mixed / total[:, None], mask=asking)
    tl.store(log_sum + place, tl.where(sees, highest + tl.log(total), -float("inf")), mask=asks)


@triton.jit
def _merge_kernel(
    partial,
    log_sum,
    positions,
    num_tokens,
    num_pieces,
    visible,
    out,
    D: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_D: tl.constexpr,
    PIECE: tl.constexpr,
):
    head, asker = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = tl.arange(0, BLOCK_D)
    place = asker * tl.num_programs(0) + head
    token = (asker % num_tokens).to(tl.int32)
    position = tl.load(positions + asker // num_tokens).to(tl.int32)
    first = _first_piece(position + token // TILE * TILE, visible, PIECE)
    highest, total = -1e30, 0.0
    mixed = tl.zeros([BLOCK_D], tl.float32)
    for piece in range(0, (position + token) // PIECE - first + 1):
        weight = tl.load(log_sum + place * num_pieces + piece)
        above = tl.maximum(highest, weight)
        faded, weight = tl.exp(highest - above), tl.exp(weight - above)
        part = tl.load(partial + (place * num_pieces + piece) * D + channel, mask=channel < D, other=0.0)
        mixed, total, highest = mixed * faded + part * weight, total * faded + weight, above
    tl.store(out + place * D + channel, mixed / total, mask=channel < D)
