"""The parts of a decoder layer that all mixers share: norm, rotary table, gated MLP."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derailleur.model.mixers.base import Rotary


class RmsNorm(nn.Module):
    """Root mean square norm over the last dimension."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_grad_enabled():
            normed: Tensor = _RmsNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return normed
        # Same dtype on both sides keeps the fused kernel under autocast.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class _RmsNorm(torch.autograd.Function):
    """The norm with its gradient written out: on a CPU autograd takes it apart into a dozen passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = x.float().square().mean(-1, keepdim=True).add_(eps).rsqrt_().to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, weight = ctx.saved_tensors
        gradient = outer[0]
        weight_gradient = (gradient * normed).flatten(0, -2).sum(0, dtype=weight.dtype)
        gradient = gradient * weight.to(gradient.dtype)
        along = torch.linalg.vecdot(gradient, normed).unsqueeze(-1) / normed.shape[-1]
        return torch.addcmul(gradient, normed, along, value=-1).mul_(scale), weight_gradient, None


class RotaryTable(nn.Module):
    """Cosines and sines by position, grown on demand; never part of a checkpoint."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta
        self.register_buffer("cos", torch.empty(0, head_dim), persistent=False)
        self.register_buffer("sin", torch.empty(0, head_dim), persistent=False)

    def sequence(self, length: int) -> Rotary:
        """Positions 0 .. length - 1: [length, head_dim]."""
        self._reserve(length)
        return Rotary(self.cos[:length], self.sin[:length])

    def at(self, positions: Tensor, max_position: int) -> Rotary:
        """Any positions [batch, seq]: [batch, seq, head_dim]."""
        self._reserve(max_position + 1)
        return Rotary(self.cos[positions], self.sin[positions])

    def _reserve(self, length: int) -> None:
        if length <= self.cos.shape[0]:
            return
        length = 1 << max(length - 1, 255).bit_length()
        device = self.cos.device
        exponent = torch.arange(0, self.head_dim, 2, device=device, dtype=torch.float32) / self.head_dim
        angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), self.theta**-exponent)
        angles = torch.cat([angles, angles], -1)
        self.cos, self.sin = angles.cos(), angles.sin()


class GatedMlp(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
