"""Tokens of a recurrent mixer on a CPU, fused: convolution, gates, delta rule, norm and output gate.

In eager torch a token takes some fifty small operations, whose fixed costs exceed the arithmetic tenfold
at batch 1. Here the tokens of a row go one after another, and every number has one order of operations: a
token's result depends neither on how many tokens come in a call, nor on other rows, nor on threads. The
twin is the mixer's own path through `recurrent_delta_rule`.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import prange
from numba.np.numpy_support import carray
from numpy.typing import NDArray
from torch import Tensor

from derailleur.compiled import compiled, compiled_in_parallel, numba_threads, pointer

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]

_PARALLEL_WORK = 1 << 18  # some 100 microseconds of one thread, against a few to wake the others
_ONE, _HALF, _TWO = np.float32(1), np.float32(0.5), np.float32(2)
_LOWEST, _HIGHEST = np.float32(-87), np.float32(88)  # what exp may be asked for in float32
_LOG2_E = np.float32(math.log2(math.e))
_LN_2_HIGH = np.float32(355 / 512)  # few bits, so that its product with a whole number is exact
_LN_2_LOW = np.float32(math.log(2) - 355 / 512)
_T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
_A3, _A5, _A7, _A9, _A11, _A13 = (np.float32(1 / n) for n in range(3, 14, 2))


def decode_step(
    qkv: Tensor,
    rate: Tensor,
    write: Tensor,
    gate: Tensor,
    slots: Tensor,
    tail: Tensor,
    state: Tensor,
    taps: Tensor,
    A_log: Tensor,
    dt_bias: Tensor,
    gate_bias: Tensor | None,
    norm_weight: Tensor,
    *,
    norm_eps: float,
    l2_eps: float,
    silu_gate: bool,
    max_write: float = 1.0,
    decay_lower_bound: float | None = None,
    trace: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Advance each row's state by its new tokens; all tensors are float32.

    There are `heads` value heads, and key_heads of which each serves heads / key_heads of them;
    channels = (2 * key_heads + heads) * head_dim.

    Args:
        qkv: [rows, num_tokens, channels], the convolution's newest inputs.
        rate: [rows, num_tokens, heads] (GDN) or [rows, num_tokens, heads * head_dim] (KDA), of the decay.
        write: [rows, num_tokens, heads], the write strength before its sigmoid.
        gate: [rows, num_tokens, heads * head_dim], the output gate before its bias and activation.
        slots: [rows] int64, distinct: where each row's state is.
        tail: [slots, taps - 1, channels], the convolution's inputs before these, moved on in place.
        state: [slots, heads, head_dim, head_dim], updated in place.
        taps: [channels, taps].
        A_log: [heads]; dt_bias, gate_bias: as the last dimension of rate, of gate.
        norm_weight: [head_dim].
        l2_eps: added to the squared lengths of queries and keys.
        silu_gate: the gate's activation is SiLU, else sigmoid.
        max_write: what the write strength's sigmoid is multiplied by.
        decay_lower_bound: if given, log decay = this * sigmoid(exp(A_log) (rate + dt_bias)), else
            -exp(A_log) softplus(rate + dt_bias).
        trace: leave `tail` and `state` as they are, and return what `replay` moves them on by.

    Returns:
        [rows, num_tokens, heads * head_dim], the mixer's output before its last projection, and of a trace
        the updates [rows, num_tokens, heads, 3, head_dim]: each token's keys, written values and decays.
    """
    rows, num_tokens, channels = qkv.shape
    num_slots, heads, dim, _ = state.shape
    key_heads = (channels // dim - heads) // 2
    out = gate.new_empty(gate.shape)
    updates = gate.new_empty(rows, num_tokens, heads, 3, dim) if trace else None
    assert tail.is_contiguous() and state.is_contiguous()
    parts = [x.contiguous() for x in (qkv, rate, write, gate, slots, taps, A_log, dt_bias, norm_weight)]
    # Addresses: for numba to accept so many arrays takes longer than one token of one row.
    arguments = (
        rows,
        num_tokens,
        num_slots,
        key_heads,
        heads // key_heads,
        dim,
        rate.shape[2] // heads,
        taps.shape[1],
        *(x.data_ptr() for x in parts),
        0 if gate_bias is None else gate_bias.data_ptr(),
        tail.data_ptr(),
        state.data_ptr(),
        out.data_ptr(),
        0 if updates is None else updates.data_ptr(),
        norm_eps,
        l2_eps,
        silu_gate,
        max_write,
        0.0 if decay_lower_bound is None else decay_lower_bound,
    )
    if torch.get_num_threads() == 1 or gate.numel() * dim < _PARALLEL_WORK:
        _extend(*arguments)
    else:
        with numba_threads(torch.get_num_threads()):
            _extend_in_parallel(*arguments)
    return out, updates


def replay(
    num_tokens: Tensor, qkv: Tensor, updates: Tensor, slots: Tensor, tail: Tensor, state: Tensor
) -> None:
    """Advance each row's tail and state by the first `num_tokens` [rows] tokens of a traced step."""
    arguments = num_tokens, qkv.contiguous(), updates, slots, tail, state
    _replay(*(x.numpy() for x in arguments))


@compiled
def _exp(x: float) -> float:
    """Taylor's series around the nearest power of two, which loops over arrays are vectorised with."""
    x = _LOWEST if x < _LOWEST else x  # NaN stays NaN
    x = _HIGHEST if x > _HIGHEST else x
    whole = np.floor(x * _LOG2_E + _HALF)
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    x = (x - whole * _LN_2_HIGH) - whole * _LN_2_LOW
    return power * (((((((_T7 * x + _T6) * x + _T5) * x + _T4) * x + _T3) * x + _T2) * x + _ONE) * x + _ONE)


@compiled
def _sigmoid(x: float) -> float:
    return np.divide(_ONE, _ONE + _exp(-x))


@compiled
def _softplus(x: float) -> float:
    """log(1 + y) = 2 artanh(y / (2 + y)), for y <= 1 by the series of artanh."""
    y = _exp(-abs(x))
    z = np.divide(y, _TWO + y)
    s = z * z
    artanh = z * ((((((_A13 * s + _A11) * s + _A9) * s + _A7) * s + _A5) * s + _A3) * s + _ONE)
    return max(x, np.float32(0)) + _TWO * artanh


@compiled
def _mean_square(x: Floats, squares: Floats) -> float:
    """Summed in halves; `squares` is room for as many numbers as x has."""
    n = x.shape[0]
    for i in range(n):
        squares[i] = x[i] * x[i]
    while n > 1:
        half = (n + 1) // 2
        for i in range(n - half):
            squares[i] += squares[half + i]
        n = half
    return squares[0] / np.float32(x.shape[0])


@compiled
def _normalize(x: Floats, length: float, eps: float, room: Floats) -> None:
    """Scale x to a length."""
    square = _mean_square(x, room) * np.float32(x.shape[0])
    factor = np.float32(length / math.sqrt(square + np.float32(eps)))
    for d in range(x.shape[0]):
        x[d] *= factor


@compiled
def _convolve(inputs: Floats, t: int, tail: Floats, taps: Floats, mixed: Floats) -> None:
    """Token t's output [channels] of the convolution and its SiLU; `tail` came before the inputs."""
    last = taps.shape[1] - 1
    for c in range(mixed.shape[0]):
        mixed[c] = inputs[t, c] * taps[c, last]
    for j in range(last):
        i = t - last + j
        if i < 0:
            for c in range(mixed.shape[0]):
                mixed[c] += tail[last + i, c] * taps[c, j]
        else:
            for c in range(mixed.shape[0]):
                mixed[c] += inputs[i, c] * taps[c, j]
    for c in range(mixed.shape[0]):
        mixed[c] *= _sigmoid(mixed[c])


@compiled
def _move_tail(inputs: Floats, num_tokens: int, tail: Floats) -> None:
    """The tail moves on by `num_tokens` of the inputs."""
    last = tail.shape[0]
    for j in range(last):
        i = num_tokens - last + j
        for c in range(tail.shape[1]):
            tail[j, c] = tail[last + i, c] if i < 0 else inputs[i, c]


@compiled
def _decay(rate: Floats, dt_bias: Floats, A_log: float, lower_bound: float, decay: Floats) -> None:
    """Decays [dim] of a head from its one rate or [dim] rates; without a bound, `lower_bound` is 0."""
    speed = np.float32(math.exp(A_log))
    if lower_bound == 0:
        for d in range(rate.shape[0]):
            decay[d] = _exp(-speed * _softplus(rate[d] + dt_bias[d]))
    else:
        for d in range(rate.shape[0]):
            decay[d] = _exp(np.float32(lower_bound) * _sigmoid(speed * (rate[d] + dt_bias[d])))
    if rate.shape[0] == 1:
        decay[1:] = decay[0]


@compiled
def _delta_rule(q: Floats, k: Floats, v: Floats, beta: float, decay: Floats, S: Floats, read: Floats) -> None:
    """One token of one head: S [dim, dim] moves on, v [dim] becomes what is written, read is the output."""
    dim = S.shape[0]
    read[:] = 0
    for d in range(dim):
        key = k[d] * decay[d]
        for e in range(dim):
            read[e] += key * S[d, e]
    for e in range(dim):
        v[e] = np.float32(beta) * (v[e] - read[e])
    read[:] = 0
    for d in range(dim):
        for e in range(dim):
            S[d, e] = decay[d] * S[d, e] + k[d] * v[e]
            read[e] += q[d] * S[d, e]


@compiled
def _open(
    read: Floats, norm_weight: Floats, eps: float, gate: Floats, silu: bool, out: Floats, room: Floats
) -> None:
    """Norm and output gate of one head."""
    scale = np.float32(1 / math.sqrt(_mean_square(read, room) + np.float32(eps)))
    for e in range(read.shape[0]):
        opened = _sigmoid(gate[e])
        if silu:
            opened *= gate[e]
        out[e] = read[e] * scale * norm_weight[e] * opened


@compiled
def _floats(address: int, shape: Any) -> Floats:
    return carray(pointer(address), shape, np.float32)


@compiled
def _advance(
    task: int,
    rows: int,
    num_tokens: int,
    num_slots: int,
    key_heads: int,
    group: int,
    dim: int,
    rates: int,
    num_taps: int,
    qkv_address: int,
    rate_address: int,
    write_address: int,
    gate_address: int,
    slots_address: int,
    taps_address: int,
    A_log_address: int,
    dt_bias_address: int,
    norm_weight_address: int,
    gate_bias_address: int,
    tail_address: int,
    state_address: int,
    out_address: int,
    updates_address: int,
    norm_eps: float,
    l2_eps: float,
    silu_gate: bool,
    max_write: float,
    decay_lower_bound: float,
) -> None:
    """All tokens of one row and key head, and of the value heads that it serves."""
    heads, row, key_head = key_heads * group, task // key_heads, task % key_heads
    channels, first_head = (2 * key_heads + heads) * dim, key_head * group
    slot = carray(pointer(slots_address), rows, np.int64)[row]
    qkv = _floats(qkv_address, (rows, num_tokens, channels))[row]
    rate = _floats(rate_address, (rows, num_tokens, heads * rates))[row]
    write = _floats(write_address, (rows, num_tokens, heads))[row]
    gate = _floats(gate_address, (rows, num_tokens, heads * dim))[row]
    out = _floats(out_address, (rows, num_tokens, heads * dim))[row]
    updates = _floats(updates_address, (rows, num_tokens, heads, 3, dim))[row]
    tail = _floats(tail_address, (num_slots, num_taps - 1, channels))[slot]
    states = _floats(state_address, (num_slots, heads, dim, dim))[slot, first_head : first_head + group]
    taps = _floats(taps_address, (channels, num_taps))
    A_log, dt_bias = _floats(A_log_address, heads), _floats(dt_bias_address, heads * rates)
    norm_weight, gate_bias = _floats(norm_weight_address, dim), _floats(gate_bias_address, heads * dim)
    traced = updates_address != 0
    if traced:
        states = states.copy()
    scratch = np.empty((6, dim), np.float32)
    q, k, decay, read, opening, room = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    values = np.empty((group, dim), np.float32)
    first_value = (2 * key_heads + first_head) * dim
    parts = (
        (slice(key_head * dim, (key_head + 1) * dim), q),
        (slice((key_heads + key_head) * dim, (key_heads + key_head + 1) * dim), k),
        (slice(first_value, first_value + group * dim), values.reshape(-1)),
    )
    for t in range(num_tokens):
        for part, mixed in parts:
            _convolve(qkv[:, part], t, tail[:, part], taps[part], mixed)
        _normalize(q, 1 / math.sqrt(dim), l2_eps, room)
        _normalize(k, 1.0, l2_eps, room)
        for i in range(group):
            h = first_head + i
            inner, own_rates = slice(h * dim, (h + 1) * dim), slice(h * rates, (h + 1) * rates)
            _decay(rate[t, own_rates], dt_bias[own_rates], A_log[h], decay_lower_bound, decay)
            beta = np.float32(max_write) * _sigmoid(write[t, h])
            _delta_rule(q, k, values[i], beta, decay, states[i], read)
            opening[:] = gate[t, inner]
            if gate_bias_address != 0:
                opening += gate_bias[inner]
            _open(read, norm_weight, norm_eps, opening, silu_gate, out[t, inner], room)
            if traced:
                updates[t, h, 0], updates[t, h, 1], updates[t, h, 2] = k, values[i], decay
    if not traced:
        for part, _ in parts:
            _move_tail(qkv[:, part], num_tokens, tail[:, part])


@compiled
def _extend(rows: int, num_tokens: int, num_slots: int, key_heads: int, *arguments: Any) -> None:
    for task in range(rows * key_heads):
        _advance(task, rows, num_tokens, num_slots, key_heads, *arguments)


@compiled_in_parallel
def _extend_in_parallel(rows: int, num_tokens: int, num_slots: int, key_heads: int, *arguments: Any) -> None:
    for task in prange(rows * key_heads):
        _advance(task, rows, num_tokens, num_slots, key_heads, *arguments)


@compiled
def _replay(
    num_tokens: Integers, qkv: Floats, updates: Floats, slots: Integers, tail: Floats, state: Floats
) -> None:
    dim = state.shape[2]
    for row in range(qkv.shape[0]):
        _move_tail(qkv[row], num_tokens[row], tail[slots[row]])
        for h in range(state.shape[1]):
            S = state[slots[row], h]
            for d in range(dim):
                for t in range(num_tokens[row]):
                    k, v, decay = updates[row, t, h, 0], updates[row, t, h, 1], updates[row, t, h, 2]
                    for e in range(dim):
                        S[d, e] = decay[d] * S[d, e] + k[d] * v[e]
