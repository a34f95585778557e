"""Linear maps of inference on a CPU in float32: y = x W^T + b.

Every number of y is the dot product of a row of x and a row of W, summed in one order whichever rows, tiles
and threads there are: a token's output does not depend on what else is in its batch. Weights are read where
they lie, once for all rows of x that stay in a core's cache. The twin is `torch.nn.functional.linear`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from llvmlite import binding, ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from derailleur.compiled import compiled, compiled_in_parallel, numba_threads
from derailleur.kernels.dispatch import compiled_serves

_AVX512 = binding.get_host_cpu_features().get("avx512f", False)
LANES = 16 if _AVX512 else 8
"""Rows of x and W are whole vectors of so many numbers."""
_ROWS, _COLUMNS = 4, 6 if _AVX512 else 3  # the largest tile of y whose sums, a vector each, stay in registers
_CACHED_BYTES = 1 << 18  # of rows of x, which pass by again for every few rows of W
_PARALLEL_PRODUCTS = 1 << 19  # some 10 to 50 microseconds of one thread, against a few to wake the others


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]."""
    if not _serves(x, weight):
        return F.linear(x, weight, bias)
    x = x.contiguous()
    out_size, in_size = weight.shape
    out = x.new_empty(*x.shape[:-1], out_size)
    num_rows = out.numel() // out_size
    # Addresses: for numba to accept three arrays takes as long as a small product.
    arguments = x.data_ptr(), weight.data_ptr(), out.data_ptr(), num_rows, out_size, in_size
    if torch.get_num_threads() == 1 or num_rows * weight.numel() < _PARALLEL_PRODUCTS:
        _multiply(*arguments)
    else:
        with numba_threads(torch.get_num_threads()) as num_threads:
            _multiply_in_parallel(*arguments, num_threads)
    return out if bias is None else out.add_(bias)


def _serves(x: Tensor, weight: Tensor) -> bool:
    return (
        compiled_serves(x)
        and compiled_serves(weight)
        and weight.shape[1] % LANES == 0
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


def _tile(num_rows: int, num_columns: int) -> Any:
    """A kernel that writes a tile of y: the first rows at `x` times the first rows at `weight`, to `out`.

    Every sum is a vector that stays in a register while the rows pass by; plain loops, which LLVM vectorises
    itself, reload the rows for every sum. Meanwhile the next tile's weights are fetched in the order of their
    addresses: rows side by side are too short for what a processor fetches by itself.
    """
    number, vector = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)

    @intrinsic
    def tile(context: Any, x: Any, weight: Any, out: Any, out_size: Any, in_size: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, weight, out, out_size, in_size = arguments

            def rows(address: Any, count: int, size: Any) -> list[Any]:
                first = builder.inttoptr(address, number.as_pointer())
                return [builder.gep(first, [builder.mul(size, size.type(i))]) for i in range(count)]

            def load(row: Any, at: Any) -> Any:
                loaded = builder.load(builder.bitcast(builder.gep(row, [at]), vector.as_pointer()))
                loaded.align = 4
                return loaded

            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
            )
            fetch = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]), "llvm.prefetch.p0"
            )
            to_read, to_second_level, data = flag(0), flag(2), flag(1)
            zero = ir.Constant(vector, [0.0] * LANES)
            sums = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(num_columns)]
                for _ in range(num_rows)
            ]
            x_rows, weight_rows = rows(x, num_rows, in_size), rows(weight, num_columns, in_size)
            steps = cgutils.for_range_slice(builder, in_size.type(0), in_size, in_size.type(LANES))
            next_weights, num_weights = rows(weight, num_columns + 1, in_size)[-1], in_size.type(num_columns)
            with steps as (place, _):
                for column in range(num_columns):
                    ahead = builder.add(builder.mul(place, num_weights), place.type(LANES * column))
                    ahead = builder.bitcast(builder.gep(next_weights, [ahead]), byte)
                    builder.call(fetch, [ahead, to_read, to_second_level, data])
                passing = [load(row, place) for row in weight_rows]
                for x_row, totals in zip(x_rows, sums, strict=True):
                    factor = load(x_row, place)
                    for w, total in zip(passing, totals, strict=True):
                        builder.store(builder.call(multiply_add, [factor, w, builder.load(total)]), total)
            added = iter(_add_lanes(builder, [builder.load(total) for totals in sums for total in totals]))
            for row in rows(out, num_rows, out_size):
                for column in range(num_columns):
                    builder.store(next(added), builder.gep(row, [out_size.type(column)]))
            return target.get_dummy_value()

        return types.void(x, weight, out, out_size, in_size), generate

    return tile


def _add_lanes(builder: Any, vectors: list[Any]) -> list[Any]:
    """The sum of each vector's numbers: its halves are added until one is left, two vectors' at a time."""
    count, half = len(vectors), LANES // 2
    while half:
        low, high = (
            ir.Constant(
                ir.VectorType(ir.IntType(32), LANES), [i for i in range(2 * LANES) if i // half % 2 == part]
            )
            for part in (0, 1)
        )
        pairs = zip(vectors[::2], vectors[1::2] + vectors[-1:], strict=False)
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high))
            for a, b in pairs
        ]
        half //= 2
    return [builder.extract_element(vectors[i // LANES], ir.IntType(32)(i % LANES)) for i in range(count)]


_tile_of_4, _tile_of_3, _tile_of_2, _tile_of_1 = (_tile(rows, _COLUMNS) for rows in (_ROWS, 3, 2, 1))
_single = _tile(1, 1)


@compiled
def _multiply_columns(
    x: int, weight: int, out: int, num_rows: int, out_size: int, in_size: int, begin: int, end: int
) -> None:
    """The columns begin .. end - 1 of out."""
    x_row, out_row = 4 * in_size, 4 * out_size  # bytes
    block = max(_CACHED_BYTES // x_row // _ROWS, 1) * _ROWS
    for top in range(0, num_rows, block):
        bottom = min(top + block, num_rows)
        n = begin
        while n < end:
            if end - begin < _COLUMNS:
                for m in range(top, bottom):
                    at = x + m * x_row, weight + n * x_row, out + m * out_row + 4 * n
                    _single(at[0], at[1], at[2], out_size, in_size)
                n += 1
                continue
            n = min(n, end - _COLUMNS)  # the last tile may do columns anew
            m = top
            while m < bottom:
                at = x + m * x_row, weight + n * x_row, out + m * out_row + 4 * n
                left = bottom - m
                if left >= _ROWS:
                    _tile_of_4(at[0], at[1], at[2], out_size, in_size)
                elif left == 3:
                    _tile_of_3(at[0], at[1], at[2], out_size, in_size)
                elif left == 2:
                    _tile_of_2(at[0], at[1], at[2], out_size, in_size)
                else:
                    _tile_of_1(at[0], at[1], at[2], out_size, in_size)
                m += _ROWS
            n += _COLUMNS


@compiled
def _multiply(x: int, weight: int, out: int, num_rows: int, out_size: int, in_size: int) -> None:
    _multiply_columns(x, weight, out, num_rows, out_size, in_size, 0, out_size)


@compiled_in_parallel
def _multiply_in_parallel(
    x: int, weight: int, out: int, num_rows: int, out_size: int, in_size: int, num_threads: int
) -> None:
    tiles = -(-out_size // _COLUMNS)
    share = -(-tiles // num_threads) * _COLUMNS
    for thread in prange(num_threads):
        begin, end = thread * share, min((thread + 1) * share, out_size)
        _multiply_columns(x, weight, out, num_rows, out_size, in_size, begin, end)
