"""silu(gate) * up against torch in float64, the edges of float32 included."""

import pytest
import torch
import torch.nn.functional as F

from derailleur.kernels import silu_product


@pytest.mark.parametrize("shape", [(1,), (3, 7), (2, 5, 48), (0, 16)])
def test_equals_torch(shape: tuple[int, ...]) -> None:
    gate, up = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)) * 5
    expected = F.silu(gate.double()) * up.double()
    torch.testing.assert_close(silu_product(gate, up).double(), expected, rtol=3e-7, atol=1e-30)


def test_edges() -> None:
    gate = torch.tensor([0.0, -0.0, 60.0, -60.0, 3e38, -3e38, torch.inf, torch.nan])
    ones = torch.ones_like(gate)
    made = silu_product(gate, ones)
    assert made[:2].tolist() == [0, 0] and made[2] == 60 and made[4] == gate[4] and made[6] == torch.inf
    assert -1e-24 < made[3] < 0 and made[5].abs() < 6 and made[7].isnan()
    assert silu_product(ones, gate)[7].isnan() and silu_product(ones, gate)[6] == torch.inf


def test_views_and_places_change_nothing() -> None:
    gate, up = torch.randn(2, 33, 50, generator=torch.Generator().manual_seed(2))
    whole = silu_product(gate, up)
    assert torch.equal(silu_product(gate.T, up.T), whole.T)
    assert torch.equal(silu_product(gate[17:18, 3:], up[17:18, 3:]), whole[17:18, 3:])
