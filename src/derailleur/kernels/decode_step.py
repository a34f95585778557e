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
def _sigmoid(x: float) -> float:
    return np.float32(1) / (np.float32(1) + math.exp(-x))


@compiled
def _silu(x: float) -> float:
    return x / (np.float32(1) + math.exp(-x))


@compiled
def _softplus(x: float) -> float:
    return x if x > np.float32(20) else math.log1p(math.exp(x))


@compiled
def _convolve(inputs: Floats, tail: Floats, taps: Floats, mixed: Floats) -> None:
    """The newest output [channels] of the convolution and its SiLU; the tail moves on by one token."""
    last = taps.shape[1] - 1
    for c in range(inputs.shape[0]):
        total = inputs[c] * taps[c, last]
        for t in range(last):
            total += tail[t, c] * taps[c, t]
        mixed[c] = _silu(total)
    for t in range(last - 1):
        tail[t] = tail[t + 1]
    tail[last - 1] = inputs


@compiled
def _normalize(heads: Floats, scale: float, eps: float) -> None:
    """Divide each head [heads, dim] by its length, and multiply it by `scale`."""
    for h in range(heads.shape[0]):
        square = np.float32(0)
        for d in range(heads.shape[1]):
            square += heads[h, d] * heads[h, d]
        factor = np.float32(scale / math.sqrt(square + np.float32(eps)))
        for d in range(heads.shape[1]):
            heads[h, d] *= factor


@compiled
def _delta_rule(q: Floats, k: Floats, v: Floats, beta: float, decay: Floats, S: Floats, read: Floats) -> None:
    """One token of one head: S [dim, dim] moves on, v [dim] is lost, and read [dim] is the output."""
    dim = S.shape[0]
    read[:] = 0
    for d in range(dim):
        for e in range(dim):
            S[d, e] *= decay[d]
            read[e] += k[d] * S[d, e]
    for e in range(dim):
        v[e] = np.float32(beta) * (v[e] - read[e])
    read[:] = 0
    for d in range(dim):
        for e in range(dim):
            S[d, e] += k[d] * v[e]
            read[e] += q[d] * S[d, e]


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
    decay_lower_bound: float | None,
    write_scale: float,
    l2_eps: float,
    norm_weight: Floats,
    norm_eps: float,
    gate_bias: Floats | None,
    silu_gate: bool,
    out: Floats,
) -> None:
    """Advance each row's state by one token and write the mixer's output before its last projection.

    All arrays are float32. There are `heads` value heads, and H_k key heads of which each serves
    heads / H_k of them; channels = (2 * H_k + heads) * head_dim, I = heads * head_dim.

    Args:
        qkv: [rows, channels], the convolution's newest inputs.
        rate: [rows, heads] (GDN) or [rows, I] (KDA), of the decay.
        write: [rows, heads], the write strength before its sigmoid.
        gate: [rows, I], the output gate before its bias and activation.
        slots: [rows], where each row's state is.
        tail: [slots, taps - 1, channels], shifted in place.
        state: [slots, heads, head_dim, head_dim], updated in place.
        taps: [channels, taps].
        A_log: [heads]; dt_bias: like rate's last dimension; norm_weight: [head_dim]; gate_bias: [I].
        decay_lower_bound: None for log decay = -exp(A_log) softplus(rate + dt_bias), else log decay =
            decay_lower_bound * sigmoid(exp(A_log) (rate + dt_bias)).
        write_scale: the largest write strength.
        silu_gate: the gate's activation is SiLU, else sigmoid.
        out: [rows, I].
    """
    heads, dim = state.shape[1], state.shape[2]
    key_heads = (qkv.shape[1] // dim - heads) // 2
    group = heads // key_heads
    rates = rate.shape[1] // heads  # 1 for GDN, head_dim for KDA
    mixed = np.empty((2 * key_heads + heads, dim), np.float32)
    decay, read = np.empty(dim, np.float32), np.empty(dim, np.float32)
    for row in range(qkv.shape[0]):
        _convolve(qkv[row], tail[slots[row]], taps, mixed.reshape(-1))
        _normalize(mixed[:key_heads], 1 / math.sqrt(dim), l2_eps)
        _normalize(mixed[key_heads : 2 * key_heads], 1.0, l2_eps)
        for h in range(heads):
            speed = math.exp(A_log[h])
            for d in range(dim):
                if d < rates:
                    x = rate[row, h * rates + d] + dt_bias[h * rates + d]
                    if decay_lower_bound is None:
                        decay[d] = math.exp(-speed * _softplus(x))
                    else:
                        decay[d] = math.exp(np.float32(decay_lower_bound) * _sigmoid(speed * x))
                else:
                    decay[d] = decay[0]
            beta = np.float32(write_scale) * _sigmoid(write[row, h])
            q, k = mixed[h // group], mixed[key_heads + h // group]
            _delta_rule(q, k, mixed[2 * key_heads + h], beta, decay, state[slots[row], h], read)
            square = np.float32(0)
            for e in range(dim):
                square += read[e] * read[e]
            scale = np.float32(1 / math.sqrt(square / np.float32(dim) + np.float32(norm_eps)))
            for e in range(dim):
                g = gate[row, h * dim + e]
                if gate_bias is not None:
                    g += gate_bias[h * dim + e]
                opened = _silu(g) if silu_gate else _sigmoid(g)
                out[row, h * dim + e] = read[e] * scale * norm_weight[e] * opened
