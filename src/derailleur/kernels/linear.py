"""Linear maps of inference on a CPU: y = x W^T + b, x and y in float32, W in float32 or bfloat16.

Every number of y is the dot product of a row of x and a row of W, summed in one order whichever rows, tiles
and threads there are: a token's output does not depend on what else is in its batch. Weights are read where
they lie, once for all rows of x that stay in a core's cache. The twin is `torch.nn.functional.linear`.

Weights in bfloat16 are half as many bytes to read. A processor that multiplies pairs of bfloat16 numbers and
adds them up in float32 is given x rounded to bfloat16, and multiplies twice as many at once; elsewhere the
weights are widened in registers, and x is as it is.
"""

from enum import IntEnum
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

binding.initialize_native_asmparser()  # for an instruction of which LLVM has no portable name
_FEATURES = binding.get_host_cpu_features()
_AVX512 = _FEATURES.get("avx512f", False)
LANES = 16 if _AVX512 else 8
"""Rows of x and W are whole vectors of so many numbers."""
_ROWS, _COLUMNS = 4, 6 if _AVX512 else 3  # the largest tile of y whose sums, a vector each, stay in registers
_CACHED_BYTES = 1 << 18  # of rows of x, which pass by again for every few rows of W
_PARALLEL_PRODUCTS = 1 << 19  # some 10 to 50 microseconds of one thread, against a few to wake the others


class _Form(IntEnum):
    """How the numbers of W are multiplied. Rows are counted in words of 32 bits, two bfloat16 numbers."""

    FLOAT32 = 0
    WIDENED = 1
    PAIRS = 2


_BFLOAT16 = _Form.PAIRS if _FEATURES.get("avx512bf16", False) else _Form.WIDENED
_FORMS = (_Form.FLOAT32, _Form.WIDENED, _Form.PAIRS)[: _BFLOAT16 + 1]  # what this processor has


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]."""
    if not _serves(x, weight):
        wide = weight.float() if _is_mixed(x, weight) else weight
        return F.linear(x, wide, bias)
    form = _BFLOAT16 if _is_mixed(x, weight) else _Form.FLOAT32
    out_size, in_size = weight.shape
    out = x.new_empty(*x.shape[:-1], out_size)
    num_rows = out.numel() // out_size
    x = _arranged(x.contiguous(), form)
    sizes = out_size, in_size * x.itemsize // 4, in_size * weight.itemsize // 4
    # Addresses: for numba to accept three arrays takes as long as a small product.
    arguments = int(form), x.data_ptr(), weight.data_ptr(), out.data_ptr(), num_rows, *sizes
    if torch.get_num_threads() == 1 or num_rows * weight.numel() < _PARALLEL_PRODUCTS:
        _multiply(*arguments)
    else:
        with numba_threads(torch.get_num_threads()) as num_threads:
            _multiply_in_parallel(*arguments, num_threads)
    return out if bias is None else out.add_(bias)


def _serves(x: Tensor, weight: Tensor) -> bool:
    is_mixed = _is_mixed(x, weight)
    return (
        compiled_serves(x)
        and (is_mixed or weight.dtype == torch.float32)
        and weight.is_cpu
        and weight.shape[1] % (2 * LANES if is_mixed else LANES) == 0
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


def _is_mixed(x: Tensor, weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and x.dtype == torch.float32


def _arranged(x: Tensor, form: _Form) -> Tensor:
    """x [..., in] as a tile of that form reads it."""
    if form is _Form.PAIRS:
        return x.bfloat16()
    if form is _Form.WIDENED:  # of a vector of pairs, all first numbers and then all second ones
        return x.unflatten(-1, (-1, LANES, 2)).transpose(-1, -2).contiguous()
    return x


def _tile(num_rows: int, num_columns: int) -> Any:
    """A kernel that writes a tile of y: the first rows at `x` times the first rows at `weight`, to `out`.

    Every sum is a vector that stays in a register while the rows pass by; plain loops, which LLVM vectorises
    itself, reload the rows for every sum. Meanwhile the next tile's weights are fetched in the order of their
    addresses: rows side by side are too short for what a processor fetches by itself.
    """
    word, vector = ir.IntType(32), ir.VectorType(ir.FloatType(), LANES)
    words = ir.VectorType(word, LANES)
    byte = ir.IntType(8).as_pointer()

    @intrinsic
    def tile(
        context: Any, form: Any, x: Any, weight: Any, out: Any, out_size: Any, x_size: Any, weight_size: Any
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            form, x, weight, out, out_size, x_size, weight_size = arguments

            def rows(address: Any, count: int, size: Any) -> list[Any]:
                first = builder.inttoptr(address, word.as_pointer())
                return [builder.gep(first, [builder.mul(size, size.type(i))]) for i in range(count)]

            def load(row: Any, at: Any) -> Any:
                loaded = builder.load(builder.bitcast(builder.gep(row, [at]), words.as_pointer()))
                loaded.align = 4
                return loaded

            fetch = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0"
            )
            to_read, to_second_level, data = word(0), word(2), word(1)
            zero = ir.Constant(vector, [0.0] * LANES)
            sums = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(num_columns)]
                for _ in range(num_rows)
            ]
            x_rows, weight_rows = rows(x, num_rows, x_size), rows(weight, num_columns, weight_size)
            next_weights = rows(weight, num_columns + 1, weight_size)[-1]

            def step(form: _Form, place: Any) -> None:
                for column in range(num_columns):
                    ahead = builder.mul(place, place.type(num_columns))
                    ahead = builder.add(ahead, place.type(LANES * column))
                    ahead = builder.bitcast(builder.gep(next_weights, [ahead]), byte)
                    builder.call(fetch, [ahead, to_read, to_second_level, data])
                passing = [_factors(builder, form, load(row, place)) for row in weight_rows]
                per_word = len(passing[0])
                at = builder.mul(place, place.type(per_word))
                for x_row, totals in zip(x_rows, sums, strict=True):
                    factors = [load(x_row, builder.add(at, at.type(LANES * i))) for i in range(per_word)]
                    for weights, total in zip(passing, totals, strict=True):
                        for factor, w in zip(factors, weights, strict=True):
                            builder.store(_add_products(builder, form, factor, w, builder.load(total)), total)

            for known in _FORMS:
                with builder.if_then(builder.icmp_signed("==", form, form.type(known))):
                    start, width = weight_size.type(0), weight_size.type(LANES)
                    with cgutils.for_range_slice(builder, start, weight_size, width) as (place, _):
                        step(known, place)
            added = iter(_add_lanes(builder, [builder.load(total) for totals in sums for total in totals]))
            for row in rows(out, num_rows, out_size):
                row = builder.bitcast(row, ir.FloatType().as_pointer())
                for column in range(num_columns):
                    builder.store(next(added), builder.gep(row, [out_size.type(column)]))
            return target.get_dummy_value()

        return types.void(form, x, weight, out, out_size, x_size, weight_size), generate

    return tile


def _factors(builder: Any, form: _Form, loaded: Any) -> list[Any]:
    """A vector of words of W, as vectors to multiply by: two where every word's two numbers are widened."""
    if form is not _Form.WIDENED:
        return [loaded]
    first = builder.shl(loaded, ir.Constant(loaded.type, [16] * LANES))
    return [first, builder.and_(loaded, ir.Constant(loaded.type, [0xFFFF0000] * LANES))]


