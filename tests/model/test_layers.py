"""The shared parts of a layer against their textbook forms."""

import pytest
import torch
import torch.nn.functional as F

from derailleur.model.layers import GatedMlp, RmsNorm, RotaryTable


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


def test_rotary_is_a_rotation_by_position() -> None:
    table = RotaryTable(8, 100.0)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator).unbind(0)

    def score(i: int, j: int) -> float:
        a = table.at(torch.tensor([[i]]), i).apply(q)
        b = table.at(torch.tensor([[j]]), j).apply(k)
        return float((a * b).sum())

    assert score(0, 0) == pytest.approx(float((q * k).sum()))
    assert score(7, 3) == pytest.approx(score(1004, 1000), abs=1e-3)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-3)
    whole = table.sequence(5)
    assert torch.equal(whole.cos[3], table.at(torch.tensor([[3]]), 3).cos[0, 0])


def test_mlp_is_gated() -> None:
    mlp = GatedMlp(4, 6)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    gate, up, down = (w.weight for w in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
    expected = (F.silu(x @ gate.T) * (x @ up.T)) @ down.T
    torch.testing.assert_close(mlp(x), expected)
