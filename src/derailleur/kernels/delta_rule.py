"""The gated delta rule in chunks (GDN) and with a decay per key channel (KDA), and their recurrence.

    S_t = diag(exp(g_t)) S_{t-1} + k_t (beta_t (v_t - (diag(exp(g_t)) S_{t-1})^T k_t))^T
    o_t = S_t^T q_t / sqrt(head_dim)

GDN has one `g_t` per head (Yang et al. 2024, arXiv:2412.06464), KDA one per key channel (Kimi Linear,
arXiv:2510.26692). The recurrence is the definition and the twin that the chunked forms are held to.
All arithmetic is in the dtype of the inputs, float32 at least; the causal convolution, the gates and
the output norm live in the mixers.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.errors import ShapeError

CHUNK_TOKENS = 64
_SUBCHUNK_TOKENS = 16
_SAFE_LOG_DECAY = -60.0
"""exp(60) is far inside float32, so a chunk that decays by less than this may be split into two factors."""


@dataclass(frozen=True)
class DeltaRuleOutput:
    """Outputs [batch, seq, heads, value_dim] and the state after the last token."""

    output: Tensor
    state: Tensor  # [batch, heads, head_dim, value_dim]


def recurrent_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, *, state: Tensor | None = None
) -> DeltaRuleOutput:
    """The delta rule one token after another: the definition, and the fast form for a few tokens.

    Args:
        q, k: [batch, seq, heads, head_dim], L2-normalised; q is scaled by head_dim**-0.5 here.
        v: [batch, seq, heads, value_dim].
        beta: [batch, seq, heads], the write strength.
        log_decay: [batch, seq, heads] (GDN) or [batch, seq, heads, head_dim] (KDA), <= 0.
        state: [batch, heads, head_dim, value_dim], or None for zeros.
    """
    _check(q, k, v, beta, log_decay)
    q, k, v, beta, decay = _at_least_float32(q, k, v, beta, log_decay)
    decay = decay.exp()
    if decay.dim() == 3:
        decay = decay.unsqueeze(-1)
    S = _initial_state(q.shape[0], q.shape[2], q, v, state)
    q = q * q.shape[-1] ** -0.5
    outputs = []
    # `unbind` and not indexing: the backward pass of x[:, t] is quadratic in the sequence length.
    for q_t, k_t, v_t, beta_t, decay_t in zip(*(x.unbind(1) for x in (q, k, v, beta, decay)), strict=True):
        S = S * decay_t.unsqueeze(-1)
        delta = beta_t.unsqueeze(-1) * (v_t - (k_t.unsqueeze(-2) @ S).squeeze(-2))  # [B, H, V]
        S = S + k_t.unsqueeze(-1) * delta.unsqueeze(-2)
        outputs.append((q_t.unsqueeze(-2) @ S).squeeze(-2))
    return DeltaRuleOutput(torch.stack(outputs, 1), S)


def chunk_gdn(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, *, state: Tensor | None = None
) -> DeltaRuleOutput:
    """The gated delta rule in chunks of 64 tokens (arXiv:2412.06464, section 3.3).

    Arguments and result as in `recurrent_delta_rule`, with log_decay [batch, seq, heads].

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, beta, log_decay)
    num_tokens = q.shape[1]
    q, k, v, beta, log_decay = _chunked(q, k, v, beta, log_decay)  # [B, H, N, C, ...]
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
        num_tokens=num_tokens,
    )


