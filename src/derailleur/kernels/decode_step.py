"""One token of a recurrent mixer on a CPU, fused: convolution, gates, delta rule, norm and output gate.

In eager torch one token takes some fifty small operations, whose fixed costs exceed the arithmetic
tenfold at batch 1. The twin is the mixer's own path through `recurrent_delta_rule`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

Floats = NDArray[np.float32]


@compiled
def _silu(x: float) -> float:
    return x / (np.float32(1) + math.exp(-x))


@compiled
def decode_step(
    qkv: Floats,
    rate: Floats,
    write: Floats,
    gate: Floats,
    slots: NDArray[np.int64],
    tail: Floats,
    state: Floats,
    taps: Floats,
    A_log: Floats,
    dt_bias: Floats,
    gate_bias: Floats,
    norm_weight: Floats,
    norm_eps: float,
    silu_gate: bool,
    out: Floats,
) -> None:
    """Advance each row's state by one token and write the mixer's output before its last projection.

    All arrays are float32. I = heads * head_dim.

    Args:
        qkv: [rows, 3 * I], the convolution's newest inputs.
        rate: [rows, heads] (GDN) or [rows, I] (KDA); log decay = -exp(A_log) softplus(rate + dt_bias).
        write: [rows, heads], the write strength before its sigmoid.
        gate: [rows, I], the output gate before its bias and activation.
        slots: [rows], where each row's state is.
        tail: [slots, taps - 1, 3 * I], shifted in place.
        state: [slots, heads, head_dim, head_dim], updated in place.
        taps: [3 * I, taps].
        A_log: [heads]; dt_bias: like rate's last dimension; gate_bias: [I]; norm_weight: [head_dim].
        silu_gate: the gate's activation is SiLU, else sigmoid.
        out: [rows, I].
    """
    heads, dim = state.shape[1], state.shape[2]
    inner = heads * dim
    num_taps = taps.shape[1]
    channels_of_head = rate.shape[1] // heads  # 1 for GDN, head_dim for KDA
    one = np.float32(1)
    mixed = np.empty(3 * inner, np.float32)
    for row in range(qkv.shape[0]):
        slot = slots[row]
        for c in range(3 * inner):
            total = qkv[row, c] * taps[c, num_taps - 1]
            for t in range(num_taps - 1):
                total += tail[slot, t, c] * taps[c, t]
            mixed[c] = _silu(total)
        for t in range(num_taps - 2):
            tail[slot, t] = tail[slot, t + 1]
        tail[slot, num_taps - 2] = qkv[row]
        for h in range(heads):
            q, k = mixed[h * dim : (h + 1) * dim], mixed[inner + h * dim : inner + (h + 1) * dim]
            v = mixed[2 * inner + h * dim : 2 * inner + (h + 1) * dim]
            q_norm, k_norm = np.float32(0), np.float32(0)
            for d in range(dim):
                q_norm += q[d] * q[d]
                k_norm += k[d] * k[d]
            q_scale = one / (max(math.sqrt(q_norm), np.float32(1e-6)) * math.sqrt(np.float32(dim)))
            k_scale = one / max(math.sqrt(k_norm), np.float32(1e-6))
            speed = math.exp(A_log[h])
            beta = one / (one + math.exp(-write[row, h]))
            S = state[slot, h]
            read = np.zeros(dim, np.float32)
            decay = np.float32(0)
            for d in range(dim):
                if d < channels_of_head:
                    x = rate[row, h * channels_of_head + d] + dt_bias[h * channels_of_head + d]
                    softplus = x if x > np.float32(20) else math.log1p(math.exp(x))
                    decay = np.float32(math.exp(-speed * softplus))
                key = np.float32(k[d] * k_scale)
                k[d] = key
                for e in range(dim):
                    S[d, e] *= decay
                    read[e] += key * S[d, e]
            for e in range(dim):
                v[e] = np.float32(beta * (v[e] - read[e]))
                read[e] = np.float32(0)
            for d in range(dim):
                key, query = k[d], np.float32(q[d] * q_scale)
                for e in range(dim):
                    S[d, e] += key * v[e]
                    read[e] += query * S[d, e]
            square = np.float32(0)
            for e in range(dim):
                square += read[e] * read[e]
            scale = np.float32(one / math.sqrt(square / np.float32(dim) + np.float32(norm_eps)))
            for e in range(dim):
                i = h * dim + e
                g = gate[row, i] + gate_bias[i]
                opened = _silu(g) if silu_gate else one / (one + math.exp(-g))
                out[row, i] = read[e] * scale * norm_weight[e] * opened
