"""The shared parts of a layer against their textbook forms."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from derailleur.model.layers import GatedMlp, LayerNorm, Linear, PlainMlp, RmsNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_and_its_gradients(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RmsNorm(16, 1e-5).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(16, generator=generator))
    x = torch.randn(3, 5, 16, generator=generator, dtype=dtype, requires_grad=True)
    outer = torch.randn(3, 5, 16, generator=generator, dtype=dtype)
    (norm(x) * outer).sum().backward()
    y, weight = x.detach().clone().requires_grad_(), norm.weight.detach().clone().requires_grad_()
    expected = F.rms_norm(y, (16,), weight, 1e-5)
    (expected * outer).sum().backward()
    torch.testing.assert_close(norm(x), expected)
    assert x.grad is not None and norm.weight.grad is not None
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(norm.weight.grad, weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)


def test_layer_norm_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    norm, expected = LayerNorm(16, 1e-5), torch.nn.LayerNorm(16, eps=1e-5)
    weights = {name: torch.randn(16, generator=generator) for name in ("weight", "bias")}
    norm.load_state_dict(weights)
    expected.load_state_dict(weights)
    x = 3 + torch.randn(3, 5, 16, generator=generator)
    torch.testing.assert_close(norm(x), expected(x))
    assert norm(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("activation", "activate"),
    [("silu", F.silu), ("gelu", F.gelu), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))],
)
def test_mlps(activation: str, activate: Callable[[torch.Tensor], torch.Tensor], bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4)
    gated = GatedMlp(4, 6, activation, bias=bias)
    inner = activate(gated.gate_proj(x)) * gated.up_proj(x)
    torch.testing.assert_close(gated(x), gated.down_proj(inner))
    plain = PlainMlp(4, 6, activation, bias=bias)
    torch.testing.assert_close(plain(x), plain.down_proj(activate(plain.up_proj(x))))
    assert (gated.gate_proj.bias is not None) == (plain.down_proj.bias is not None) == bias


def test_linear_is_torchs_in_training_and_in_inference() -> None:
    ours, theirs = Linear(32, 5), torch.nn.Linear(32, 5)
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    for module in (ours, copy.deepcopy(ours)):
        with torch.inference_mode():
            module(x)
        # What inference computed with must not outlive new weights.
        module.load_state_dict(theirs.state_dict())
        module(x).sum().backward()
        assert module.weight.grad is not None
        with torch.inference_mode():
            torch.testing.assert_close(module(x), theirs(x))
            for dtype in (torch.float64, torch.bfloat16):
                assert module.to(dtype)(x.to(dtype)).dtype == dtype
