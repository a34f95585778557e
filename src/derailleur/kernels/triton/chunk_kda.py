"""What Kimi Delta Attention has to itself: sums in which every key channel decays at its own rate.

exp(G_t - G_s) does not come out of a sum over channels, so the chunk is cut into four blocks of 16 tokens
(Kimi Linear, arXiv:2510.26692, section 3). Pairs of tokens of different blocks are products of two factors
that both decay, by way of the first token of a block between them; pairs within a block are taken one by
one. No exponent is ever positive.
"""

import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.chunk_backward import sums_over_values
from derailleur.kernels.triton.chunk_forward import VALUE_BLOCK, DecayedProducts, Solved
from derailleur.kernels.triton.chunks import Packed
from derailleur.kernels.triton.tiles import (
    load_column,
    load_decay,
    load_tile,
    matmul,
    store_column,
    store_tile,
)


def kda_products(x: Packed) -> DecayedProducts:
    """The decayed products of keys with keys and of queries with keys."""
    shape = (*x.q.shape[:2], 64)
    products = DecayedProducts(x.new(*shape), x.new(*shape, dtype=x.q.dtype))
    _products_kernel[(4 * x.chunks.num_chunks, x.num_heads)](
        x.q,
        x.k,
        x.G,
        x.chunks.bounds,
        x.k.shape[-1] ** -0.5,
        products.keys,
        products.queries,
        **x.sizes(VALUE_BLOCK),
    )
    return products


