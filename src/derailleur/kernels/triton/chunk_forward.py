"""The forward pass of the chunked delta rules (Yang et al. 2024, arXiv:2412.06464, section 3.3).

Within a chunk that is entered with the state S, with G the sums of log decays from its start:

    M[t, s] = sum_d k_t k_s exp(G_t - G_s), s < t          P[t, s] = sum_d q_t k_s exp(G_t - G_s), s <= t
    A = (I + diag(beta) M)^-1        U = A (beta v)        W = A (beta k exp(G))
    R = U - W S                      what the chunk's tokens write
    O = (q exp(G)) S + P R           S' = exp(G_last) S + (k exp(G_last - G))^T R

Only R and S' are sequential; everything else runs over all chunks at once. GDN makes M and P where they
are needed, KDA reads them from memory (see chunk_kda.py).
"""

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from derailleur.kernels.triton.chunks import Packed
from derailleur.kernels.triton.inverse import unit_lower_inverse
from derailleur.kernels.triton.tiles import (
    load_column,
    load_decay,
    load_tile,
    matmul,
    pairwise_decay,
    store_tile,
)

SCAN_VALUE_BLOCK = 32
"""Value channels of a program that walks a sequence: small, for the sequences alone are too few programs."""
VALUE_BLOCK = 64


@dataclass(frozen=True)
class DecayedProducts:
    """M and P of every chunk, where they are in memory (KDA).

    Attributes:
        keys: [tokens, heads, 64] float32, M.
        queries: [tokens, heads, 64] in the inputs' dtype, P with q scaled.
    """

    keys: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Solved:
    """What is known of the chunks before the scan.

    Attributes:
        A: [tokens, heads, 64], the inverse.
        U: [tokens, heads, value_dim], which `scan` turns into R.
        W: [tokens, heads, head_dim].
    """

    A: Tensor
    U: Tensor
    W: Tensor


def solve(x: Packed, products: DecayedProducts | None) -> Solved:
    """A, U and W of every chunk, in the inputs' dtype."""
    solved = Solved(
        x.new(*x.q.shape[:2], 64, dtype=x.q.dtype), x.v.new_empty(x.v.shape), x.k.new_empty(x.k.shape)
    )
    _solve_kernel[(x.chunks.num_chunks, x.num_heads)](
        x.k,
        x.v,
        x.beta,
        x.G,
        None if products is None else products.keys,
        x.chunks.bounds,
        solved.A,
        solved.U,
        solved.W,
        **x.sizes(VALUE_BLOCK),
    )
    return solved


