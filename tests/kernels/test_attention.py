"""The attention forms against a dense softmax over an explicit mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from derailleur.kernels import banded_attention, cached_attention, causal_attention


def dense(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Grouped attention with a bool mask [queries, keys], one head at a time."""
    group = q.shape[2] // k.shape[2]
    heads = []
    for h in range(q.shape[2]):
        scores = q[:, :, h] @ k[:, :, h // group].transpose(1, 2) / q.shape[-1] ** 0.5
        heads.append(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v[:, :, h // group])
    return torch.stack(heads, 2)


def random_heads(seq: int, heads: int, kv_heads: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, seq, heads, 8), (2, seq, kv_heads, 8), (2, seq, kv_heads, 8))
    q, k, v = (torch.randn(*shape, generator=generator) for shape in shapes)
    return q, k, v


def band(seq: int, window: int) -> Tensor:
    age = torch.arange(seq).unsqueeze(1) - torch.arange(seq)
    return (age >= 0) & (age < window)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_causal(kv_heads: int) -> None:
    q, k, v = random_heads(33, 4, kv_heads, 0)
    torch.testing.assert_close(causal_attention(q, k, v), dense(q, k, v, band(33, 33)), atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seq=st.integers(1, 50),
    window=st.integers(1, 20),
    known=st.integers(0, 30),
    kv_heads=st.sampled_from([1, 2]),
)
def test_band_equals_dense(seq: int, window: int, known: int, kv_heads: int) -> None:
    q, k, v = random_heads(known + seq, 2, kv_heads, seq * 31 + window)
    expected = dense(q, k, v, band(known + seq, window))[:, known:]
    previous = (k[:, :known], v[:, :known]) if known else None
    got = banded_attention(q[:, known:], k[:, known:], v[:, known:], window, previous=previous)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_band_gradients_equal_dense() -> None:
    tensors = [x.requires_grad_() for x in random_heads(37, 4, 2, 1)]
    banded_attention(*tensors, 8).square().sum().backward()
    got = [x.grad for x in tensors]
    again = [x.detach().clone().requires_grad_() for x in tensors]
    dense(*again, band(37, 8)).square().sum().backward()
    for a, b in zip(got, again, strict=True):
        assert a is not None and b.grad is not None
        torch.testing.assert_close(a, b.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("num_tokens", [1, 3])
def test_cached_rows_with_different_pasts(num_tokens: int) -> None:
    q, k, v = random_heads(20, 4, 2, 2)
    lengths = torch.tensor([20, 11])
    mask = torch.arange(20) <= (lengths.view(-1, 1, 1) - num_tokens + torch.arange(num_tokens).view(1, -1, 1))
    queries = torch.stack([q[row, n - num_tokens : n] for row, n in enumerate(lengths.tolist())])
    # What a slot holds beyond its request must not be seen.
    cache = [x.transpose(1, 2).clone() for x in (k, v)]
    for x in cache:
        x[1, :, 11:] = 1e4
    got = cached_attention(queries, cache[0], cache[1], mask)
    expected = dense(q, k, v, band(20, 20))
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(got[row], expected[row, n - num_tokens : n], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seq", [1, 127, 128, 300])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 50])
def test_products_in_bfloat16(seq: int, kv_heads: int, window: int | None) -> None:
    """The forms for CPUs that multiply bfloat16, outputs and gradients, against float32."""
    exact = [x.bfloat16().float().requires_grad_() for x in random_heads(seq, 4, kv_heads, 3)]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    expected = dense(*exact, band(seq, window or seq))
    got = causal_attention(*rounded) if window is None else banded_attention(*rounded, window)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=0.03, rtol=0.03)
    for out in (expected, got):
        out.float().square().sum().backward()
    for a, b in zip(exact, rounded, strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(b.grad.float(), a.grad, atol=0.06, rtol=0.06)


@pytest.mark.parametrize("window", [None, 1, 5, 100])
@pytest.mark.parametrize("cuts", [[0, 40], [0, 1, 1, 20, 40], [0, 7, 40]], ids=str)
def test_packed_documents_are_apart(window: int | None, cuts: list[int]) -> None:
    q, k, v = (x[:1] for x in random_heads(40, 4, 2, 4))
    document = torch.arange(len(cuts) - 1).repeat_interleave(torch.tensor(cuts).diff())
    together = document.unsqueeze(1) == document
    expected = dense(q, k, v, band(40, window or 40) & together)
    if window is None:
        got = causal_attention(q, k, v, cu_seqlens=torch.tensor(cuts))
    else:
        got = banded_attention(q, k, v, window, cu_seqlens=torch.tensor(cuts))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
