"""Paged attention against a softmax over each row's own tokens."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels import extend_pages, paged_compiled
from derailleur.kernels.paged import MAX_STEP_TOKENS
from derailleur.kernels.paged_compiled import SPLIT_TOKENS


@dataclass(frozen=True)
class Geometry:
    """Sizes; float32 of whole vectors is compiled, the rest is the twin's."""

    group: int = 3
    kv_heads: int = 2
    dim: int = 32
    page_tokens: int = 16
    dtype: torch.dtype = torch.float32


GEOMETRIES = st.builds(
    Geometry,
    group=st.integers(1, 5),
    kv_heads=st.integers(1, 2),
    dim=st.sampled_from([16, 24, 80]),
    page_tokens=st.sampled_from([16, 64]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)


@dataclass
class Request:
    """One row's tokens, [length, heads, dim] each."""

    length: int
    seed: int
    geometry: Geometry
    tokens: tuple[Tensor, Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        g, generator = self.geometry, torch.Generator().manual_seed(self.seed)
        q, k, v = (
            torch.randn(self.length, n, g.dim, generator=generator, dtype=g.dtype)
            for n in (g.group * g.kv_heads, g.kv_heads, g.kv_heads)
        )
        self.tokens = 3 * q, k, v

    def expected(self, begin: int, end: int, window: int | None) -> Tensor:
        """[end - begin, heads, dim], token by token."""
        q, *cache = self.tokens
        k, v = (x.repeat_interleave(self.geometry.group, 1) for x in cache)
        outputs = []
        for position in range(begin, end):
            seen = slice(0 if window is None else max(0, position + 1 - window), position + 1)
            scores = torch.einsum("hd,thd->ht", q[position], k[seen]) / self.geometry.dim**0.5
            outputs.append(torch.einsum("ht,thd->hd", scores.softmax(-1), v[seen]))
        return torch.stack(outputs)


@dataclass
class Cache:
    """Pages full of NaN, in an order drawn by chance; tables name none before it is reached."""

    rows: int
    max_pages: int
    geometry: Geometry
    window: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        g, pages = self.geometry, self.rows * self.max_pages
        self.keys = torch.full((pages, g.kv_heads, g.dim, g.page_tokens), torch.nan, dtype=g.dtype)
        self.values = torch.full((pages, g.kv_heads, g.page_tokens, g.dim), torch.nan, dtype=g.dtype)
        generator = torch.Generator().manual_seed(self.seed)
        self.tables = torch.randperm(pages, generator=generator).view(self.rows, -1).int()

    def extend(
        self, requests: list[Request], positions: list[int], num_tokens: int, rows: list[int] | None = None
    ) -> Tensor:
        """The requests stand in these rows, or in all."""
        tables = (self.tables if rows is None else self.tables[rows]).clone()
        for table, position in zip(tables, positions, strict=True):
            table[(position + num_tokens - 1) // self.geometry.page_tokens + 1 :] = -1
        places = list(zip(requests, positions, strict=True))
        q, k, v = (torch.stack([r.tokens[i][p : p + num_tokens] for r, p in places]) for i in range(3))
        start = torch.tensor(positions)
        return extend_pages(q, k, v, self.keys, self.values, tables, start, window=self.window)

    def fill(self, requests: list[Request], lengths: list[int]) -> None:
        """Store each row's first tokens, a step at a time."""
        for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
            for position in range(0, length, MAX_STEP_TOKENS):
                self.extend([request], [position], min(MAX_STEP_TOKENS, length - position), [row])


def filled(
    lengths: list[int], more: int, window: int | None, geometry: Geometry
) -> tuple[Cache, list[Request]]:
    """Requests of these lengths in a cache, and `more` tokens of each; with a window in rings."""
    requests = [Request(length + more, seed, geometry) for seed, length in enumerate(lengths)]
    held = max(lengths) + more if window is None else window + MAX_STEP_TOKENS
    cache = Cache(len(lengths), -(-held // geometry.page_tokens), geometry, window, seed=sum(lengths))
    cache.fill(requests, lengths)
    return cache, requests


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.one_of(st.integers(0, 70), st.integers(0, 3 * SPLIT_TOKENS)), min_size=1, max_size=4),
    num_tokens=st.integers(1, MAX_STEP_TOKENS),
    window=st.one_of(st.none(), st.integers(1, 70), st.integers(1, 2 * SPLIT_TOKENS)),
    geometry=GEOMETRIES,
)
def test_a_step_equals_softmax_over_the_row(
    lengths: list[int], num_tokens: int, window: int | None, geometry: Geometry
) -> None:
    cache, requests = filled(lengths, num_tokens, window, geometry)
    got = cache.extend(requests, lengths, num_tokens)
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        expected = request.expected(length, length + num_tokens, window)
        torch.testing.assert_close(got[row], expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 100), min_size=1, max_size=3),
    num_tokens=st.integers(MAX_STEP_TOKENS + 1, 140),
    window=st.one_of(st.none(), st.integers(1, 40)),
    geometry=GEOMETRIES,
)
def test_a_piece_equals_softmax_over_the_row(
    lengths: list[int], num_tokens: int, window: int | None, geometry: Geometry
) -> None:
    """Pieces may be longer than the ring; what a later step reads shows that they were stored."""
    cache, requests = filled(lengths, num_tokens + 2, window, geometry)
    piece = cache.extend(requests, lengths, num_tokens)
    step = cache.extend(requests, [n + num_tokens for n in lengths], 2)
    got = torch.cat([piece, step], 1)
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        expected = request.expected(length, request.length, window)
        torch.testing.assert_close(got[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 40, 700])
@pytest.mark.parametrize("group", [1, 3, 6])
@pytest.mark.parametrize("num_tokens", [7, 150])
def test_a_token_depends_on_no_other(window: int | None, group: int, num_tokens: int) -> None:
    """Bit by bit: neither on the batch, nor on its pages, nor on how many tokens its row appends."""
    lengths = [0, 37, SPLIT_TOKENS - 3, 1100]
    cache, requests = filled(lengths, num_tokens, window, Geometry(group))
    together = cache.extend(requests, lengths, num_tokens)
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        alone = Cache(1, cache.max_pages, cache.geometry, window, seed=row)
        alone.fill([request], [length])
        for token in range(num_tokens):
            assert torch.equal(together[row, token], alone.extend([request], [length + token], 1)[0, 0])


@pytest.mark.parametrize("num_tokens", [1, 3, 40])
@pytest.mark.parametrize("name", ["keys", "values"])
def test_a_broken_token_breaks_what_sees_it(name: str, num_tokens: int) -> None:
    """One number that is none is not passed over, and stays in its row."""
    cache, requests = filled([700, 20], num_tokens, None, Geometry())
    page = cache.tables[0, 100 // cache.geometry.page_tokens]
    getattr(cache, name)[page, 0, :3] = torch.nan
    broken, sound = cache.extend(requests, [700, 20], num_tokens)
    assert broken[..., 0, :].isnan().any(-1).all()
    assert sound.isfinite().all()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [0, SPLIT_TOKENS + 9, 1100]
    cache, requests = filled(lengths, 3, None, Geometry())
    alone = cache.extend(requests, lengths, 3)
    monkeypatch.setattr(paged_compiled, "_PARALLEL_WORK", 0)
    torch.set_num_threads(2)
    try:
        assert torch.equal(alone, cache.extend(requests, lengths, 3))
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_token_stands_in_its_place(dtype: torch.dtype) -> None:
    """The whole cache: new tokens where the table says, and nothing else touched."""
    geometry = Geometry(dtype=dtype)
    request, cache = Request(45, 0, geometry), Cache(2, 2, geometry, window=1)
    cache.fill([request], [41])
    cache.extend([request], [41], 4, [0])
    keys, values = torch.full_like(cache.keys, torch.nan), torch.full_like(cache.values, torch.nan)
    for position in range(13, 45):
        page, place = cache.tables[0, position // geometry.page_tokens % 2], position % geometry.page_tokens
        keys[page, :, :, place], values[page, :, place] = (x[position] for x in request.tokens[1:])
    torch.testing.assert_close((cache.keys, cache.values), (keys, values), equal_nan=True, atol=0, rtol=0)


def test_bfloat16() -> None:
    exact, rounded = Geometry(dtype=torch.float64), Geometry(dtype=torch.bfloat16)
    outputs = []
    for geometry in (exact, rounded):
        requests = [Request(120, seed, exact) for seed in range(2)]
        for request in requests:
            request.tokens = tuple(x.bfloat16().to(geometry.dtype) for x in request.tokens)
        cache = Cache(2, 8, geometry)
        outputs.append([cache.extend(requests, [0, 0], 60), cache.extend(requests, [60, 60], 60)])
        cache = Cache(2, 8, geometry)
        cache.fill(requests, [100, 41])
        outputs[-1].append(cache.extend(requests, [100, 41], 3))
    for expected, got in zip(*outputs, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), expected, atol=0.03, rtol=0.03)


def test_shapes_are_checked() -> None:
    q, k = torch.zeros(2, 1, 4, 16), torch.zeros(2, 1, 2, 16)
    keys, values = torch.zeros(3, 2, 16, 32), torch.zeros(3, 2, 32, 16)
    table, positions = torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, dtype=torch.int64)
    for wrong in (
        (q[:, :, :3], k, k, keys, values, table, positions),
        (q[:1], k, k, keys, values, table, positions),
        (q, k, k[..., :8], keys, values, table, positions),
        (q, k, k, keys, keys, table, positions),
        (q, k, k, keys, values, table[:1], positions),
        (q, k, k, keys, values, table, positions[:1]),
    ):
        with pytest.raises(ShapeError, match="do not fit together"):
            extend_pages(*wrong)
