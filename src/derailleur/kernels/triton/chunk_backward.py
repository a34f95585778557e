"""The backward pass of the chunked delta rules, as far as GDN and KDA share it.

With the names of chunk_forward.py, and dS' the gradient of the state that a chunk leaves:

    dR = P^T dO + (k exp(G_last - G)) dS'                       E = A^T dR
    dS = exp(G_last) dS' + (q exp(G))^T dO - W^T dR             dv = beta E
    dP = dO R^T          dM = -beta N,  N = E R^T
    F  = -exp(G) E S^T - sum_s N[t, s] k_s exp(G_t - G_s)       dbeta = E . v + k . F
    dk = beta F (as rows of M, of W) + its gradient as columns of M, P and in S'

A decay enters only beside the q or k that it decays, so dG = q dq + k (dk as rows - dk as columns), the
diagonal of P left out, whose decays cancel. dR and dS are sequential; the rest runs over all chunks.
"""

import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.chunk_forward import (
    SCAN_VALUE_BLOCK,
    VALUE_BLOCK,
    DecayedProducts,
    Solved,
    load_scores,
)
from derailleur.kernels.triton.chunks import Packed
from derailleur.kernels.triton.tiles import load_decay, load_tile, matmul, store_tile


def write_gradients(x: Packed, products: DecayedProducts | None, dO: Tensor) -> Tensor:
    """P^T dO of every chunk: dR as far as it comes from the chunk's own outputs."""
    dR = x.new(*x.v.shape)
    grid = (x.value_blocks(VALUE_BLOCK), x.chunks.num_chunks, x.num_heads)
    _write_gradients_kernel[grid](
        x.q,
        x.k,
        x.G,
        None if products is None else products.queries,
        dO,
        x.chunks.bounds,
        x.k.shape[-1] ** -0.5,
        dR,
        **x.sizes(VALUE_BLOCK),
    )
    return dR


def reverse_scan(
    x: Packed, solved: Solved, dO: Tensor, dR: Tensor, final: Tensor, *, initial: Tensor | None
) -> Tensor:
    """Walk every sequence back from chunk to chunk; dR is completed in place.

    Args:
        final: [sequences, heads, head_dim, value_dim], the gradient of the last states.
        initial: written with the gradient of the first states, where it is wanted.

    Returns:
        The gradient of the state that each chunk leaves, [chunks, heads, head_dim, value_dim].
    """
    states = x.new(x.chunks.num_chunks, *final.shape[1:], dtype=x.q.dtype)
    grid = (x.value_blocks(SCAN_VALUE_BLOCK), x.chunks.num_sequences, x.num_heads)
    _reverse_scan_kernel[grid](
        x.q,
        x.k,
        x.G,
        solved.W,
        dO,
        dR,
        final,
        x.chunks.cu_seqlens,
        x.chunks.first,
        x.k.shape[-1] ** -0.5,
        states,
        initial,
        **x.sizes(SCAN_VALUE_BLOCK),
    )
    return states


