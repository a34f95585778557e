"""Rotary positions (RoPE, arXiv:2104.09864): the table of cosines and sines, and how frequencies are
rescaled to reach beyond the context that a model was first trained on.

A frequency is an angle per token, in radians; a head of `head_dim` channels has `head_dim / 2` of them,
theta^(-2 i / head_dim). The scalings compute what transformers computes for the same settings.
"""

import math
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from derailleur.config import Config
from derailleur.kernels import compiled_serves, rotate


class LinearScaling(Config):
    """Positions divided by a factor (arXiv:2306.15595)."""

    kind: Literal["linear"] = Field("linear", description="Every frequency is divided alike.")
    factor: float = Field(ge=1, description="Longer context over trained context.")

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by."""
        return 1.0

    def scale(self, frequencies: Tensor, theta: float) -> Tensor:
        """[head_dim / 2] -> the same, radians per token."""
        return frequencies / self.factor


class Llama3Scaling(Config):
    """Low frequencies divided by a factor, high ones kept, a linear passage between (Llama 3.1)."""

    kind: Literal["llama3"] = Field("llama3", description="By wavelength.")
    factor: float = Field(ge=1, description="Longer context over trained context.")
    original_max_positions: int = Field(gt=0, description="The context before scaling, tokens.")
    low_freq_factor: float = Field(
        1.0, gt=0, description="Waves longer than the original context over this are divided."
    )
    high_freq_factor: float = Field(
        4.0, gt=0, description="Waves shorter than the original context over this are kept."
    )

    @model_validator(mode="after")
    def _passage_has_a_width(self) -> "Llama3Scaling":
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor {self.high_freq_factor} is not above "
                f"low_freq_factor {self.low_freq_factor}"
            )
        return self

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by."""
        return 1.0

    def scale(self, frequencies: Tensor, theta: float) -> Tensor:
        """[head_dim / 2] -> the same, radians per token."""
        waves = self.original_max_positions * frequencies / (2 * math.pi)  # that fit the original context
        kept = (waves - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = kept.clamp(0, 1)
        return kept * frequencies + (1 - kept) * frequencies / self.factor


class YarnScaling(Config):
    """YaRN (arXiv:2309.00071, section 3.2): frequencies divided from one channel on, attention sharpened."""

    kind: Literal["yarn"] = Field("yarn", description="By the number of turns in the original context.")
    factor: float = Field(ge=1, description="Longer context over trained context.")
    original_max_positions: int = Field(gt=0, description="The context before scaling, tokens.")
    attention_factor: float | None = Field(
        None, gt=0, description="Of cosines and sines; 0.1 ln(factor) + 1 if absent."
    )
    beta_fast: float = Field(32.0, gt=0, description="Channels with more turns than this are kept.")
    beta_slow: float = Field(1.0, gt=0, description="Channels with fewer turns than this are divided.")
    truncate: bool = Field(True, description="Round the ends of the passage outwards to whole channels.")

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by: sqrt(1/t) of the paper."""
        return yarn_magnitude(self.factor) if self.attention_factor is None else self.attention_factor

    def scale(self, frequencies: Tensor, theta: float) -> Tensor:
        """[head_dim / 2] -> the same, radians per token."""
        count = frequencies.shape[0]
        first, last = (self._channel(turns, count, theta) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        # The released formula bounds the passage by the channels of the head, not by its frequencies.
        first, last = max(first, 0), min(last, 2 * count - 1)
        width = last - first or 0.001
        channels = torch.arange(count, device=frequencies.device, dtype=torch.float32)
        kept = 1 - ((channels - first) / width).clamp(0, 1)
        return kept * frequencies + (1 - kept) * frequencies / self.factor

    def _channel(self, turns: float, count: int, theta: float) -> float:
        """The (fractional) channel whose wave turns that often in the original context."""
        return count * math.log(self.original_max_positions / (turns * 2 * math.pi)) / math.log(theta)


def yarn_magnitude(factor: float, scale: float = 1.0) -> float:
    """0.1 scale ln(factor) + 1 (YaRN, eq. 22, at scale 1)."""
    return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0


RopeScaling = Annotated[LinearScaling | Llama3Scaling | YarnScaling, Field(discriminator="kind")]


class Rotary(NamedTuple):
    """Cosines and sines of the tokens' positions: [seq, head_dim] or [batch, seq, head_dim].

    They have no channels where positions are not rotary.
    """

    cos: Tensor
    sin: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Rotate x [batch, seq, heads, head_dim] in the two-halves convention of Llama."""
        if self.cos.shape[-1] == 0:
            return x
        if compiled_serves(x) and compiled_serves(self.cos):
            return rotate(x, self.cos, self.sin)
        cos, sin = self.cos.unsqueeze(-2).to(x.dtype), self.sin.unsqueeze(-2).to(x.dtype)
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin


class RotaryTable(nn.Module):
    """Cosines and sines by position, grown on demand; never part of a checkpoint.

    Args:
        head_dim: channels of a head; 0 makes a table that rotates nothing.
        theta: base of the frequencies.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> None:
        super().__init__()
        self.head_dim, self.theta, self.scaling = head_dim, theta, scaling
        # On the CPU even where the decoder is built without memory: the table is not loaded later.
        nothing = torch.empty(0, head_dim, device="cpu")
        self.register_buffer("cos", nothing, persistent=False)
        self.register_buffer("sin", nothing.clone(), persistent=False)

    def sequence(self, length: int) -> Rotary:
        """Positions 0 .. length - 1: [length, head_dim]."""
        self.reserve(length)
        return Rotary(self.cos[:length], self.sin[:length])

    def at(self, positions: Tensor, max_position: int) -> Rotary:
        """Any positions [seq] or [batch, seq]: [..., head_dim]."""
        self.reserve(max_position + 1)
        return Rotary(self.cos[positions], self.sin[positions])

    def reserve(self, length: int) -> None:
        """Have the positions 0 .. length - 1."""
        if length <= self.cos.shape[0]:
            return
        length = 1 << max(length - 1, 255).bit_length()
        frequencies, magnitude = self._frequencies()
        angles = torch.outer(torch.arange(length, device=self.cos.device, dtype=torch.float32), frequencies)
        angles = torch.cat([angles, angles], -1)
        self.cos, self.sin = angles.cos() * magnitude, angles.sin() * magnitude

    def _frequencies(self) -> tuple[Tensor, float]:
        channels = torch.arange(0, self.head_dim, 2, device=self.cos.device, dtype=torch.float32)
        frequencies = 1 / self.theta ** (channels / self.head_dim)
        if self.scaling is None:
            return frequencies, 1.0
        return self.scaling.scale(frequencies, self.theta), self.scaling.magnitude
