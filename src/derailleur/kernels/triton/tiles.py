"""What the kernels share: masked tiles of tensors [tokens, heads, width], decays, and products."""

import torch
import triton
import triton.language as tl


def matmul_precision() -> str:
    """How float32 factors are multiplied: three TF32 products keep float32, one does not.

    It follows `torch.set_float32_matmul_precision`, as torch's own products do. "ieee" is for the
    interpreter, which cannot multiply bfloat16.
    """
    if triton.knobs.runtime.interpret:
        return "ieee"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@triton.jit
def load_tile(first, stride, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """[ROWS, COLUMNS] from the pointer `first` on; zeros beyond `rows` and `columns`."""
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    return tl.load(first + row * stride + column, mask=inside, other=0.0)


@triton.jit
def store_tile(first, stride, rows, columns, tile, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write the part of a tile that lies within `rows` and `columns`."""
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    tl.store(first + row * stride + column, tile, mask=(row < rows) & (column < columns))


@triton.jit
def load_column(first, stride, rows, ROWS: tl.constexpr):
    """[ROWS] float32: one number a token."""
    row = tl.arange(0, ROWS)
    return tl.load(first + row * stride, mask=row < rows, other=0.0).to(tl.float32)


@triton.jit
def store_column(first, stride, rows, column, ROWS: tl.constexpr):
    """Write one number a token."""
    row = tl.arange(0, ROWS)
    tl.store(first + row * stride, column, mask=row < rows)


@triton.jit
def load_decay(
    G, place, rows, H, K: tl.constexpr, BLOCK_K: tl.constexpr, PER_CHANNEL: tl.constexpr, ROWS: tl.constexpr
):
    """Sums of log decays from `place` = token * H + head on: [ROWS, BLOCK_K], or [ROWS, 1] for one a head."""
    if PER_CHANNEL:
        return load_tile(G + place * K, H * K, rows, K, ROWS, BLOCK_K)
    else:
        return load_column(G + place, H, rows, ROWS)[:, None]


@triton.jit
def pairwise_decay(G, rows, ROWS: tl.constexpr):
    """exp(G_t - G_s) for s <= t < rows, else 0: [ROWS, 1] -> [ROWS, ROWS].

    Masked before exp: above the diagonal the exponent is positive and may overflow.
    """
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, ROWS)[None, :]
    return tl.exp(tl.where((row >= column) & (row < rows), G - tl.trans(G), -float("inf")))


@triton.jit
def matmul(a, b, DTYPE: tl.constexpr, PRECISION: tl.constexpr):
    """a @ b with the factors rounded to DTYPE, summed in float32."""
    if PRECISION == "ieee":
        return tl.dot(a.to(DTYPE).to(tl.float32), b.to(DTYPE).to(tl.float32), input_precision="ieee")
    else:
        return tl.dot(a.to(DTYPE), b.to(DTYPE), input_precision=PRECISION)
