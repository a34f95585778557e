"""The gated delta rule in chunks (GDN) and with a decay per key channel (KDA), and their recurrence.

    S_t = diag(exp(g_t)) S_{t-1} + k_t (beta_t (v_t - (diag(exp(g_t)) S_{t-1})^T k_t))^T
    o_t = S_t^T q_t / sqrt(head_dim)

GDN has one `g_t` per head (Yang et al. 2024, arXiv:2412.06464), KDA one per key channel (Kimi Linear,
arXiv:2510.26692). The recurrence is the definition and the twin that the chunked forms are held to.
Packed documents start from a state of their own; in the chunked forms each begins at a chunk's start.
All arithmetic is in the dtype of the inputs, float32 at least; the causal convolution, the gates and
the output norm live in the mixers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels.dispatch import triton_serves
from derailleur.kernels.documents import documents_of

CHUNK_TOKENS = 64
_SAFE_LOG_DECAY = -60.0
"""exp(60) is far inside float32, so a block that decays by less than this may be split into two factors."""


@dataclass(frozen=True)
class DeltaRuleOutput:
    """Outputs [batch, seq, heads, value_dim] and the state after the last token.

    Attributes:
        state: [batch, heads, head_dim, value_dim]; of packed documents one each, instead of the batch.
    """

    output: Tensor
    state: Tensor


class DeltaRule(Protocol):
    """One of the forms below: they take and give the same."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor,
        log_decay: Tensor,
        *,
        state: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> DeltaRuleOutput: ...


def recurrent_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    *,
    state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> DeltaRuleOutput:
    """The delta rule one token after another: the definition, and the fast form for a few tokens.

    Args:
        q, k: [batch, seq, heads, head_dim], L2-normalised; q is scaled by head_dim**-0.5 here.
        v: [batch, seq, heads, value_dim].
        beta: [batch, seq, heads], the write strength.
        log_decay: [batch, seq, heads] (GDN) or [batch, seq, heads, head_dim] (KDA), <= 0.
        state: [batch, heads, head_dim, value_dim], or None for zeros. Of packed documents one each.
        cu_seqlens: int64 [documents + 1], where packed documents begin and end in a batch of one row.

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, beta, log_decay)
    documents = documents_of(q, cu_seqlens)
    q, k, v, beta, decay = _at_least_float32(q, k, v, beta, log_decay)
    decay = decay.exp()
    if decay.dim() == 3:
        decay = decay.unsqueeze(-1)
    B, _, H, K = q.shape
    q = q * K**-0.5
    # `unbind` and not indexing: the backward pass of x[:, t] is quadratic in the sequence length.
    tokens = list(zip(*(x.unbind(1) for x in (q, k, v, beta, decay)), strict=True))
    initial = _initial_states(state, (B, H, K, v.shape[-1]), q, len(documents))
    outputs, states = [], []
    for S, document in zip(initial, documents, strict=True):
        for q_t, k_t, v_t, beta_t, decay_t in tokens[document.start : document.stop]:
            S = S * decay_t.unsqueeze(-1)
            delta = beta_t.unsqueeze(-1) * (v_t - (k_t.unsqueeze(-2) @ S).squeeze(-2))  # [B, H, V]
            S = S + k_t.unsqueeze(-1) * delta.unsqueeze(-2)
            outputs.append((q_t.unsqueeze(-2) @ S).squeeze(-2))
        states.append(S)
    return DeltaRuleOutput(torch.stack(outputs, 1), torch.cat(states))


def chunk_gdn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    *,
    state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> DeltaRuleOutput:
    """The gated delta rule in chunks of 64 tokens (arXiv:2412.06464, section 3.3).

    Arguments and result as in `recurrent_delta_rule`, with log_decay [batch, seq, heads].

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, beta, log_decay)
    if triton_serves(q, k, v):
        from derailleur.kernels import triton

        return triton.chunk_delta_rule(q, k, v, beta, log_decay, state=state, cu_seqlens=cu_seqlens)
    chunks = _Chunks.of(documents_of(q, cu_seqlens), q.device)
    q, k, v, beta, log_decay = _chunked(chunks, q, k, v, beta, log_decay)  # [B, H, N, C, ...]
    G = log_decay.cumsum(-1)
    mask = _lower_triangle(G.shape[-1], G.device)
    # Masked before exp: above the diagonal the exponent is positive and may overflow, and its zeroed
    # gradient would be NaN.
    decay = (G.unsqueeze(-1) - G.unsqueeze(-2)).masked_fill(~mask, -torch.inf).exp()  # [B, H, N, C, C]
    G = G.unsqueeze(-1)
    return _chunk_scan(
        keys_keys=(k @ k.transpose(-1, -2)) * decay,
        queries_keys=(q @ k.transpose(-1, -2)) * decay,
        q=q,
        k=k,
        v=v,
        beta=beta,
        G=G,
        state=state,
        chunks=chunks,
    )


