"""The causal convolution against torch's own, and its gradients against finite differences."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from derailleur.kernels import document_positions
from derailleur.model.mixers.recurrent import CausalConvolution

CHANNELS, TAPS = 3, 4


@pytest.fixture
def convolution() -> CausalConvolution:
    torch.manual_seed(0)
    return CausalConvolution(CHANNELS, TAPS).double()


def pad(x: torch.Tensor) -> torch.Tensor:
    return F.pad(x, (0, 0, TAPS - 1, 0))


def test_equals_conv1d(convolution: CausalConvolution) -> None:
    x = torch.randn(2, 9, CHANNELS, dtype=torch.float64)
    expected = F.conv1d(pad(x).transpose(1, 2), convolution.weight, groups=CHANNELS).transpose(1, 2)
    torch.testing.assert_close(convolution(pad(x)), F.silu(expected))


def test_documents_are_apart(convolution: CausalConvolution) -> None:
    x = torch.randn(1, 12, CHANNELS, dtype=torch.float64)
    bounds = [0, 1, 3, 3, 12]
    got = convolution(pad(x), document_positions(x, torch.tensor(bounds)))
    for start, end in pairwise(bounds):
        torch.testing.assert_close(got[:, start:end], convolution(pad(x[:, start:end])))


@pytest.mark.parametrize("bounds", [[0, 7], [0, 2, 3, 7]], ids=str)
def test_gradients_equal_finite_differences(convolution: CausalConvolution, bounds: list[int]) -> None:
    x = torch.randn(1, 7, CHANNELS, dtype=torch.float64, requires_grad=True)
    positions = document_positions(x, torch.tensor(bounds))
    weight = convolution.weight.detach().clone().requires_grad_()

    def output(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(convolution, {"weight": weight}, (pad(x), positions))

    assert torch.autograd.gradcheck(output, [x, weight])
