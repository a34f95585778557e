"""Norms and rotations of inference on a CPU in float32, one kernel each.

Torch takes a handful of operations, which cost more than the arithmetic where tokens are few. Those of the
model, `RmsNorm` and `Rotary`, are the twins.
"""

import numpy as np
from numba.np.numpy_support import carray
from torch import Tensor

from derailleur.compiled import compiled, pointer

_LANES = 16  # sums are made in so many, which fit into vectors


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [..., size] over the root of its mean square, times weight [size]."""
    x = x.contiguous()
    out = x.new_empty(x.shape)
    size = x.shape[-1]
    _rms_norm(x.data_ptr(), weight.data_ptr(), out.data_ptr(), x.numel() // size, size, eps)
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [batch, seq, heads, head_dim] by angles [seq, head_dim] or [batch, seq, head_dim].

    Channel i and channel i + head_dim / 2 make a plane, as in Llama.
    """
    x, cos, sin = x.contiguous(), cos.contiguous(), sin.contiguous()
    out = x.new_empty(x.shape)
    batch, seq, heads, dim = x.shape
    num_angles = cos.numel() // dim
    _rotate(x.data_ptr(), cos.data_ptr(), sin.data_ptr(), out.data_ptr(), batch * seq, heads, dim, num_angles)
    return out


@compiled
def _rms_norm(x: int, weight: int, out: int, num_rows: int, size: int, eps: float) -> None:
    rows = carray(pointer(x), (num_rows, size), np.float32)
    results = carray(pointer(out), (num_rows, size), np.float32)
    weights = carray(pointer(weight), size, np.float32)
    whole = size // _LANES * _LANES
    lanes = np.empty(_LANES, np.float32)
    for i in range(num_rows):
        lanes[:] = 0
        for k in range(0, whole, _LANES):
            for j in range(_LANES):
                lanes[j] += rows[i, k + j] * rows[i, k + j]
        for k in range(whole, size):
            lanes[k - whole] += rows[i, k] * rows[i, k]
        total = np.float32(0)
        for j in range(_LANES):
            total += lanes[j]
        scale = np.float32((total / size + eps) ** -0.5)
        for k in range(size):
            results[i, k] = rows[i, k] * scale * weights[k]


@compiled
def _rotate(
    x: int, cos: int, sin: int, out: int, num_tokens: int, heads: int, dim: int, num_angles: int
) -> None:
    tokens = carray(pointer(x), (num_tokens, heads, dim), np.float32)
    results = carray(pointer(out), (num_tokens, heads, dim), np.float32)
    cosines = carray(pointer(cos), (num_angles, dim), np.float32)
    sines = carray(pointer(sin), (num_angles, dim), np.float32)
    half = dim // 2
    for i in range(num_tokens):
        c, s = cosines[i % num_angles], sines[i % num_angles]
        for h in range(heads):
            pairs, rotated = tokens[i, h], results[i, h]
            for k in range(half):
                rotated[k] = pairs[k] * c[k] - pairs[half + k] * s[k]
                rotated[half + k] = pairs[half + k] * c[half + k] + pairs[k] * s[half + k]