def chunk_kda(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, *, state: Tensor | None = None
) -> DeltaRuleOutput:
    """Kimi Delta Attention in chunks of 64 tokens (arXiv:2510.26692, section 3).

    Arguments and result as in `recurrent_delta_rule`, with log_decay [batch, seq, heads, head_dim].
    Where no chunk decays by more than exp(-60), exp(G_t - G_s) is split into exp(G_t) exp(-G_s), so that
    it costs what GDN costs; else the sums are taken in sub-chunks whose exponents are never positive.

    Raises:
        ShapeError: if the inputs' shapes do not fit together.
    """
    _check(q, k, v, beta, log_decay)
    num_tokens = q.shape[1]
    q, k, v, beta, log_decay = _chunked(q, k, v, beta, log_decay)
    G = log_decay.cumsum(-2)  # [B, H, N, C, K]
    if float(G.detach()[..., -1, :].amin()) > _SAFE_LOG_DECAY:
        decayed_keys = k * (-G).exp()
        keys_keys = (k * G.exp()) @ decayed_keys.transpose(-1, -2)
        queries_keys = (q * G.exp()) @ decayed_keys.transpose(-1, -2)
        mask = _lower_triangle(G.shape[-2], G.device)
        keys_keys, queries_keys = keys_keys.masked_fill(~mask, 0), queries_keys.masked_fill(~mask, 0)
    else:
        keys_keys, queries_keys = _decayed_products(k, k, G), _decayed_products(q, k, G)
    return _chunk_scan(
        keys_keys=keys_keys,
        queries_keys=queries_keys,
        q=q,
        k=k,
        v=v,
        beta=beta,
        G=G,
        state=state,
        num_tokens=num_tokens,
    )


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
    num_tokens: int,
) -> DeltaRuleOutput:
    """Solve each chunk for its writes, then carry the state over the chunks.

    Args:
        keys_keys, queries_keys: [B, H, N, C, C], decayed products, zero above the diagonal.
        G: [B, H, N, C, 1 or K], the cumulated log decay within the chunk.
        num_tokens: how many of the N * C tokens are not padding.
    """
    beta = beta.unsqueeze(-1)
    L = (beta * keys_keys).tril(-1)
    # (I + L)^-1 by substitution: the Neumann series of a 64 x 64 block overflows on repeated keys,
    # which blank runs in code are.
    right = torch.cat([beta * v, beta * k * G.exp()], -1)
    solved = torch.linalg.solve_triangular(L, right, upper=False, unitriangular=True)
    U, W = solved.split([v.shape[-1], k.shape[-1]], -1)
    q_in = q * G.exp()
    last = G[..., -1:, :]  # [B, H, N, 1, 1 or K]
    k_out = (k * (last - G).exp()).transpose(-1, -2)
    chunk_decay = last.exp().transpose(-1, -2)  # [B, H, N, 1 or K, 1]
    S = _initial_state(q.shape[0], q.shape[1], q, v, state)
    outputs = []
    parts = (x.unbind(2) for x in (U, W, q_in, queries_keys, k_out, chunk_decay))
    for U_n, W_n, q_n, qk_n, k_n, decay_n in zip(*parts, strict=True):
        writes = U_n - W_n @ S
        outputs.append(q_n @ S + qk_n @ writes)
        S = decay_n * S + k_n @ writes
    output = torch.stack(outputs, 2).flatten(2, 3)  # [B, H, N * C, V]
    return DeltaRuleOutput(output.transpose(1, 2)[:, :num_tokens], S)


def _decayed_products(rows: Tensor, columns: Tensor, G: Tensor) -> Tensor:
    """sum_d rows[t, d] columns[s, d] exp(G[t, d] - G[s, d]) for t >= s, with no positive exponent.

    Args:
        rows, columns, G: [B, H, N, C, K].
    """
    C, size = G.shape[-2], _SUBCHUNK_TOKENS
    rows, columns, G = (x.unflatten(-2, (C // size, size)).unbind(-3) for x in (rows, columns, G))
    mask = _lower_triangle(size, G[0].device).unsqueeze(-1)
    lines = []
    for i in range(C // size):
        blocks = []
        start = G[i][..., :1, :]  # the sub-chunk's first row: later rows lie below it, earlier ones above
        decayed_rows = rows[i] * (G[i] - start).exp()
        for j in range(i):
            blocks.append(decayed_rows @ (columns[j] * (start - G[j]).exp()).transpose(-1, -2))
        exponent = (G[i].unsqueeze(-2) - G[i].unsqueeze(-3)).masked_fill(~mask, -torch.inf)
        blocks.append(torch.einsum("...td,...sd,...tsd->...ts", rows[i], columns[i], exponent.exp()))
        line = torch.cat(blocks, -1)
        lines.append(F.pad(line, (0, C - line.shape[-1])))
    return torch.cat(lines, -2)


def _chunked(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> list[Tensor]:
    """[B, T, H, ...] -> float32 [B, H, N, C, ...]; padding writes nothing and does not decay."""
    tensors = _at_least_float32(q * q.shape[-1] ** -0.5, k, v, beta, log_decay)
    padding = -q.shape[1] % CHUNK_TOKENS
    chunked = []
    for x in tensors:
        padded = F.pad(x, [0, 0] * (x.dim() - 2) + [0, padding]) if padding else x
        chunked.append(padded.unflatten(1, (-1, CHUNK_TOKENS)).movedim(3, 1).contiguous())
    return chunked


def _initial_state(batch: int, heads: int, q: Tensor, v: Tensor, state: Tensor | None) -> Tensor:
    if state is not None:
        return state.to(q.dtype)
    return q.new_zeros(batch, heads, q.shape[-1], v.shape[-1])


def _at_least_float32(*tensors: Tensor) -> list[Tensor]:
    return [x if x.dtype == torch.float64 else x.float() for x in tensors]


def _lower_triangle(size: int, device: torch.device) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def _check(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor) -> None:
    heads = q.shape[:3]
    if k.shape != q.shape or v.shape[:3] != heads or beta.shape != heads or log_decay.shape[:3] != heads:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v, beta, log_decay))
        raise ShapeError(f"delta rule: q, k, v, beta, log_decay do not fit together: {shapes}")
