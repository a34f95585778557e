"""A recurrent mixer starts as the linear attention that a teacher's attention weights describe.

DIL for GDN and KIL for KDA (Super Apriel, arXiv:2604.19877), with heads paired as grouped attention pairs
them, decays spread over time scales, and an open output gate, so that no mixer begins by printing zeros.
Recurrent mixers have few biases or none; weights along the direction on which the teacher's inputs are
nearly constant stand in for them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from derailleur.errors import ConfigError

if TYPE_CHECKING:
    from derailleur.model.mixers.attention import Attention
    from derailleur.model.mixers.base import TeacherLayer
    from derailleur.model.mixers.recurrent import RecurrentMixer

_PREACTIVATION = 0.1
"""Root mean square of what the convolution's SiLU is given: small, where silu(x) is nearly x / 2."""

_OPEN_GATE = 1.28
"""The output gate's pre-activation: silu is 1 there, sigmoid 0.78, and neither is flat."""

_WRITE_STRENGTH = 0.5

_FASTEST_DECAY = 1 / 8
_SLOWEST_DECAY = 1 / 256
"""Log decay per token of the fastest and slowest channel: memories of 8 to 256 tokens at first."""

_LEAST_OUTPUT = 0.25
"""Of the teacher's norm: what a mixer's output has at least, however little it agrees with it."""


def linearise(mixer: RecurrentMixer, teacher: TeacherLayer) -> None:
    """Set every weight of a mixer from a teacher's attention.

    Raises:
        ConfigError: if the mixer's heads are not as wide as the attention's.
    """
    attention = teacher.attention
    if mixer.head_dim != attention.head_dim:
        raise ConfigError(
            f"mixers.{mixer.letter}.head_dim: surgery takes each head from the attention's, which are "
            f"{attention.head_dim} wide, got {mixer.head_dim}; leave it out"
        )
    _take_heads(mixer, attention, teacher.constant)
    _pass_current_token(mixer, teacher.inputs)
    _open_gate(mixer, teacher.constant)
    _set_write_strength(mixer, teacher.constant)
    _spread_decays(mixer, attention.window)
    _fit_scale(mixer(teacher.inputs, teacher.rotary), teacher.outputs, mixer.norm.weight)


def inverse_softplus(x: Tensor) -> Tensor:
    """The y with softplus(y) = x."""
    return x + (-(-x).expm1()).log()


def _take_heads(mixer: RecurrentMixer, attention: Attention, one: Tensor) -> None:
    """Queries, keys, values and the output projection, each new head from those in whose place it stands.

    The keys' bias is left: it adds the same to all scores of a query, which softmax does not see.
    """
    heads, kv_heads, dim = attention.num_heads, attention.num_kv_heads, attention.head_dim
    q, k, v = _with_bias(attention.q_proj, one), attention.k_proj.weight, _with_bias(attention.v_proj, one)
    if attention.q_norm is not None and attention.k_norm is not None:
        q, k = _scale_channels(q, attention.q_norm.weight), _scale_channels(k, attention.k_norm.weight)
    taken = [
        _mean_heads(q, dim, _overlaps(mixer.num_key_heads, heads)),
        _mean_heads(k, dim, _overlaps(mixer.num_key_heads, kv_heads)),
        _mean_heads(v, dim, _overlaps(mixer.num_value_heads, kv_heads)),
    ]
    mixer.qkv_weight.copy_(torch.cat(taken))
    # Every old head's output is passed on once, shared by the new heads in its place.
    shares = _overlaps(mixer.num_value_heads, heads) / mixer.num_value_heads
    output = attention.o_proj.weight.unflatten(1, (heads, dim))
    mixer.out_proj.weight.copy_(torch.einsum("xjd,ij->xid", output, shares.to(output)).flatten(1))


def _with_bias(linear: nn.Linear, one: Tensor) -> Tensor:
    return linear.weight if linear.bias is None else linear.weight + torch.outer(linear.bias, one)


def _scale_channels(weight: Tensor, channels: Tensor) -> Tensor:
    """A norm's weights [head_dim] folded into rows [heads * head_dim, hidden]."""
    return (weight.unflatten(0, (-1, len(channels))) * channels.unsqueeze(-1)).flatten(0, 1)


def _mean_heads(weight: Tensor, head_dim: int, overlaps: Tensor) -> Tensor:
    """[others * head_dim, hidden] -> [count * head_dim, hidden], means over the heads that overlap.

    For queries of heads that share a key the mean is the least-squares stand-in: the mean of their scores.
    """
    shares = (overlaps / overlaps.sum(1, keepdim=True)).to(weight)
    return torch.einsum("ij,jdx->idx", shares, weight.unflatten(0, (-1, head_dim))).flatten(0, 1)


def _overlaps(count: int, others: int) -> Tensor:
    """[count, others]: one line cut into `count` and into `others` spans, and how far they overlap.

    Heads beside each other share a group, so this is how grouped attention pairs them: of 4 query heads
    over 2 key-value heads, 0 and 1 overlap the first. In units of 1 / (count * others) of the line: rows
    sum to `others`, columns to `count`.
    """
    ours, theirs = torch.arange(count).unsqueeze(1), torch.arange(others)
    begin = torch.maximum(ours * others, theirs * count)
    end = torch.minimum((ours + 1) * others, (theirs + 1) * count)
    return (end - begin).clamp_min(0)


def _pass_current_token(mixer: RecurrentMixer, x: Tensor) -> None:
    """The convolution's last tap alone, so small that SiLU hardly bends what passes; norms undo the scale."""
    sizes = [mixer.key_size, mixer.key_size, mixer.value_size]
    mixer.convolution.weight.zero_()
    for channels, seen in zip(
        mixer.convolution.weight.split(sizes), mixer.project(x).qkv.split(sizes, -1), strict=True
    ):
        channels[..., -1] = _PREACTIVATION / seen.square().mean().sqrt()


def _open_gate(mixer: RecurrentMixer, one: Tensor) -> None:
    if mixer.gate_bias is not None:
        mixer.gate_bias.fill_(_OPEN_GATE)
    else:
        mixer.open_gate(one, _OPEN_GATE)


def _set_write_strength(mixer: RecurrentMixer, one: Tensor) -> None:
    """max_write * sigmoid(...) = 1/2: nothing to do unless eigenvalues may be negative."""
    mixer.write_weight.add_(math.log(_WRITE_STRENGTH / (mixer.max_write - _WRITE_STRENGTH)) * one)


def _spread_decays(mixer: RecurrentMixer, window: int | None) -> None:
    """Evenly in their logarithm: over GDN's heads, over the channels of each head of KDA."""
    per_head = mixer.dt_bias.numel() // mixer.num_value_heads
    count = mixer.num_value_heads if per_head == 1 else per_head
    slowest = max(_SLOWEST_DECAY, 1 / window) if window else _SLOWEST_DECAY
    decays = torch.logspace(math.log10(_FASTEST_DECAY), math.log10(slowest), count)
    limit = mixer.decay_lower_bound and -mixer.decay_lower_bound
    bias = torch.logit(decays.clamp_max(limit / 2) / limit) if limit else inverse_softplus(decays)
    mixer.A_log.zero_()
    mixer.dt_bias.copy_(bias.repeat(mixer.dt_bias.numel() // count))


def _fit_scale(output: Tensor, wanted: Tensor, scale: Tensor) -> None:
    """Multiply `scale`, of the output's norm, by what brings the output nearest to what is wanted."""
    factor = (output * wanted).sum() / output.square().sum()
    scale.mul_(torch.maximum(factor, _LEAST_OUTPUT * wanted.norm() / output.norm()))