def _add_products(builder: Any, form: _Form, x: Any, weight: Any, total: Any) -> Any:
    """total + x * weight; a word of total takes the products of both numbers of a pair."""
    vector, words = total.type, x.type
    if form is _Form.PAIRS:
        pairs = ir.FunctionType(vector, [words, words, vector])
        return builder.asm(pairs, "vdpbf16ps $2, $1, $0", "=v,v,v,0", [x, weight, total], False)
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
    )
    return builder.call(multiply_add, [builder.bitcast(x, vector), builder.bitcast(weight, vector), total])


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
    form: int,
    x: int,
    weight: int,
    out: int,
    num_rows: int,
    out_size: int,
    x_size: int,
    weight_size: int,
    begin: int,
    end: int,
) -> None:
    """The columns begin .. end - 1 of out."""
    x_row, weight_row, out_row = 4 * x_size, 4 * weight_size, 4 * out_size  # bytes
    block = max(_CACHED_BYTES // x_row // _ROWS, 1) * _ROWS
    for top in range(0, num_rows, block):
        bottom = min(top + block, num_rows)
        n = begin
        while n < end:
            if end - begin < _COLUMNS:
                for m in range(top, bottom):
                    at = x + m * x_row, weight + n * weight_row, out + m * out_row + 4 * n
                    _single(form, at[0], at[1], at[2], out_size, x_size, weight_size)
                n += 1
                continue
            n = min(n, end - _COLUMNS)  # the last tile may do columns anew
            m = top
            while m < bottom:
                at = x + m * x_row, weight + n * weight_row, out + m * out_row + 4 * n
                left = bottom - m
                if left >= _ROWS:
                    _tile_of_4(form, at[0], at[1], at[2], out_size, x_size, weight_size)
                elif left == 3:
                    _tile_of_3(form, at[0], at[1], at[2], out_size, x_size, weight_size)
                elif left == 2:
                    _tile_of_2(form, at[0], at[1], at[2], out_size, x_size, weight_size)
                else:
                    _tile_of_1(form, at[0], at[1], at[2], out_size, x_size, weight_size)
                m += _ROWS
            n += _COLUMNS


@compiled
def _multiply(
    form: int, x: int, weight: int, out: int, num_rows: int, out_size: int, x_size: int, weight_size: int
) -> None:
    _multiply_columns(form, x, weight, out, num_rows, out_size, x_size, weight_size, 0, out_size)


@compiled_in_parallel
def _multiply_in_parallel(
    form: int,
    x: int,
    weight: int,
    out: int,
    num_rows: int,
    out_size: int,
    x_size: int,
    weight_size: int,
    num_threads: int,
) -> None:
    tiles = -(-out_size // _COLUMNS)
    share = -(-tiles // num_threads) * _COLUMNS
    for thread in prange(num_threads):
        begin, end = thread * share, min((thread + 1) * share, out_size)
        _multiply_columns(form, x, weight, out, num_rows, out_size, x_size, weight_size, begin, end)
