"""Linear maps of inference against torch's, and their rows against the same rows alone."""

import importlib
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.kernels import linear

VECTORS = 16
"""Rows of so many numbers, times anything, are compiled on every machine."""

module = importlib.import_module("derailleur.kernels.linear")
FORMS = [form for form in module._FORMS if form != module._Form.FLOAT32]
"""In which this machine can multiply weights in bfloat16."""


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def rounds_x(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Weights in bfloat16 are multiplied in one form; whether it rounds what it multiplies them with."""
    monkeypatch.setattr(module, "_BFLOAT16", request.param)
    return request.param == module._Form.PAIRS


def exact(x: torch.Tensor, weight: torch.Tensor, *, rounds_x: bool) -> torch.Tensor:
    """In float64."""
    return F.linear((x.bfloat16() if rounds_x else x).double(), weight.double())


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 11),
    out_size=st.integers(1, 20),
    in_size=st.one_of(st.integers(1, 70), st.integers(1, 5).map(lambda n: n * VECTORS)),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_equals_torch(rows: int, out_size: int, in_size: int, bias: bool, dtype: torch.dtype) -> None:
    x, weight = draw(rows, in_size).to(dtype), draw(out_size, in_size, seed=1).to(dtype)
    b = draw(out_size, seed=2).to(dtype) if bias else None
    with torch.inference_mode():
        y = linear(x, weight, b)
    torch.testing.assert_close(y, F.linear(x, weight, b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("out_size", [1, 5, 6, 7, 64])
@pytest.mark.parametrize("in_size", [VECTORS, 13 * VECTORS])
def test_a_row_does_not_depend_on_the_others(out_size: int, in_size: int) -> None:
    x, weight = draw(40, in_size), draw(out_size, in_size, seed=1)
    with torch.inference_mode():
        alone = torch.cat([linear(row, weight) for row in x.split(1)])
        for count in [*range(1, 9), 40]:
            assert torch.equal(linear(x[:count], weight), alone[:count])


def test_rows_beyond_a_core_s_cache_are_the_same() -> None:
    x, weight = draw(12, 2048 * VECTORS), draw(7, 2048 * VECTORS, seed=1)
    with torch.inference_mode():
        alone = torch.cat([linear(row, weight) for row in x.split(1)])
        assert torch.equal(linear(x, weight), alone)


@pytest.mark.parametrize(("rows", "out_size"), [(1, 4099), (9, 600), (300, 1), (200, 17)])
def test_threads_do_not_matter(two_threads: None, rows: int, out_size: int) -> None:
    x, weight = draw(rows, 10 * VECTORS), draw(out_size, 10 * VECTORS, seed=1)
    with torch.inference_mode():
        shared = linear(x, weight)
        torch.set_num_threads(1)
        assert torch.equal(shared, linear(x, weight))


def test_any_strides() -> None:
    weight = draw(24, 2 * VECTORS, seed=1)
    x = draw(3, 4, 2 * VECTORS)
    with torch.inference_mode():
        for view in (x, x.transpose(0, 1), x[:, 1:3], draw(2 * VECTORS, 5).T, x[0, 0]):
            y = linear(view, weight)
            assert y.shape == (*view.shape[:-1], 24)
            torch.testing.assert_close(y, F.linear(view, weight))
        columns = draw(2 * VECTORS, 24).T
        torch.testing.assert_close(linear(x, columns), F.linear(x, columns))


def test_gradients_flow_outside_inference() -> None:
    x, weight, bias = (draw(*shape).requires_grad_() for shape in ((3, VECTORS), (5, VECTORS), (5,)))
    linear(x, weight, bias).sum().backward()
    assert all(leaf.grad is not None for leaf in (x, weight, bias))
    with torch.no_grad():
        assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_autocast_is_obeyed() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert linear(draw(2, VECTORS), draw(3, VECTORS)).dtype == torch.bfloat16


@pytest.mark.parametrize("in_size", [2 * VECTORS, 26 * VECTORS])
@pytest.mark.parametrize("out_size", [1, 5, 6, 7, 64])
def test_weights_in_bfloat16(rounds_x: bool, out_size: int, in_size: int) -> None:
    x, weight, bias = draw(40, in_size), draw(out_size, in_size, seed=1).bfloat16(), draw(out_size, seed=2)
    with torch.inference_mode():
        alone = torch.cat([linear(row, weight) for row in x.split(1)])
        for count in [*range(9), 40]:
            y = linear(x[:count], weight)
            assert y.dtype == torch.float32
            assert torch.equal(y, alone[:count])
            assert torch.equal(linear(x[:count], weight, bias), y + bias)
    expected = exact(x, weight, rounds_x=rounds_x)
    torch.testing.assert_close(alone.double(), expected, rtol=1e-5, atol=1e-5 * in_size**0.5)


def test_threads_share_weights_in_bfloat16(rounds_x: bool, two_threads: None) -> None:
    x, weight = draw(9, 10 * VECTORS), draw(600, 10 * VECTORS, seed=1).bfloat16()
    with torch.inference_mode():
        shared = linear(x, weight)
        torch.set_num_threads(1)
        assert torch.equal(shared, linear(x, weight))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(0, 5),
    out_size=st.integers(1, 9),
    in_size=st.one_of(st.integers(1, 70), st.integers(1, 5).map(lambda n: n * VECTORS)),
    inference=st.booleans(),
)
def test_weights_in_bfloat16_of_any_size(rows: int, out_size: int, in_size: int, inference: bool) -> None:
    """What the kernel does not take, torch multiplies with widened weights."""
    x, weight = draw(rows, in_size), draw(out_size, in_size, seed=1).bfloat16()
    with torch.inference_mode(inference):
        y = linear(x, weight)
    near = {"rtol": 2**-7, "atol": 2**-7 * in_size**0.5}
    torch.testing.assert_close(y.double(), exact(x, weight, rounds_x=False), **near)


def test_extremes_of_bfloat16(rounds_x: bool) -> None:
    x, weight = torch.full((1, 2 * VECTORS), 1.0), torch.zeros(4, 2 * VECTORS, dtype=torch.bfloat16)
    weight[0, 1], weight[1, 2], weight[2, -1], weight[3, 0] = 3e38, -3e38, float("nan"), float("inf")
    with torch.inference_mode():
        y = linear(x, weight)[0]
    torch.testing.assert_close(y, weight.float().sum(1), equal_nan=True)
