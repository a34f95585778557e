"""The causal convolution against torch's own, and its gradients against finite differences."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derailleur.kernels import causal_convolution, document_positions

CHANNELS, TAPS = 3, 4
CUTS = torch.tensor([0, 1, 3, 3, 9])


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def pad(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, TAPS - 1, 0))


def test_equals_conv1d() -> None:
    x, weight = random(2, 9, CHANNELS), random(CHANNELS, TAPS)
    expected = F.conv1d(pad(x).transpose(1, 2), weight.unsqueeze(1), groups=CHANNELS).transpose(1, 2)
    torch.testing.assert_close(causal_convolution(pad(x), weight), F.silu(expected))


def test_documents_are_apart() -> None:
    x, weight = random(1, 9, CHANNELS), random(CHANNELS, TAPS)
    got = causal_convolution(pad(x), weight, document_positions(x, CUTS))
    for start, end in pairwise(CUTS.tolist()):
        torch.testing.assert_close(got[:, start:end], causal_convolution(pad(x[:, start:end]), weight))


@pytest.mark.parametrize("packed", [False, True])
def test_gradients_equal_finite_differences(packed: bool) -> None:
    x, weight = random(1 if packed else 2, 9, CHANNELS), random(CHANNELS, TAPS)
    positions = document_positions(x, CUTS) if packed else None
    tensors = (pad(x).requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, weight: causal_convolution(x, weight, positions), tensors)


def test_bfloat16_is_summed_in_float32() -> None:
    x = pad(random(2, 9, CHANNELS)).bfloat16().requires_grad_()
    weight = random(CHANNELS, TAPS).float()
    got = causal_convolution(x, weight)
    torch.testing.assert_close(got, causal_convolution(x.float(), weight))
    got.sum().backward()
    assert got.dtype == torch.float32 and x.grad is not None and x.grad.dtype == torch.bfloat16
