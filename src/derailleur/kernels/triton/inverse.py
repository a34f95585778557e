"""(I + L)^-1 of a strictly lower triangular 64 x 64 matrix, in registers.

Diagonal blocks of 16 by forward substitution, then merged in pairs. A Neumann series of the whole matrix
is no way: it overflows on repeated keys, which blank runs in code are.
"""

import triton
import triton.language as tl


@triton.jit
def unit_lower_inverse(L):
    """[64, 64] float32, zero on and above the diagonal -> (I + L)^-1."""
    block, i = tl.arange(0, 4), tl.arange(0, 16)
    on_diagonal = block[:, None, None, None] == block[None, None, :, None]
    diagonal = tl.sum(tl.where(on_diagonal, tl.reshape(L, [4, 16, 4, 16]), 0.0), 2)  # [4, 16, 16]
    row, column = i[None, :, None], i[None, None, :]
    inverse = tl.where(row == column, 1.0, 0.0) + tl.zeros([4, 16, 16], tl.float32)
    for j in range(15):
        # Row j is final: subtract its share from all rows below it, in the four blocks at once.
        share = tl.sum(tl.where(column == j, diagonal, 0.0), 2, keep_dims=True)  # [4, 16, 1]
        final = tl.sum(tl.where(row == j, inverse, 0.0), 1, keep_dims=True)  # [4, 1, 16]
        inverse -= share * final
    whole = tl.reshape(tl.where(on_diagonal, inverse[:, :, None, :], 0.0), [64, 64])
    whole = _merge(whole, L, 32)
    return _merge(whole, L, 64)


@triton.jit
def _merge(inverse, L, SIZE: tl.constexpr):
    """From the inverses of blocks of SIZE / 2 to those of SIZE: [[A, 0], [-B L A, B]]."""
    row, column = tl.arange(0, 64)[:, None], tl.arange(0, 64)[None, :]
    half: tl.constexpr = SIZE // 2
    below = (row // SIZE == column // SIZE) & (row // half > column // half)
    # Always near float32: what is lost here is lost for every later token of the chunk.
    left = tl.dot(inverse, tl.where(below, L, 0.0), input_precision="tf32x3")
    return inverse - tl.dot(left, inverse, input_precision="tf32x3")
