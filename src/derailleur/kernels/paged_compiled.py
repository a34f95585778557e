"""New tokens of each row attend over pages, on a CPU in float32 (flash-decoding).

What a token sees is cut into splits at fixed positions. In a split the scores of a block of queries, their
softmax and the weighted values are made page by page; the splits' results are then weighed together in order.
Every sum has one order, whichever rows, tokens and threads there are, so that a token's output does not
depend on them. The twin is `attend_to_pages`.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from llvmlite import binding, ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray
from torch import Tensor

from derailleur.compiled import compiled, compiled_in_parallel, numba_threads

Floats = NDArray[np.float32]

LANES = 16
"""Head widths and pages are whole vectors of so many numbers."""
SPLIT_TOKENS = 512
_BLOCK_QUERIES = 8
# A tile of 4 rows and so many vectors stays in the registers of AVX-512, or of AVX2.
_TILE_VECTORS = 4 if binding.get_host_cpu_features().get("avx512f", False) else 1
_PIECE_TOKENS = 128  # the splits' results of more would take much memory
_PARALLEL_WORK = 1 << 20  # some 50 microseconds of one thread, against a few to wake the others
_EVERYTHING = 1 << 40  # tokens, more than any row has
_LOWEST, _NAN = np.float32(-1e30), np.float32(np.nan)
_ZERO, _HALF, _ONE, _UNDERFLOW = np.float32(0), np.float32(0.5), np.float32(1), np.float32(-126)
# The polynomial for 2 ** x on [-1/2, 1/2] of least relative error, 2e-9 before rounding.
_E1, _E2, _E3 = np.float32(0.69314718), np.float32(0.24022648), np.float32(0.05550332)
_E4, _E5, _E6 = np.float32(0.00961844), np.float32(0.00133989), np.float32(0.00015353)


def serves(q: Tensor, key_pages: Tensor) -> bool:
    """Whether `extend` takes these: float32 on a CPU, without gradients, in whole vectors."""
    page_tokens = key_pages.shape[-1]
    return (
        q.dtype == key_pages.dtype == torch.float32
        and q.is_cpu
        and not q.requires_grad
        and q.shape[-1] % LANES == 0
        and page_tokens % LANES == 0
        and SPLIT_TOKENS % page_tokens == 0
    )


def extend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    window: int | None,
) -> Tensor:
    """`extend_pages`, of any number of tokens a row.

    A piece whose end would overwrite in a ring what its beginning still sees is cut.
    """
    T = q.shape[1]
    room = _PIECE_TOKENS
    if window is not None:
        room = min(room, tables.shape[1] * key_pages.shape[-1] - window + 1)
    if room >= T:
        return _extend_piece(q, k, v, key_pages, value_pages, tables, positions, window)
    outputs = []
    for begin in range(0, T, room):
        piece = q[:, begin : begin + room], k[:, begin : begin + room], v[:, begin : begin + room]
        outputs.append(_extend_piece(*piece, key_pages, value_pages, tables, positions + begin, window))
    return torch.cat(outputs, 1)


def _extend_piece(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_pages: Tensor,
    value_pages: Tensor,
    tables: Tensor,
    positions: Tensor,
    window: int | None,
) -> Tensor:
    q = q.contiguous()
    out = torch.empty_like(q)
    arguments = (
        q.numpy(),
        k.contiguous().numpy(),
        v.contiguous().numpy(),
        key_pages.numpy(),
        value_pages.numpy(),
        tables.contiguous().numpy(),
        positions.numpy(),
        _EVERYTHING if window is None else window,
        out.numpy(),
    )
    if torch.get_num_threads() == 1 or _work(q, positions, window) < _PARALLEL_WORK:
        _extend(*arguments)
    else:
        with numba_threads(torch.get_num_threads()):
            _extend_in_parallel(*arguments)
    return out


def _work(q: Tensor, positions: Tensor, window: int | None) -> int:
    """How many products of numbers the scores are, about."""
    seen = positions if window is None else positions.clamp(max=window)
    return int(seen.sum() + q.shape[0] * q.shape[1]) * q[0].numel()


def _tile_product(num_rows: int, num_vectors: int) -> Any:
    """A kernel that adds a[i : i + num_rows] @ b[:, n : n + num_vectors * LANES] to that tile of c.

    The tile stays in registers while b passes by once. Plain loops, which LLVM vectorises itself, load and
    store it over and over and take two to three times as long.
    """
    vector = ir.VectorType(ir.FloatType(), LANES)
    splat = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

    @intrinsic
    def product(context: Any, a: Any, b: Any, c: Any, i: Any, n: Any) -> Any:
        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [
                make_array(kind)(target, builder, x)
                for kind, x in zip(signature.args[:3], arguments[:3], strict=True)
            ]
            strides = [cgutils.unpack_tuple(builder, x.strides)[0] for x in arrays]
            depth = cgutils.unpack_tuple(builder, arrays[1].shape)[0]
            first_row, first_column = arguments[3:]

            def address(array: int, row: Any, column: Any) -> Any:
                begin = cgutils.pointer_add(builder, arrays[array].data, builder.mul(row, strides[array]))
                return builder.gep(begin, [column])

            def vectors(array: int, row: Any) -> list[Any]:
                columns = [builder.add(first_column, row.type(LANES * x)) for x in range(num_vectors)]
                return [builder.bitcast(address(array, row, x), vector.as_pointer()) for x in columns]

            def load(pointer: Any) -> Any:
                loaded = builder.load(pointer)
                loaded.align = 4
                return loaded

            rows = [builder.add(first_row, first_row.type(x)) for x in range(num_rows)]
            targets = [vectors(2, row) for row in rows]
            sums = [[cgutils.alloca_once_value(builder, load(x)) for x in row] for row in targets]
            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
            )
            with cgutils.for_range(builder, depth) as loop:
                passing = [load(x) for x in vectors(1, loop.index)]
                for row, totals in zip(rows, sums, strict=True):
                    factor = builder.load(address(0, row, loop.index))
                    factor = builder.insert_element(vector(ir.Undefined), factor, ir.IntType(32)(0))
                    factor = builder.shuffle_vector(factor, vector(ir.Undefined), splat)
                    for x, total in zip(passing, totals, strict=True):
                        builder.store(builder.call(multiply_add, [factor, x, builder.load(total)]), total)
            for row, totals in zip(targets, sums, strict=True):
                for pointer, total in zip(row, totals, strict=True):
                    builder.store(builder.load(total), pointer).align = 4
            return target.get_dummy_value()

        return types.void(a, b, c, i, n), generate

    return product


_wide_4, _wide_3, _wide_2, _wide_1 = (_tile_product(rows, _TILE_VECTORS) for rows in (4, 3, 2, 1))
_narrow_1 = _tile_product(1, 1)  # for what is left: few columns of uncommon widths


@compiled
def _add_product(a: Floats, b: Floats, c: Floats) -> None:
    """c [m, n] += a [m, k] @ b [k, n], each number summed over k in order; n is whole vectors."""
    n = 0
    while n + _TILE_VECTORS * LANES <= c.shape[1]:
        for i in range(0, c.shape[0], 4):
            left = c.shape[0] - i
            if left >= 4:
                _wide_4(a, b, c, i, n)
            elif left == 3:
                _wide_3(a, b, c, i, n)
            elif left == 2:
                _wide_2(a, b, c, i, n)
            else:
                _wide_1(a, b, c, i, n)
        n += _TILE_VECTORS * LANES
    while n < c.shape[1]:
        for i in range(c.shape[0]):
            _narrow_1(a, b, c, i, n)
        n += LANES


@compiled
def _softmax(scores: Floats) -> tuple[float, float]:
    """Scores [whole vectors] become powers of two relative to the highest; that, and the powers' sum.

    One score that is no number makes the sum none.
    """
    lanes, bad = np.full(LANES, _LOWEST), np.zeros(LANES, np.float32)
    for t in range(0, scores.shape[0], LANES):
        for j in range(LANES):
            score = scores[t + j]
            lanes[j] = score if score > lanes[j] else lanes[j]
            bad[j] = bad[j] if score == score else _ONE
    highest = _LOWEST
    for j in range(LANES):
        highest = max(highest, lanes[j])
    for t in range(scores.shape[0]):
        below = scores[t] - highest
        x = below if below > _UNDERFLOW else _UNDERFLOW
        whole = np.floor(x + _HALF)
        x -= whole
        power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
        y = (((((_E6 * x + _E5) * x + _E4) * x + _E3) * x + _E2) * x + _E1) * x + _ONE
        scores[t] = y * power if below > _UNDERFLOW else _ZERO
    lanes[:] = _ZERO
    for t in range(0, scores.shape[0], LANES):
        for j in range(LANES):
            lanes[j] += scores[t + j]
    total, num_bad = _ZERO, _ZERO
    for j in range(LANES):
        total += lanes[j]
        num_bad += bad[j]
    return highest, total if num_bad == _ZERO else _NAN


_Step: TypeAlias = tuple[Floats, NDArray[np.int64], Floats, Floats, Floats]
"""What a step's queries ask, and what each split of their rows gives them; no named tuple passes `prange`.

    queries: [rows, kv_heads, num_tokens * group, head_dim], the first tokens' first, scaled.
    first_split: [rows + 1], where each row's splits begin among those of all rows.
    mixed: [splits, kv_heads, num_tokens * group, head_dim], sums of values under weights.
    highest, total: [splits, kv_heads, num_tokens * group], the score whose weight is 1, the weights' sum.
