"""The parts of a decoder layer beside its mixers, and what mixers are made of: linear maps, norms, MLPs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derailleur.kernels import compiled_serves, linear, rms_norm, silu_product

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig


class Linear(nn.Linear):
    """x W^T + b, compiled in inference on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def halve_weights(module: nn.Module) -> None:
    """Keep the weights of linear maps and embeddings in bfloat16; all else, and what flows, stays float32.

    On a CPU tokens wait for weights to be read; norms, attention and states gain nothing by fewer bits.
    """
    for part in module.modules():
        if isinstance(part, Linear | nn.Embedding):
            part.weight.data = part.weight.data.bfloat16()  # weights that are shared stay shared


class RmsNorm(nn.Module):
    """Root mean square norm over the last dimension."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if compiled_serves(x) and compiled_serves(self.weight):
            return rms_norm(x, self.weight, self.eps)
        if x.device.type == "cpu" and torch.is_grad_enabled():
            normed: Tensor = _RmsNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return normed
        # Same dtype on both sides keeps the fused kernel under autocast.
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class _RmsNorm(torch.autograd.Function):
    """The norm with its gradient written out: on a CPU autograd takes it apart into a dozen passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_().to(x.dtype)
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


class LayerNorm(nn.Module):
    """Mean and variance norm over the last dimension, with bias."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class GatedMlp(nn.Module):
    """down(act(gate(x)) * up(x))."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: str, *, bias: bool) -> None:
        super().__init__()
        self.gate_proj = Linear(hidden_size, intermediate_size, bias=bias)
        self.up_proj = Linear(hidden_size, intermediate_size, bias=bias)
        self.down_proj = Linear(intermediate_size, hidden_size, bias=bias)
        self.activate = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        if self.activate is F.silu and compiled_serves(gate):
            return self.down_proj(silu_product(gate, up))
        return self.down_proj(self.activate(gate) * up)


class PlainMlp(nn.Module):
    """down(act(up(x)))."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: str, *, bias: bool) -> None:
        super().__init__()
        self.up_proj = Linear(hidden_size, intermediate_size, bias=bias)
        self.down_proj = Linear(intermediate_size, hidden_size, bias=bias)
        self.activate = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activate(self.up_proj(x)))


def build_norm(config: DecoderConfig) -> RmsNorm | LayerNorm:
    """A norm of the residual stream."""
    if config.norm == "rms":
        return RmsNorm(config.hidden_size, config.norm_eps)
    return LayerNorm(config.hidden_size, config.norm_eps)


def build_mlp(config: DecoderConfig) -> GatedMlp | PlainMlp:
    """A layer's MLP, with random weights."""
    sizes = config.hidden_size, config.intermediate_size
    if config.mlp == "gated":
        return GatedMlp(*sizes, config.activation, bias=config.mlp_bias)
    return PlainMlp(*sizes, config.activation, bias=config.mlp_bias)
