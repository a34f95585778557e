"""The gradients that Gated DeltaNet has to itself: one decay a head, so a chunk's sums are whole products."""

import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.chunk_backward import sums_over_values
from derailleur.kernels.triton.chunk_forward import VALUE_BLOCK, Solved
from derailleur.kernels.triton.chunks import Packed
from derailleur.kernels.triton.tiles import (
    load_column,
    load_decay,
    load_tile,
    matmul,
    pairwise_decay,
    store_column,
    store_tile,
)


def gdn_gradients(
    x: Packed, solved: Solved, states: Tensor, dO: Tensor, dR: Tensor, dstates: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, beta and of the sums of log decays (float32), from what both scans left."""
    dq, dk, dv, dbeta = (y.new_empty(y.shape) for y in (x.q, x.k, x.v, x.beta))
    dG = x.new(*x.G.shape)
    _gradients_kernel[(x.chunks.num_chunks, x.num_heads)](
        x.q,
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
        x.k.shape[-1] ** -0.5,
        dq,
        dk,
        dv,
        dbeta,
        dG,
        **x.sizes(VALUE_BLOCK * 2 // x.q.element_size()) | {"num_warps": 8},
    )
    return dq, dk, dv, dbeta, dG


@triton.jit
def _gradients_kernel(
    q,
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
    dq,
    dk,
    dv,
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
    chunk, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    token = tl.load(bounds + 2 * chunk)
    rows = tl.minimum(tl.load(bounds + 2 * chunk + 1) - token, 64)
    if rows <= 0:
        return
    place = token * H + head
    strength = load_column(beta + place, H, rows, 64)[:, None]
    dP, N, asked, removed, carried, along, kept = sums_over_values(
        v, A, R, dO, dR, states, dstates, dv,
        place, (chunk * H + head) * K * V, rows, strength, H, K, V, BLOCK_K, BLOCK_V, PRECISION,
    )  # fmt: skip
    queries = load_tile(q + place * K, H * K, rows, K, 64, BLOCK_K)
    keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
    decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
    last = load_decay(G, place + (rows - 1) * H, 1, H, K, BLOCK_K, PER_CHANNEL, 1)
    row, column = tl.arange(0, 64)[:, None], tl.arange(0, 64)[None, :]
    strict = tl.where(row > column, pairwise_decay(decay, rows, 64), 0.0)
    own = tl.sum(tl.where(row == column, dP, 0.0), 1)[:, None] * scale
    dP, N = dP * strict * scale, N * strict
    query_gradient = asked * tl.exp(decay) * scale + matmul(dP, keys, keys.dtype, PRECISION)
    F = removed * tl.exp(decay) - matmul(N, keys, keys.dtype, PRECISION)
    carried *= tl.exp(last - decay)
    as_columns = carried + matmul(tl.trans(dP), queries, keys.dtype, PRECISION)
    as_columns -= matmul(tl.trans(strength * N), keys, keys.dtype, PRECISION)
    at_end = tl.sum(keys * carried) + tl.sum(tl.exp(last) * kept[None, :])
    decay_gradient = tl.sum(queries * query_gradient + keys * (strength * F - as_columns), 1)
    decay_gradient += tl.where(tl.arange(0, 64) == rows - 1, at_end, 0.0)
    store_column(dG + place, H, rows, decay_gradient, 64)
    store_column(dbeta + place, H, rows, along + tl.sum(keys * F, 1), 64)
    store_tile(dq + place * K, H * K, rows, K, query_gradient + own * keys, 64, BLOCK_K)
    store_tile(dk + place * K, H * K, rows, K, strength * F + as_columns + own * queries, 64, BLOCK_K)
