"""Paged attention against its torch twin."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from derailleur.kernels.paged import attend_to_pages


def make_inputs(
    positions: list[int],
    *,
    heads: int,
    kv_heads: int,
    dim: int,
    page_tokens: int,
    max_pages: int,
    num_tokens: int = 1,
) -> tuple[Tensor, ...]:
    """More pages than the tables name; pages that no row has reached are in no table."""
    generator = torch.Generator().manual_seed(sum(positions))
    rows = len(positions)
    pages = rows * max_pages + 3
    q = torch.randn(rows, num_tokens, heads, dim, generator=generator)
    keys = torch.randn(pages, kv_heads, dim, page_tokens, generator=generator)
    values = torch.randn(pages, kv_heads, page_tokens, dim, generator=generator)
    tables = torch.randperm(pages, generator=generator)[: rows * max_pages].view(-1, max_pages).int()
    for table, position in zip(tables, positions, strict=True):
        table[(position + num_tokens - 1) // page_tokens + 1 :] = -1
    return q, keys, values, tables, torch.tensor(positions)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (20, 1)])
@pytest.mark.parametrize("window", [None, 1, 300])
def test_equals_twin(
    kernels: ModuleType, device: torch.device, heads: int, kv_heads: int, window: int | None
) -> None:
    inputs = make_inputs(
        [599, 0, 256], heads=heads, kv_heads=kv_heads, dim=24, page_tokens=16, max_pages=40, num_tokens=2
    )
    got = kernels.paged_attention(*(x.to(device) for x in inputs), window=window)
    torch.testing.assert_close(got.cpu(), attend_to_pages(*inputs, window=window), atol=1e-5, rtol=1e-5)


def test_ring(kernels: ModuleType, device: torch.device) -> None:
    """Rows longer than their pages: the table wraps around."""
    inputs = make_inputs([97, 28, 44], heads=2, kv_heads=1, dim=16, page_tokens=8, max_pages=5, num_tokens=3)
    got = kernels.paged_attention(*(x.to(device) for x in inputs), window=33)
    torch.testing.assert_close(got.cpu(), attend_to_pages(*inputs, window=33), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", [2, 8])
@pytest.mark.parametrize("window", [None, 100])
def test_a_token_depends_on_no_other(
    kernels: ModuleType, device: torch.device, heads: int, window: int | None
) -> None:
    """Neither on the batch nor on how many tokens its row appends, in one tile of queries or in several."""
    inputs = make_inputs(
        [299, 5, 254, 352], heads=heads, kv_heads=1, dim=16, page_tokens=16, max_pages=24, num_tokens=5
    )
    q, keys, values, tables, positions = (x.to(device) for x in inputs)
    together = kernels.paged_attention(q, keys, values, tables, positions, window=window)
    twin = attend_to_pages(*inputs, window=window)
    torch.testing.assert_close(together.cpu(), twin, atol=1e-5, rtol=1e-5)
    for row in range(4):
        for token in range(5):
            rows, one = slice(row, row + 1), slice(token, token + 1)
            alone = kernels.paged_attention(
                q[rows, one], keys, values, tables[rows], positions[rows] + token, window=window
            )
            assert torch.equal(together[rows, one], alone)


def test_bfloat16(kernels: ModuleType, device: torch.device) -> None:
    inputs = make_inputs([299, 39], heads=4, kv_heads=2, dim=32, page_tokens=16, max_pages=20)
    rounded = [x.bfloat16() if x.is_floating_point() else x for x in inputs]
    exact = [x.float() if x.is_floating_point() else x for x in rounded]
    got = kernels.paged_attention(*(x.to(device) for x in rounded))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float().cpu(), attend_to_pages(*exact), atol=0.02, rtol=0.02)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("window", [None, 4096])
def test_real_sizes(kernels: ModuleType, window: int | None) -> None:
    inputs = make_inputs([7999, 0, 4999, 128], heads=32, kv_heads=8, dim=128, page_tokens=64, max_pages=128)
    exact = [x.double() if x.is_floating_point() else x for x in inputs]
    got = kernels.paged_attention(*(x.cuda() for x in inputs), window=window)
    torch.testing.assert_close(
        got.double().cpu(), attend_to_pages(*exact, window=window), atol=1e-4, rtol=1e-4
    )