def chunk_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    *,
    state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> DeltaRuleOutput:
    """Kimi Delta Attention in chunks of 64 tokens (arXiv:2510.26692, section 3).

    Arguments and result as in `recurrent_delta_rule`, with log_decay [batch, seq, heads, head_dim].

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, beta, log_decay)
    if triton_serves(q, k, v):
        from derailleur.kernels import triton

        return triton.chunk_delta_rule(q, k, v, beta, log_decay, state=state, cu_seqlens=cu_seqlens)
    chunks = _Chunks.of(documents_of(q, cu_seqlens), q.device)
    q, k, v, beta, log_decay = _chunked(chunks, q, k, v, beta, log_decay)
    G = log_decay.cumsum(-2)  # [B, H, N, C, K]
    products = _decayed_products(torch.stack([k, q], -2), k.unsqueeze(-2), G.unsqueeze(-2))
    keys_keys, queries_keys = products.unbind(-2)
    return _chunk_scan(
        keys_keys=keys_keys,
        queries_keys=queries_keys,
        q=q,
        k=k,
        v=v,
        beta=beta,
        G=G,
        state=state,
        chunks=chunks,
    )


@dataclass(frozen=True)
class _Chunks:
    """How tokens lie in chunks: each document begins at a chunk's start and is padded at its end.

    Attributes:
        documents: the chunks of each document.
        places: [seq], where each token lies among the chunks' tokens, or None where none is padded.
    """

    documents: list[range]
    places: Tensor | None

    @classmethod
    def of(cls, documents: Sequence[range], device: torch.device) -> "_Chunks":
        """Lay out documents."""
        counts = [-(-len(document) // CHUNK_TOKENS) for document in documents]
        ends = list(accumulate(counts))
        chunks = [range(end - count, end) for end, count in zip(ends, counts, strict=True)]
        if ends[-1] * CHUNK_TOKENS == documents[-1].stop:
            return cls(chunks, None)
        starts = (CHUNK_TOKENS * of_document.start for of_document in chunks)
        places = chain.from_iterable(
            range(start, start + len(document)) for start, document in zip(starts, documents, strict=True)
        )
        return cls(chunks, torch.tensor(list(places), device=device))

    def split(self, x: Tensor) -> Tensor:
        """[B, T, H, ...] -> [B, H, N, C, ...], zeros where padded."""
        x = x.transpose(1, 2)
        if self.places is not None:
            padded = x.new_zeros(*x.shape[:2], self.documents[-1].stop * CHUNK_TOKENS, *x.shape[3:])
            x = padded.index_copy(2, self.places, x)
        return x.contiguous().unflatten(2, (-1, CHUNK_TOKENS))

    def join(self, x: Tensor) -> Tensor:
        """[B, H, N, C, V] -> [B, T, H, V]."""
        x = x.flatten(2, 3)
        if self.places is not None:
            x = x.index_select(2, self.places)
        return x.transpose(1, 2)


def _chunk_scan(
    *,
    keys_keys: Tensor,
    queries_keys: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    G: Tensor,
    state: Tensor | None,
    chunks: _Chunks,
) -> DeltaRuleOutput:
    """Solve each chunk for its writes, then carry the state over the chunks of each document.

    Args:
        keys_keys, queries_keys: [B, H, N, C, C], decayed products, zero above the diagonal.
        G: [B, H, N, C, 1 or K], the cumulated log decay within the chunk.
    """
    beta, decay = beta.unsqueeze(-1), G.exp()
    # (I + L)^-1 by substitution, which reads what lies below the diagonal: the Neumann series of a 64 x 64
    # block overflows on repeated keys, which blank runs in code are.
    right = torch.cat([beta * v, k * (beta * decay)], -1)
    solved = torch.linalg.solve_triangular(beta * keys_keys, right, upper=False, unitriangular=True)
    U, W = solved.split([v.shape[-1], k.shape[-1]], -1)
    last = G[..., -1:, :]  # [B, H, N, 1, 1 or K]
    k_out = (k * (last - G).exp()).transpose(-1, -2)
    chunk_decay = last.exp().transpose(-1, -2)  # [B, H, N, 1 or K, 1]
    steps = list(zip(*(x.flatten(0, 1).unbind(1) for x in (U, W, k_out, chunk_decay)), strict=True))
    B, H, K, V = *q.shape[:2], q.shape[-1], v.shape[-1]
    writes, before, after = [], [], []
    initial = _initial_states(state, (B, H, K, V), q, len(chunks.documents))
    for S, document in zip(initial, chunks.documents, strict=True):
        S = S.flatten(0, 1)
        for U_n, W_n, k_n, decay_n in steps[document.start : document.stop]:
            before.append(S)
            writes.append(torch.baddbmm(U_n, W_n, S, alpha=-1))
            S = torch.baddbmm(decay_n * S, k_n, writes[-1])
        after.append(S.unflatten(0, (B, H)))
    # What a chunk reads is left to one product over all chunks.
    states, written = (torch.stack(x, 1).unflatten(0, (B, H)) for x in (before, writes))
    output = (q * decay) @ states + queries_keys @ written
    return DeltaRuleOutput(chunks.join(output), torch.cat(after))


def _decayed_products(rows: Tensor, columns: Tensor, G: Tensor) -> Tensor:
    """sum_d rows[t, r, d] columns[s, d] exp(G[t, d] - G[s, d]) where t >= s, else 0.

    In blocks of tokens that decay little, exp(G_t - G_s) is split into two factors around the block's
    first token. Neighbouring blocks are joined around the token before the later one, which leaves no
    positive exponent.

    Args:
        rows: [..., C, R, K].
        columns, G: [..., C, 1, K].

    Returns:
        [..., C, R, C].
    """
    C = G.shape[-3]
    size = _tokens_that_decay_little(G)
    blocks = [x.unflatten(-3, (-1, size)) for x in (rows, columns, G)]  # [..., C / size, size, R or 1, K]
    since = blocks[2] - blocks[2][..., :1, :, :]
    later = _lower_triangle(size, G.device).logical_not().unsqueeze(1)
    products = _products(blocks[0] * since.exp(), blocks[1] * (-since).exp()).masked_fill(later, 0)
    while size < C:
        pairs = [x.unflatten(-3, (-1, 2, size)).unbind(-4) for x in (rows, columns, G)]
        (_, later_rows), (earlier_columns, _), (earlier_G, later_G) = pairs
        between = earlier_G[..., -1:, :, :]
        across = _products(
            later_rows * (later_G - between).exp(), earlier_columns * (between - earlier_G).exp()
        )
        earlier, later = products.unflatten(-4, (-1, 2)).unbind(-4)  # [..., C / 2 size, size, R, size]
        products = torch.cat([F.pad(earlier, (0, size)), torch.cat([across, later], -1)], -3)
        size *= 2
    return products.squeeze(-4)


def _products(rows: Tensor, columns: Tensor) -> Tensor:
    """[..., S, R, K] and [..., S, 1, K] -> [..., S, R, S]."""
    products = rows.flatten(-3, -2) @ columns.squeeze(-2).transpose(-1, -2)
    return products.unflatten(-2, rows.shape[-3:-1])


def _tokens_that_decay_little(G: Tensor) -> int:
    """The largest half, quarter, ... of a chunk in which no channel decays beyond exp(-60)."""
    G = G.detach()
    size = G.shape[-3]
    while size > 1:
        blocks = G.unflatten(-3, (-1, size))
        if float((blocks[..., -1, :, :] - blocks[..., 0, :, :]).amin()) > _SAFE_LOG_DECAY:
            break
        size //= 2
    return size


def _chunked(
    chunks: _Chunks, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor
) -> list[Tensor]:
    """[B, T, H, ...] -> float32 [B, H, N, C, ...]; padding writes nothing and does not decay."""
    tensors = _at_least_float32(q * q.shape[-1] ** -0.5, k, v, beta, log_decay)
    return [chunks.split(x) for x in tensors]


def _initial_states(
    state: Tensor | None, shape: tuple[int, ...], like: Tensor, num_documents: int
) -> Sequence[Tensor]:
    """The state [batch, heads, head_dim, value_dim] = shape in which each document starts.

    Raises:
        ShapeError: if there is a state, and not one for each row or document.
    """
    if state is None:
        return [like.new_zeros(shape)] * num_documents
    expected = (num_documents * shape[0], *shape[1:])
    if state.shape != expected:
        raise ShapeError(f"delta rule: expected a state {expected}, got {tuple(state.shape)}")
    return state.to(like.dtype).split(shape[0])


def _at_least_float32(*tensors: Tensor) -> list[Tensor]:
    return [x if x.dtype == torch.float64 else x.float() for x in tensors]


def _lower_triangle(size: int, device: torch.device) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def _check(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> None:
    heads = q.shape[:3]
    if k.shape != q.shape or v.shape[:3] != heads or beta.shape != heads or log_decay.shape[:3] != heads:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v, beta, log_decay))
        raise ShapeError(f"delta rule: q, k, v, beta, log_decay do not fit together: {shapes}")
