"""The torch form of paged decode attention against a softmax over each row's own tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.errors import ShapeError
from derailleur.kernels.paged import paged_attention

HEADS, KV_HEADS, DIM, PAGE_TOKENS, MAX_PAGES = 4, 2, 8, 4, 5


def filled_pages(rows: list[Tensor], table: Tensor) -> Tensor:
    """Write each row's [length, kv_heads, dim] token by token; whatever is not written is NaN."""
    pages = torch.full((int(table.max()) + 1, PAGE_TOKENS, KV_HEADS, DIM), torch.nan)
    for row, tokens in enumerate(rows):
        for position, x in enumerate(tokens):
            pages[table[row, position // PAGE_TOKENS % MAX_PAGES], position % PAGE_TOKENS] = x
    return pages


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=3),
    window=st.one_of(st.none(), st.integers(1, 25)),
)
def test_equals_softmax_over_the_row(lengths: list[int], window: int | None) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    q = torch.randn(len(lengths), HEADS, DIM, generator=generator)
    keys, values = ([torch.randn(n, KV_HEADS, DIM, generator=generator) for n in lengths] for _ in range(2))
    table = torch.randperm(len(lengths) * MAX_PAGES, generator=generator).view(-1, MAX_PAGES)
    pages = [filled_pages(x, table) for x in (keys, values)]
    got = paged_attention(q, *pages, table, torch.tensor(lengths), window=window)
    shown = min(window or PAGE_TOKENS * MAX_PAGES, PAGE_TOKENS * MAX_PAGES)
    for row, length in enumerate(lengths):
        for head in range(HEADS):
            k, v = (x[row][-shown:, head // (HEADS // KV_HEADS)] for x in (keys, values))
            weights = (k @ q[row, head] / DIM**0.5).softmax(0)
            expected = weights @ v if length else torch.zeros(DIM)
            torch.testing.assert_close(got[row, head], expected, atol=1e-5, rtol=1e-5)


def test_shapes_are_checked() -> None:
    pages = torch.zeros(3, PAGE_TOKENS, KV_HEADS, DIM)
    table, lengths = torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    with pytest.raises(ShapeError, match="do not fit together"):
        paged_attention(torch.zeros(2, 3, DIM), pages, pages, table, lengths)
    with pytest.raises(ShapeError, match="do not fit together"):
        paged_attention(torch.zeros(3, HEADS, DIM), pages, pages, table, lengths)