def scan(x: Packed, solved: Solved, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Walk every sequence from chunk to chunk; U becomes R in place.

    Args:
        state: [sequences, heads, head_dim, value_dim] float32, or None for zeros.

    Returns:
        The state that each chunk is entered with, [chunks, heads, head_dim, value_dim] in the inputs'
        dtype, and the last state of each sequence, float32.
    """
    shape = (x.num_heads, x.k.shape[-1], x.v.shape[-1])
    states = x.new(x.chunks.num_chunks, *shape, dtype=x.q.dtype)
    final = x.new(x.chunks.num_sequences, *shape)
    grid = (x.value_blocks(SCAN_VALUE_BLOCK), x.chunks.num_sequences, x.num_heads)
    _scan_kernel[grid](
        x.k,
        x.G,
        solved.U,
        solved.W,
        state,
        x.chunks.cu_seqlens,
        x.chunks.first,
        states,
        final,
        **x.sizes(SCAN_VALUE_BLOCK),
    )
    return states, final


def outputs(x: Packed, products: DecayedProducts | None, states: Tensor, R: Tensor) -> Tensor:
    """O of every chunk: [tokens, heads, value_dim] float32."""
    out = x.new(*x.v.shape)
    grid = (x.value_blocks(VALUE_BLOCK), x.chunks.num_chunks, x.num_heads)
    _outputs_kernel[grid](
        x.q,
        x.k,
        x.G,
        None if products is None else products.queries,
        states,
        R,
        x.chunks.bounds,
        x.k.shape[-1] ** -0.5,
        out,
        **x.sizes(VALUE_BLOCK),
    )
    return out


@triton.jit
def _solve_kernel(
    k,
    v,
    beta,
    G,
    products,
    bounds,
    A,
    U,
    W,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    chunk, head = tl.program_id(0), tl.program_id(1)
    token = tl.load(bounds + 2 * chunk)
    rows = tl.load(bounds + 2 * chunk + 1) - token
    if rows <= 0:
        return
    place = token * H + head
    keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
    strength = load_column(beta + place, H, rows, 64)[:, None]
    decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
    if PER_CHANNEL:
        M = load_tile(products + place * 64, H * 64, rows, 64, 64, 64)
    else:
        M = matmul(keys, tl.trans(keys), keys.dtype, PRECISION) * pairwise_decay(decay, rows, 64)
    row, column = tl.arange(0, 64)[:, None], tl.arange(0, 64)[None, :]
    inverse = unit_lower_inverse(tl.where(row > column, strength * M, 0.0))
    store_tile(A + place * 64, H * 64, rows, 64, inverse, 64, 64)
    solved = matmul(inverse, strength * keys * tl.exp(decay), keys.dtype, PRECISION)
    store_tile(W + place * K, H * K, rows, K, solved, 64, BLOCK_K)
    for first in range(0, V, BLOCK_V):
        values = load_tile(v + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
        written = matmul(inverse, strength * values, keys.dtype, PRECISION)
        store_tile(U + place * V + first, H * V, rows, V - first, written, 64, BLOCK_V)


@triton.jit
def _scan_kernel(
    k,
    G,
    U,
    W,
    state,
    cu_seqlens,
    first_chunk,
    states,
    final,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    first, sequence, head = tl.program_id(0) * BLOCK_V, tl.program_id(1), tl.program_id(2)
    token, end = tl.load(cu_seqlens + sequence), tl.load(cu_seqlens + sequence + 1)
    own = (sequence.to(tl.int64) * H + head) * K * V + first
    if state is None:
        S = tl.zeros([BLOCK_K, BLOCK_V], tl.float32)
    else:
        S = load_tile(state + own, V, K, V - first, BLOCK_K, BLOCK_V)
    for chunk in range(tl.load(first_chunk + sequence), tl.load(first_chunk + sequence + 1)):
        store_tile(states + (chunk * H + head) * K * V + first, V, K, V - first, S, BLOCK_K, BLOCK_V)
        rows = tl.minimum(end - token, 64)
        place = token * H + head
        keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
        solved = load_tile(W + place * K, H * K, rows, K, 64, BLOCK_K)
        writes = load_tile(U + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
        writes = writes - matmul(solved, S, keys.dtype, PRECISION)
        store_tile(U + place * V + first, H * V, rows, V - first, writes, 64, BLOCK_V)
        decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
        last = load_decay(G, place + (rows - 1) * H, 1, H, K, BLOCK_K, PER_CHANNEL, 1)
        carried = keys * tl.exp(last - decay)
        S = S * tl.exp(tl.trans(last)) + matmul(tl.trans(carried), writes, keys.dtype, PRECISION)
        token += 64
    store_tile(final + own, V, K, V - first, S, BLOCK_K, BLOCK_V)


@triton.jit
def load_scores(
    q,
    k,
    G,
    scores,
    place,
    rows,
    scale,
    H,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """P of a chunk, [64, 64]: made here for GDN, read for KDA."""
    if PER_CHANNEL:
        return load_tile(scores + place * 64, H * 64, rows, 64, 64, 64)
    else:
        queries = load_tile(q + place * K, H * K, rows, K, 64, BLOCK_K)
        keys = load_tile(k + place * K, H * K, rows, K, 64, BLOCK_K)
        decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
        return (
            matmul(queries, tl.trans(keys), keys.dtype, PRECISION) * scale * pairwise_decay(decay, rows, 64)
        )


@triton.jit
def _outputs_kernel(
    q,
    k,
    G,
    scores,
    states,
    R,
    bounds,
    scale,
    out,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    first, chunk, head = tl.program_id(0) * BLOCK_V, tl.program_id(1).to(tl.int64), tl.program_id(2)
    token = tl.load(bounds + 2 * chunk)
    rows = tl.load(bounds + 2 * chunk + 1) - token
    if rows <= 0:
        return
    place = token * H + head
    queries = load_tile(q + place * K, H * K, rows, K, 64, BLOCK_K)
    decay = load_decay(G, place, rows, H, K, BLOCK_K, PER_CHANNEL, 64)
    S = load_tile(states + (chunk * H + head) * K * V + first, V, K, V - first, BLOCK_K, BLOCK_V)
    result = matmul(queries * tl.exp(decay), S, queries.dtype, PRECISION) * scale
    P = load_scores(q, k, G, scores, place, rows, scale, H, K, BLOCK_K, PER_CHANNEL, PRECISION)
    writes = load_tile(R + place * V + first, H * V, rows, V - first, 64, BLOCK_V)
    result += matmul(P, writes, queries.dtype, PRECISION)
    store_tile(out + place * V + first, H * V, rows, V - first, result, 64, BLOCK_V)