@triton.jit
def _write_gradients_kernel(
    q,
    k,
    G,
    scores,
    dO,
    bounds,
    scale,
    dR,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    first, chunk, head = tl.program_id(0) * BLOCK_V, tl.program_id(1), tl.program_id(2)
    token = tl.load(bounds + 2 * chunk)
    rows = tl.load(bounds + 2 * chunk + 1) - token
    if rows <= 0:
        return
    place = token * H + head
    P = load_scores(q, k, G, scores, place, rows, scale, H, K, BLOCK_K, PER_CHANNEL, PRECISION)
    upper = load_tile(dO + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
    own = matmul(tl.trans(P), upper, q.dtype.element_ty, PRECISION)
    store_tile(dR + place * V + first, H * V, rows, V - first, own, 64, BLOCK_V)


@triton.jit
def _reverse_scan_kernel(
    q,
    k,
    G,
    W,
    dO,
    dR,
    final,
    cu_seqlens,
    first_chunk,
    scale,
    states,
    initial,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    first, sequence, head = tl.program_id(0) * BLOCK_V, tl.program_id(1), tl.program_id(2)
    begin, end = tl.load(cu_seqlens + sequence), tl.load(cu_seqlens + sequence + 1)
    own = (sequence.to(tl.int64) * H + head) * K * V + first
    dS = load_tile(final + own, V, K, V - first, BLOCK_K, BLOCK_V)
    first_one, count = tl.load(first_chunk + sequence), tl.cdiv(end - begin, 64)
    for back in range(0, count):
        chunk = first_one + count - 1 - back
        store_tile(states + (chunk * H + head) * K * V + first, V, K, V - first, dS, BLOCK_K, BLOCK_V)
        token = begin + (count - 1 - back) * 64
        rows = tl.minimum(end - token, 64)
        place = token * H + head
        queries = load_tile(q + place * K, H * K, rows, K, 64, BLOCK_K)
        keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
        decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
        last = load_decay(G, place + (rows - 1) * H, 1, H, K, BLOCK_K, PER_CHANNEL, 1)
        writes = load_tile(dR + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
        writes += matmul(keys * tl.exp(last - decay), dS, keys.dtype, PRECISION)
        store_tile(dR + place * V + first, H * V, rows, V - first, writes, 64, BLOCK_V)
        upper = load_tile(dO + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
        solved = load_tile(W + place * K, H * K, rows, K, 64, BLOCK_K)
        asked = tl.trans(queries * tl.exp(decay) * scale)
        dS = dS * tl.exp(tl.trans(last)) + matmul(asked, upper, keys.dtype, PRECISION)
        dS -= matmul(tl.trans(solved), writes, keys.dtype, PRECISION)
    if initial is not None:
        store_tile(initial + own, V, K, V - first, dS, BLOCK_K, BLOCK_V)


@triton.jit
def sums_over_values(
    v,
    A,
    R,
    dO,
    dR,
    states,
    dstates,
    dv,
    place,
    state_place,
    rows,
    strength,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Every product of a chunk that sums over value channels; dv is written on the way.

    Returns:
        dO R^T and N [64, 64]; dO S^T, -E S^T and R dS'^T [64, BLOCK_K]; E . v [64]; S . dS' [BLOCK_K].
    """
    dP, N = tl.zeros([64, 64], tl.float32), tl.zeros([64, 64], tl.float32)
    asked, removed = tl.zeros([64, BLOCK_K], tl.float32), tl.zeros([64, BLOCK_K], tl.float32)
    carried = tl.zeros([64, BLOCK_K], tl.float32)
    along, kept = tl.zeros([64], tl.float32), tl.zeros([BLOCK_K], tl.float32)
    inverse = load_tile(A + place * 64, H * 64, rows, 64, 64, 64)
    for first in range(0, V, BLOCK_V):
        offset, stride, left = place * V + first, H * V, V - first
        writes = load_tile(R + offset, stride, rows, left, 64, BLOCK_V)
        upper = load_tile(dO + offset, stride, rows, left, 64, BLOCK_V)
        S = load_tile(states + state_place + first, V, K, left, BLOCK_K, BLOCK_V)
        dS = load_tile(dstates + state_place + first, V, K, left, BLOCK_K, BLOCK_V)
        E = load_tile(dR + offset, stride, rows, left, 64, BLOCK_V)
        E = matmul(tl.trans(inverse), E, inverse.dtype, PRECISION)
        values = load_tile(v + offset, stride, rows, left, 64, BLOCK_V)
        store_tile(dv + offset, stride, rows, left, strength * E, 64, BLOCK_V)
        along += tl.sum(E * values, 1)
        kept += tl.sum(S.to(tl.float32) * dS, 1)
        dP += matmul(upper, tl.trans(writes), inverse.dtype, PRECISION)
        N += matmul(E, tl.trans(writes), inverse.dtype, PRECISION)
        asked += matmul(upper, tl.trans(S), inverse.dtype, PRECISION)
        removed -= matmul(E, tl.trans(S), inverse.dtype, PRECISION)
        carried += matmul(writes, tl.trans(dS), inverse.dtype, PRECISION)
    return dP, N, asked, removed, carried, along, kept
