"""One token of a recurrent mixer for a batch of slots: the counterpart on CUDA of kernels/decode_step.py.

Two kernels: the convolution, whose channels several value heads of one key head read, and the rest, one
program a row and value head, which reads and writes a head's state once and holds it in registers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_CHANNELS = 256


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
) -> Tensor:
    """Advance each row's state by one token.

    q and k of key head h // (value_heads // key_heads) serve value head h.

    Args:
        qkv: [rows, (2 * key_heads + value_heads) * head_dim], the convolution's newest inputs.
        rate: [rows, value_heads] (GDN) or [rows, value_heads * head_dim] (KDA), of the decay.
        write: [rows, value_heads], the write strength before its sigmoid.
        gate: [rows, value_heads * head_dim], the output gate before its bias and activation.
        slots: [rows] int64, distinct: where each row's state is.
        tail: [slots, taps - 1, channels of qkv], shifted in place.
        state: [slots, value_heads, head_dim, head_dim] float32, updated in place.
        taps: [channels of qkv, taps].
        A_log: [value_heads]; dt_bias, gate_bias: as the last dimension of rate, of gate.
        norm_weight: [head_dim].
        l2_eps: added to the squared lengths of queries and keys.
        silu_gate: the gate's activation is SiLU, else sigmoid.
        max_write: what the write strength's sigmoid is multiplied by.
        decay_lower_bound: if given, log decay = this * sigmoid(exp(A_log) (rate + dt_bias)), else
            -exp(A_log) softplus(rate + dt_bias).

    Returns:
        [rows, value_heads * head_dim] in gate's dtype, the mixer's output before its last projection.
    """
    rows, channels = qkv.shape
    _, heads, dim, _ = state.shape
    key_heads = (channels // dim - heads) // 2
    mixed = torch.empty(rows, channels, dtype=torch.float32, device=qkv.device)
    _convolution_kernel[(rows, triton.cdiv(channels, _CHANNELS))](
        qkv, qkv.stride(0), slots, tail, taps, mixed, channels, TAPS=taps.shape[1], BLOCK=_CHANNELS
    )
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    _head_kernel[(rows, heads)](
        mixed,
        rate,
        rate.stride(0),
        write,
        write.stride(0),
        gate,
        gate.stride(0),
        slots,
        state,
        A_log,
        dt_bias,
        gate_bias,
        norm_weight,
        norm_eps,
        l2_eps,
        max_write,
        decay_lower_bound,
        out,
        H=heads,
        KEY_HEADS=key_heads,
        D=dim,
        BLOCK=triton.next_power_of_2(dim),
        PER_CHANNEL=rate.shape[1] != heads,
        SILU=silu_gate,
        num_warps=8,
    )
    return out


@triton.jit
def _convolution_kernel(
    qkv, stride, slots, tail, taps, mixed, channels, TAPS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    first = tail + tl.load(slots + row) * (TAPS - 1) * channels + channel
    newest = tl.load(qkv + row * stride + channel, mask=inside)
    total = newest.to(tl.float32) * tl.load(taps + channel * TAPS + TAPS - 1, mask=inside).to(tl.float32)
    for t in tl.static_range(TAPS - 1):
        earlier = tl.load(first + t * channels, mask=inside)
        total += earlier.to(tl.float32) * tl.load(taps + channel * TAPS + t, mask=inside).to(tl.float32)
        if t > 0:
            tl.store(first + (t - 1) * channels, earlier, mask=inside)
    tl.store(first + (TAPS - 2) * channels, newest, mask=inside)
    tl.store(mixed + row * channels + channel, total * tl.sigmoid(total), mask=inside)


@triton.jit
def _load_heads(first, head, PER_CHANNEL: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr):
    """[BLOCK] float32: a number for each key channel of a head, or one for all of them."""
    if PER_CHANNEL:
        channel = tl.arange(0, BLOCK)
        return tl.load(first + head * D + channel, mask=channel < D, other=0.0).to(tl.float32)
    else:
        return tl.load(first + head).to(tl.float32) + tl.zeros([BLOCK], tl.float32)


@triton.jit
def _head_kernel(
    mixed,
    rate,
    rate_stride,
    write,
    write_stride,
    gate,
    gate_stride,
    slots,
    state,
    A_log,
    dt_bias,
    gate_bias,
    norm_weight,
    norm_eps,
    l2_eps,
    max_write,
    decay_lower_bound,
    out,
    H: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    PER_CHANNEL: tl.constexpr,
    SILU: tl.constexpr,
):
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    channel = tl.arange(0, BLOCK)
    inside = channel < D
    square = inside[:, None] & inside[None, :]
    cell = channel[:, None] * D + channel[None, :]
    own = state + (tl.load(slots + row) * H + head) * D * D
    S = tl.load(own + cell, mask=square, other=0.0)

    first = mixed + row * (2 * KEY_HEADS + H) * D + channel
    key_head = head // (H // KEY_HEADS)
    query = tl.load(first + key_head * D, mask=inside, other=0.0)
    key = tl.load(first + (KEY_HEADS + key_head) * D, mask=inside, other=0.0)
    value = tl.load(first + (2 * KEY_HEADS + head) * D, mask=inside, other=0.0)
    query *= tl.rsqrt((tl.sum(query * query, 0) + l2_eps) * D)
    key *= tl.rsqrt(tl.sum(key * key, 0) + l2_eps)

    speed = tl.exp(tl.load(A_log + head).to(tl.float32))
    x = _load_heads(rate + row * rate_stride, head, PER_CHANNEL, D, BLOCK)
    x += _load_heads(dt_bias, head, PER_CHANNEL, D, BLOCK)
    if decay_lower_bound is None:
        # As torch's softplus; what exp makes of more than 20 is not used.
        log_decay = -speed * tl.where(x > 20.0, x, tl.log(1.0 + tl.exp(tl.minimum(x, 20.0))))
    else:
        log_decay = decay_lower_bound * tl.sigmoid(speed * x)
    strength = max_write * tl.sigmoid(tl.load(write + row * write_stride + head).to(tl.float32))

    S *= tl.exp(log_decay)[:, None]
    S += key[:, None] * (strength * (value - tl.sum(key[:, None] * S, 0)))[None, :]
    tl.store(own + cell, S, mask=square)
    read = tl.sum(query[:, None] * S, 0)

    read *= tl.rsqrt(tl.sum(read * read, 0) / D + norm_eps)
    read *= tl.load(norm_weight + channel, mask=inside, other=0.0).to(tl.float32)
    opened = tl.load(gate + row * gate_stride + head * D + channel, mask=inside, other=0.0).to(tl.float32)
    if gate_bias is not None:
        opened += tl.load(gate_bias + head * D + channel, mask=inside, other=0.0).to(tl.float32)
    if SILU:
        opened *= tl.sigmoid(opened)
    else:
        opened = tl.sigmoid(opened)
    tl.store(out + (row * H + head) * D + channel, read * opened, mask=inside)
