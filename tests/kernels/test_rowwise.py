"""Norms and rotations of inference against the model's own, which torch computes."""

import pytest
import torch
import torch.nn.functional as F

from derailleur.kernels import rms_norm, rotate
from derailleur.model.layers import RmsNorm
from derailleur.model.rotary import Rotary, RotaryTable


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 15, 16, 50, 384])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_norm_equals_torch(size: int, rows: int) -> None:
    x, weight = draw(2, rows, size), draw(size, seed=1)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), F.rms_norm(x, (size,), weight, 1e-5))


def test_norm_of_zeros_and_overflow() -> None:
    x = torch.tensor([[0.0] * 4, [1e30] * 4, [1.0] * 4])
    normed = rms_norm(x, torch.ones(4), 0.0)
    torch.testing.assert_close(normed, F.rms_norm(x, (4,), torch.ones(4), 0.0), equal_nan=True)


def test_norm_takes_any_strides_and_a_row_does_not_depend_on_the_others() -> None:
    x, weight = draw(6, 3, 40).transpose(0, 1), draw(40, seed=1)
    whole = rms_norm(x, weight, 1e-5)
    torch.testing.assert_close(whole, F.rms_norm(x, (40,), weight, 1e-5))
    assert torch.equal(whole[1:2, 2:3], rms_norm(x[1:2, 2:3], weight, 1e-5))


@pytest.mark.parametrize("dim", [2, 6, 64])
@pytest.mark.parametrize("batched", [True, False])
def test_rotation_equals_torch(dim: int, batched: bool) -> None:
    table = RotaryTable(dim, 10000.0)
    positions = torch.tensor([[3, 4, 5], [70, 71, 72]])
    rotary = table.at(positions if batched else positions[1], 72)
    x = draw(2, 3, 5, 2 * dim)[..., dim:]
    assert torch.equal(rotate(x, rotary.cos, rotary.sin), rotary.apply(x))


def test_the_model_s_are_compiled_in_inference_alone() -> None:
    norm, rotary = RmsNorm(8, 1e-5), RotaryTable(8, 10000.0).sequence(3)
    x = draw(2, 3, 4, 8).requires_grad_()
    trained = norm(rotary.apply(x))
    trained.sum().backward()
    assert x.grad is not None and norm.weight.grad is not None
    with torch.inference_mode():
        torch.testing.assert_close(norm(rotary.apply(x)), trained.detach())
        wide = x.double()
        assert norm(rotary.apply(wide)).dtype == torch.float64
    nothing = Rotary(torch.empty(3, 0), torch.empty(3, 0))
    assert nothing.apply(x) is x