"""


@compiled
def _store(
    k: Floats,
    v: Floats,
    key_pages: Floats,
    value_pages: Floats,
    tables: NDArray[np.int32],
    positions: NDArray[np.int64],
) -> None:
    page_tokens = key_pages.shape[3]
    for row in range(k.shape[0]):
        for t in range(k.shape[1]):
            position = positions[row] + t
            page, place = tables[row, position // page_tokens % tables.shape[1]], position % page_tokens
            for h in range(k.shape[2]):
                for d in range(k.shape[3]):
                    key_pages[page, h, d, place] = k[row, t, h, d]
                    value_pages[page, h, place, d] = v[row, t, h, d]


@compiled
def _begin(q: Floats, kv_heads: int, positions: NDArray[np.int64], window: int) -> _Step:
    rows, T, heads, dim = q.shape
    group = heads // kv_heads
    scale = np.float32(1 / (math.sqrt(dim) * math.log(2)))  # of the scores of powers of two
    queries = np.empty((rows, kv_heads, T * group, dim), np.float32)
    first_split = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        for t in range(T):
            for h in range(heads):
                for d in range(dim):
                    queries[row, h // group, t * group + h % group, d] = q[row, t, h, d] * scale
        end = (positions[row] + T - 1) // SPLIT_TOKENS + 1
        first_split[row + 1] = first_split[row] + end - _oldest(positions[row], window) // SPLIT_TOKENS
    mixed = np.empty((first_split[rows], kv_heads, T * group, dim), np.float32)
    highest = np.empty(mixed.shape[:3], np.float32)
    return queries, first_split, mixed, highest, np.empty_like(highest)


@compiled
def _oldest(position: int, window: int) -> int:
    """The oldest position that the token at `position` sees."""
    return max(position - window + 1, 0)


@compiled
def _attend(
    step: _Step,
    task: int,
    group: int,
    key_pages: Floats,
    value_pages: Floats,
    tables: NDArray[np.int32],
    positions: NDArray[np.int64],
    window: int,
) -> None:
    """A block of queries of one kv head to one split of one row."""
    all_queries, first_split, all_mixed, all_highest, all_total = step
    kv_heads, page_tokens = key_pages.shape[1], key_pages.shape[3]
    blocks = _num_blocks(all_queries.shape[2])
    s, head, first = task // (blocks * kv_heads), task // blocks % kv_heads, task % blocks * _BLOCK_QUERIES
    row = np.searchsorted(first_split, s, side="right") - 1
    table, queries = tables[row], all_queries[row, head, first : first + _BLOCK_QUERIES]
    block = slice(first, first + queries.shape[0])
    mixed, highest, total = all_mixed[s, head, block], all_highest[s, head, block], all_total[s, head, block]
    mixed[:], highest[:], total[:] = _ZERO, _LOWEST, _ZERO
    begin = (_oldest(positions[row], window) // SPLIT_TOKENS + s - first_split[row]) * SPLIT_TOKENS
    low = max(_oldest(positions[row] + block.start // group, window) - begin, 0)
    high = min(positions[row] + (block.stop - 1) // group + 1 - begin, SPLIT_TOKENS)
    if low >= high:
        return
    pages = range(low // page_tokens, (high - 1) // page_tokens + 1)
    shown = slice(pages.start * page_tokens, pages.stop * page_tokens)
    weights = np.zeros((queries.shape[0], SPLIT_TOKENS), np.float32)
    for j in pages:
        page = table[(begin // page_tokens + j) % table.shape[0]]
        _add_product(queries, key_pages[page, head], weights[:, j * page_tokens : (j + 1) * page_tokens])
    for n in range(queries.shape[0]):
        end = positions[row] + (first + n) // group + 1 - begin
        weights[n, max(end, shown.start) : shown.stop] = -np.inf
        weights[n, shown.start : max(end - window, shown.start)] = -np.inf
        highest[n], total[n] = _softmax(weights[n, shown])
    for j in pages:
        page = table[(begin // page_tokens + j) % table.shape[0]]
        # Zero times whatever stands where no token may look is not always zero.
        a, b = max(low, j * page_tokens), min(high, (j + 1) * page_tokens)
        _add_product(
            weights[:, a:b], value_pages[page, head, a - j * page_tokens : b - j * page_tokens], mixed
        )


@compiled
def _num_blocks(num_queries: int) -> int:
    return (num_queries + _BLOCK_QUERIES - 1) // _BLOCK_QUERIES


@compiled
def _num_tasks(step: _Step) -> int:
    return step[2].shape[0] * step[2].shape[1] * _num_blocks(step[2].shape[2])


@compiled
def _finish(step: _Step, out: Floats) -> None:
    """Weigh the splits of each query together, into out [rows, num_tokens, heads, head_dim]."""
    rows, _, heads, dim = out.shape
    queries, first_split, mixed, highest, total = step
    _, kv_heads, num_queries, _ = queries.shape
    group = heads // kv_heads
    for row in range(rows):
        splits = range(first_split[row], first_split[row + 1])
        for head in range(kv_heads):
            for n in range(num_queries):
                top, whole = _LOWEST, _ZERO
                for s in splits:
                    top = max(top, highest[s, head, n])
                result = out[row, n // group, head * group + n % group]
                result[:] = 0
                for s in splits:
                    weight = np.float32(math.exp2(highest[s, head, n] - top))
                    whole += weight * total[s, head, n]
                    for d in range(dim):
                        result[d] += weight * mixed[s, head, n, d]
                for d in range(dim):
                    result[d] /= whole


@compiled
def _extend(
    q: Floats,
    k: Floats,
    v: Floats,
    key_pages: Floats,
    value_pages: Floats,
    tables: NDArray[np.int32],
    positions: NDArray[np.int64],
    window: int,
    out: Floats,
) -> None:
    kv_heads = k.shape[2]
    _store(k, v, key_pages, value_pages, tables, positions)
    step = _begin(q, kv_heads, positions, window)
    for task in range(_num_tasks(step)):
        _attend(step, task, q.shape[2] // kv_heads, key_pages, value_pages, tables, positions, window)
    _finish(step, out)


@compiled_in_parallel
def _extend_in_parallel(
    q: Floats,
    k: Floats,
    v: Floats,
    key_pages: Floats,
    value_pages: Floats,
    tables: NDArray[np.int32],
    positions: NDArray[np.int64],
    window: int,
    out: Floats,
) -> None:
    kv_heads = k.shape[2]
    _store(k, v, key_pages, value_pages, tables, positions)
    step = _begin(q, kv_heads, positions, window)
    for task in prange(_num_tasks(step)):
        _attend(step, task, q.shape[2] // kv_heads, key_pages, value_pages, tables, positions, window)
    _finish(step, out)