def kda_gradients(
    x: Packed, solved: Solved, states: Tensor, dO: Tensor, dR: Tensor, dstates: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, beta and of the sums of log decays (float32), from what both scans left."""
    dq, dk, dv, dbeta = (y.new_empty(y.shape) for y in (x.q, x.k, x.v, x.beta))
    dG = x.new(*x.G.shape)
    dP, N = (x.new(*x.q.shape[:2], 64) for _ in range(2))
    asked, removed, carried = (x.new(*x.k.shape) for _ in range(3))
    along = x.new(*x.beta.shape)
    at_end = x.new(x.chunks.num_chunks, x.num_heads, x.k.shape[-1])
    scale = x.k.shape[-1] ** -0.5
    _state_gradients_kernel[(x.chunks.num_chunks, x.num_heads)](
        x.k,
        x.v,
        x.beta,
        x.G,
        solved.A,
        solved.U,
        dO,
        dR,
        states,
        dstates,
        x.chunks.bounds,
        scale,
        dP,
        N,
        asked,
        removed,
        carried,
        along,
        at_end,
        dv,
        **x.sizes(VALUE_BLOCK * 2 // x.q.element_size()) | {"num_warps": 8},
    )
    _pair_gradients_kernel[(4 * x.chunks.num_chunks, x.num_heads)](
        x.q,
        x.k,
        x.beta,
        x.G,
        x.chunks.bounds,
        scale,
        dP,
        N,
        asked,
        removed,
        carried,
        along,
        at_end,
        dq,
        dk,
        dbeta,
        dG,
        **x.sizes(VALUE_BLOCK),
    )
    return dq, dk, dv, dbeta, dG


@triton.jit
def _products_kernel(
    q,
    k,
    G,
    bounds,
    scale,
    keys_keys,
    queries_keys,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    chunk, block, head = tl.program_id(0) // 4, tl.program_id(0) % 4, tl.program_id(1)
    token, start = tl.load(bounds + 2 * chunk), 16 * block
    rows = tl.minimum(tl.load(bounds + 2 * chunk + 1) - token, 64) - start
    if rows <= 0:
        return
    chunk_place = token * H + head
    place = chunk_place + start * H
    queries = load_tile(q + place * K, H * K, rows, K, 16, BLOCK_K)
    keys = load_tile(k + place * K, H * K, rows, K, 16, BLOCK_K)
    decay = load_tile(G + place * K, H * K, rows, K, 16, BLOCK_K)
    row, column = tl.arange(0, 16), tl.arange(0, 64)
    # Earlier blocks: exp(G_t - G_s) = exp(G_t - G_start) exp(G_start - G_s).
    at_start = load_tile(G + place * K, H * K, 1, K, 1, BLOCK_K)
    since = tl.exp(tl.where(row[:, None] < rows, decay - at_start, -float("inf")))
    earlier = load_tile(G + chunk_place * K, H * K, start, K, 64, BLOCK_K)
    before = tl.exp(tl.where(column[:, None] < start, at_start - earlier, -float("inf")))
    earlier = load_tile(k + chunk_place * K, H * K, start, K, 64, BLOCK_K) * before
    M = matmul(keys * since, tl.trans(earlier), keys.dtype, PRECISION)
    P = matmul(queries * since, tl.trans(earlier), keys.dtype, PRECISION)
    for s in range(tl.minimum(rows, 16)):
        key = load_tile(k + (place + s * H) * K, H * K, 1, K, 1, BLOCK_K)
        reference = load_tile(G + (place + s * H) * K, H * K, 1, K, 1, BLOCK_K)
        later = (row >= s) & (row < rows)
        pair = key * tl.exp(tl.where(later[:, None], decay - reference, -float("inf")))
        here = column[None, :] == start + s
        M = tl.where(here & (row[:, None] > s), tl.sum(keys * pair, 1)[:, None], M)
        P = tl.where(here, tl.sum(queries * pair, 1)[:, None], P)
    store_tile(keys_keys + place * 64, H * 64, rows, 64, M, 16, 64)
    store_tile(queries_keys + place * 64, H * 64, rows, 64, P * scale, 16, 64)


@triton.jit
def _state_gradients_kernel(
    k,
    v,
    beta,
    G,
    A,
    R,
    dO,
    dR,
    states,
    dstates,
    bounds,
    scale,
    dP,
    N,
    asked,
    removed,
    carried,
    along,
    at_end,
    dv,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    token = tl.load(bounds + 2 * chunk)
    rows = tl.minimum(tl.load(bounds + 2 * chunk + 1) - token, 64)
    if rows <= 0:
        return
    place = token * H + head
    strength = load_column(beta + place, H, rows, 64)[:, None]
    scores, products, asks, removes, carries, written, kept = sums_over_values(
        v, A, R, dO, dR, states, dstates, dv,
        place, (chunk * H + head) * K * V, rows, strength, H, K, V, BLOCK_K, BLOCK_V, PRECISION,
    )  # fmt: skip
    store_tile(dP + place * 64, H * 64, rows, 64, scores * scale, 64, 64)
    store_tile(N + place * 64, H * 64, rows, 64, products, 64, 64)
    store_column(along + place, H, rows, written, 64)
    decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
    last = load_decay(G, place + (rows - 1) * H, 1, H, K, BLOCK_K, PER_CHANNEL, 1)
    carries *= tl.exp(last - decay)
    keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
    store_tile(asked + place * K, H * K, rows, K, asks * tl.exp(decay) * scale, 64, BLOCK_K)
    store_tile(removed + place * K, H * K, rows, K, removes * tl.exp(decay), 64, BLOCK_K)
    store_tile(carried + place * K, H * K, rows, K, carries, 64, BLOCK_K)
    ending = tl.sum(keys * carries, 0)[None, :] + tl.exp(last) * kept[None, :]
    store_tile(at_end + (chunk * H + head) * K, K, 1, K, ending, 1, BLOCK_K)


@triton.jit
def _pair_gradients_kernel(
    q,
    k,
    beta,
    G,
    bounds,
    scale,
    dP,
    N,
    asked,
    removed,
    carried,
    along,
    at_end,
    dq,
    dk,
    dbeta,
    dG,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    chunk, block, head = tl.program_id(0) // 4, tl.program_id(0) % 4, tl.program_id(1)
    token, start = tl.load(bounds + 2 * chunk), 16 * block
    length = tl.minimum(tl.load(bounds + 2 * chunk + 1) - token, 64)
    rows = length - start
    if rows <= 0:
        return
    chunk_place = token * H + head
    place = chunk_place + start * H
    row, row_in_chunk = tl.arange(0, 16), tl.arange(0, 64)[:, None]
    queries = load_tile(q + place * K, H * K, rows, K, 16, BLOCK_K)
    keys = load_tile(k + place * K, H * K, rows, K, 16, BLOCK_K)
    decay = load_tile(G + place * K, H * K, rows, K, 16, BLOCK_K)
    all_keys = load_tile(k + chunk_place * K, H * K, length, K, 64, BLOCK_K)
    all_decay = load_tile(G + chunk_place * K, H * K, length, K, 64, BLOCK_K)

    # This block's tokens as rows, against the columns of earlier blocks.
    at_start = load_tile(G + place * K, H * K, 1, K, 1, BLOCK_K)
    since = tl.exp(tl.where(row[:, None] < rows, decay - at_start, -float("inf")))
    before = tl.exp(tl.where(row_in_chunk < start, at_start - all_decay, -float("inf")))
    scores = load_tile(dP + place * 64, H * 64, rows, 64, 16, 64)
    products = load_tile(N + place * 64, H * 64, rows, 64, 16, 64)
    query_gradient = load_tile(asked + place * K, H * K, rows, K, 16, BLOCK_K)
    query_gradient += matmul(scores, all_keys * before, keys.dtype, PRECISION) * since
    F = load_tile(removed + place * K, H * K, rows, K, 16, BLOCK_K)
    F -= matmul(products, all_keys * before, keys.dtype, PRECISION) * since

    # As columns, against the rows of later blocks, by way of the next block's first token.
    at_next = load_tile(G + (place + 16 * H) * K, H * K, rows - 16, K, 1, BLOCK_K)
    until = tl.exp(tl.minimum(at_next - decay, 0.0))  # positive only where there is no later row
    later = (row_in_chunk >= start + 16) & (row_in_chunk < length)
    after = tl.exp(tl.where(later, all_decay - at_next, -float("inf")))
    all_queries = load_tile(q + chunk_place * K, H * K, length, K, 64, BLOCK_K)
    all_strength = load_column(beta + chunk_place, H, length, 64)[:, None]
    scores = load_tile(dP + chunk_place * 64 + start, H * 64, length, 16, 64, 16)
    products = load_tile(N + chunk_place * 64 + start, H * 64, length, 16, 64, 16) * all_strength
    as_columns = matmul(tl.trans(scores), all_queries * after, keys.dtype, PRECISION)
    as_columns -= matmul(tl.trans(products), all_keys * after, keys.dtype, PRECISION)
    as_columns = as_columns * until + load_tile(carried + place * K, H * K, rows, K, 16, BLOCK_K)

    # Pairs within the block: token s as a column of the rows below it, then as a row of the columns above.
    for s in range(tl.minimum(rows, 16)):
        other = place + s * H
        key = load_tile(k + other * K, H * K, 1, K, 1, BLOCK_K)
        query = load_tile(q + other * K, H * K, 1, K, 1, BLOCK_K)
        reference = load_tile(G + other * K, H * K, 1, K, 1, BLOCK_K)
        below = (row > s) & (row < rows)
        cell = place * 64 + row * (H * 64) + start + s
        score = tl.load(dP + cell, mask=below, other=0.0)[:, None]
        product = tl.load(N + cell, mask=below, other=0.0)[:, None]
        pair = key * tl.exp(tl.where(below[:, None], decay - reference, -float("inf")))
        query_gradient += score * pair
        F -= product * pair
        above = row < s
        cell = other * 64 + start + row
        score = tl.load(dP + cell, mask=above, other=0.0)[:, None]
        product = tl.load(N + cell, mask=above, other=0.0)[:, None]
        product *= tl.load(beta + other).to(tl.float32)
        fallen = tl.exp(tl.where(above[:, None], reference - decay, -float("inf")))
        as_columns += (score * query - product * key) * fallen

    own = tl.load(dP + place * 64 + row * (H * 64 + 1) + start, mask=row < rows, other=0.0)[:, None]
    strength = load_column(beta + place, H, rows, 16)[:, None]
    ending = load_tile(at_end + (chunk.to(tl.int64) * H + head) * K, K, 1, K, 1, BLOCK_K)
    decay_gradient = queries * query_gradient + keys * (strength * F - as_columns)
    decay_gradient += tl.where((row == rows - 1)[:, None], ending, 0.0)
    store_tile(dG + place * K, H * K, rows, K, decay_gradient, 16, BLOCK_K)
    strength_gradient = load_column(along + place, H, rows, 16) + tl.sum(keys * F, 1)
    store_column(dbeta + place, H, rows, strength_gradient, 16)
    store_tile(dq + place * K, H * K, rows, K, query_gradient + own * keys, 16, BLOCK_K)
    store_tile(dk + place * K, H * K, rows, K, strength * F + as_columns + own * queries, 16, BLOCK_K)
