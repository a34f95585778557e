"""Paged attention against a softmax over each row's own tokens."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels import extend_pages
from derailleur.kernels.paged import MAX_STEP_TOKENS

HEADS, KV_HEADS, DIM, PAGE_TOKENS = 6, 2, 32, 16


@dataclass
class Request:
    """One row's tokens, [length, heads, dim] each, and where they stand."""

    length: int
    seed: int
    q: Tensor = field(init=False)
    k: Tensor = field(init=False)
    v: Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.q, self.k, self.v = (
            torch.randn(self.length, n, DIM, generator=generator) for n in (HEADS, KV_HEADS, KV_HEADS)
        )

    def expected(self, begin: int, end: int, window: int | None) -> Tensor:
        """[end - begin, heads, dim], token by token."""
        outputs = []
        for position in range(begin, end):
            first = 0 if window is None else max(0, position + 1 - window)
            k, v = (x[first : position + 1].repeat_interleave(HEADS // KV_HEADS, 1) for x in (self.k, self.v))
            weights = (torch.einsum("hd,thd->ht", self.q[position], k) / DIM**0.5).softmax(-1)
            outputs.append(torch.einsum("ht,thd->hd", weights, v))
        return torch.stack(outputs)


@dataclass
class Cache:
    """Pages full of NaN, in an order drawn by chance; tables name none before it is reached."""

    rows: int
    max_pages: int
    seed: int = 0
    page_tokens: int = PAGE_TOKENS

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        pages = self.rows * self.max_pages
        self.keys = torch.full((pages, KV_HEADS, DIM, self.page_tokens), torch.nan)
        self.values = torch.full((pages, KV_HEADS, self.page_tokens, DIM), torch.nan)
        self.pages = torch.randperm(pages, generator=generator).view(self.rows, -1).int()

    def extend(
        self,
        requests: list[Request],
        positions: list[int],
        num_tokens: int,
        *,
        rows: list[int] | None = None,
        window: int | None = None,
    ) -> Tensor:
        tables = (self.pages if rows is None else self.pages[rows]).clone()
        for table, position in zip(tables, positions, strict=True):
            table[(position + num_tokens - 1) // self.page_tokens + 1 :] = -1
        new = (
            torch.stack([x[p : p + num_tokens] for x, p in zip(tokens, positions, strict=True)])
            for tokens in ([r.q for r in requests], [r.k for r in requests], [r.v for r in requests])
        )
        return extend_pages(*new, self.keys, self.values, tables, torch.tensor(positions), window=window)


def fill(cache: Cache, requests: list[Request], lengths: list[int], window: int | None = None) -> None:
    """Store each row's first tokens, in pieces of a step."""
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        for position in range(0, length, MAX_STEP_TOKENS):
            n = min(MAX_STEP_TOKENS, length - position)
            cache.extend([request], [position], n, rows=[row], window=window)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 150), min_size=1, max_size=4),
    num_tokens=st.integers(1, MAX_STEP_TOKENS),
    page_tokens=st.sampled_from([16, 32]),
    window=st.one_of(st.none(), st.integers(1, 70)),
)
def test_a_step_equals_softmax_over_the_row(
    lengths: list[int], num_tokens: int, page_tokens: int, window: int | None
) -> None:
    requests = [Request(length + num_tokens, seed) for seed, length in enumerate(lengths)]
    held = 200 if window is None else window + MAX_STEP_TOKENS  # a ring, if there is a window
    cache = Cache(len(lengths), -(-held // page_tokens), seed=sum(lengths), page_tokens=page_tokens)
    fill(cache, requests, lengths, window)
    got = cache.extend(requests, lengths, num_tokens, window=window)
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        expected = request.expected(length, length + num_tokens, window)
        torch.testing.assert_close(got[row], expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 100), min_size=1, max_size=3),
    num_tokens=st.integers(MAX_STEP_TOKENS + 1, 140),
    window=st.one_of(st.none(), st.integers(1, 40)),
)
def test_a_piece_equals_softmax_over_the_row(lengths: list[int], num_tokens: int, window: int | None) -> None:
    """Pieces may be longer than the ring; what a later step reads shows that they were stored."""
    requests = [Request(length + num_tokens + 2, seed) for seed, length in enumerate(lengths)]
    held = 250 if window is None else window + MAX_STEP_TOKENS
    cache = Cache(len(lengths), -(-held // PAGE_TOKENS), seed=sum(lengths))
    fill(cache, requests, lengths, window)
    piece = cache.extend(requests, lengths, num_tokens, window=window)
    step = cache.extend(requests, [n + num_tokens for n in lengths], 2, window=window)
    got = torch.cat([piece, step], 1)
    for row, (request, length) in enumerate(zip(requests, lengths, strict=True)):
        expected = request.expected(length, request.length, window)
        torch.testing.assert_close(got[row], expected, atol=1e-5, rtol=1e-5)


def test_a_token_stands_in_its_place() -> None:
    """The whole cache: new tokens where the table says, and nothing else touched."""
    request, cache = Request(45, 0), Cache(2, 2)
    fill(cache, [request], [41])
    cache.extend([request], [41], 4, rows=[0], window=1)
    keys, values = torch.full_like(cache.keys, torch.nan), torch.full_like(cache.values, torch.nan)
    for position in range(13, 45):
        page = cache.pages[0, position // PAGE_TOKENS % 2]
        keys[page, :, :, position % PAGE_TOKENS] = request.k[position]
        values[page, :, position % PAGE_TOKENS] = request.v[position]
    torch.testing.assert_close((cache.keys, cache.values), (keys, values), equal_nan=True, atol=0, rtol=0)


def test_shapes_are_checked() -> None:
    q, k = torch.zeros(2, 1, HEADS, DIM), torch.zeros(2, 1, KV_HEADS, DIM)
    keys, values = torch.zeros(3, KV_HEADS, DIM, PAGE_TOKENS), torch.zeros(3, KV_HEADS, PAGE_TOKENS, DIM)
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
