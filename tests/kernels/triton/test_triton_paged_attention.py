"""Paged decode attention against its torch twin."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from derailleur.kernels.paged import paged_attention


def make_inputs(
    lengths: list[int], *, heads: int, kv_heads: int, dim: int, page_tokens: int, max_pages: int, pages: int
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(sum(lengths))
    shape = (pages, page_tokens, kv_heads, dim)
    q = torch.randn(len(lengths), heads, dim, generator=generator)
    keys, values = (torch.randn(shape, generator=generator) for _ in range(2))
    table = torch.randperm(pages, generator=generator)[: len(lengths) * max_pages].view(-1, max_pages)
    return q, keys, values, table.int(), torch.tensor(lengths)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (20, 1)])
@pytest.mark.parametrize("window", [None, 1, 300])
def test_equals_twin(
    kernels: ModuleType, device: torch.device, heads: int, kv_heads: int, window: int | None
) -> None:
    inputs = make_inputs(
        [600, 0, 1, 257], heads=heads, kv_heads=kv_heads, dim=24, page_tokens=16, max_pages=40, pages=170
    )
    got = kernels.paged_attention(*(x.to(device) for x in inputs), window=window)
    torch.testing.assert_close(got.cpu(), paged_attention(*inputs, window=window), atol=1e-5, rtol=1e-5)


def test_ring(kernels: ModuleType, device: torch.device) -> None:
    """Rows longer than their pages: the table wraps around."""
    inputs = make_inputs([100, 31, 47], heads=2, kv_heads=1, dim=16, page_tokens=8, max_pages=5, pages=16)
    got = kernels.paged_attention(*(x.to(device) for x in inputs), window=33)
    torch.testing.assert_close(got.cpu(), paged_attention(*inputs, window=33), atol=1e-5, rtol=1e-5)


def test_a_row_does_not_depend_on_the_batch(kernels: ModuleType, device: torch.device) -> None:
    inputs = make_inputs([300, 5, 290], heads=2, kv_heads=1, dim=16, page_tokens=16, max_pages=20, pages=64)
    q, keys, values, table, lengths = (x.to(device) for x in inputs)
    together = kernels.paged_attention(q, keys, values, table, lengths)
    for row in range(3):
        one = slice(row, row + 1)
        alone = kernels.paged_attention(q[one], keys, values, table[one], lengths[one])
        assert torch.equal(together[one], alone)


def test_bfloat16(kernels: ModuleType, device: torch.device) -> None:
    inputs = make_inputs([300, 40], heads=4, kv_heads=2, dim=32, page_tokens=16, max_pages=20, pages=64)
    rounded = [x.bfloat16() if x.is_floating_point() else x for x in inputs]
    exact = [x.float() if x.is_floating_point() else x for x in rounded]
    got = kernels.paged_attention(*(x.to(device) for x in rounded))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float().cpu(), paged_attention(*exact), atol=0.02, rtol=0.02)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("window", [None, 4096])
def test_real_sizes(kernels: ModuleType, window: int | None) -> None:
    inputs = make_inputs(
        [8000, 1, 5000, 129], heads=32, kv_heads=8, dim=128, page_tokens=16, max_pages=512, pages=2100
    )
    exact = [x.double() if x.is_floating_point() else x for x in inputs]
    got = kernels.paged_attention(*(x.cuda() for x in inputs), window=window)
    torch.testing.assert_close(
        got.double().cpu(), paged_attention(*exact, window=window), atol=1e-4, rtol=1e-4
    )
