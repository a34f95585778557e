"""Surgery: the weights of new mixers, taken from a teacher's attention, without any data.

Sliding windows copy the attention. GDN (DIL) and KDA (KIL) start as the linear attention that its
weights describe: heads paired as grouped attention pairs them, decays spread over time scales, and an
open output gate, so that no mixer begins by printing zeros.

What weights alone do not say is read off the teacher on tokens that it makes up itself, which serve as
well as text: how large queries, keys and values are, how large a layer's output is, and along which
direction its inputs are nearly constant. Recurrent mixers have few biases or none; weights along that
direction stand in for them.
"""

import math

import torch
from torch import Tensor, nn

from derailleur.config import validate
from derailleur.errors import CheckpointError, ConfigError
from derailleur.model.config import DecoderConfig, MixersConfig
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers.attention import Attention
from derailleur.model.mixers.gdn import Gdn
from derailleur.model.mixers.kda import Kda
from derailleur.model.mixers.recurrent import RecurrentMixer, inverse_softplus
from derailleur.model.rotary import Rotary

_NUM_SEQUENCES, _SEQUENCE_TOKENS = 8, 256
_ROUNDS = 2
"""How often tokens are redrawn, all at once; without it the inputs of the first layers are not text's."""

_RIDGE = 0.01
"""Of the inputs' mean square, so that few tokens and many channels still have one solution."""

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


def add_mixers(teacher: Decoder, mixers: MixersConfig, *, seed: int) -> Decoder:
    """A supernet with the teacher's weights and, in every layer, the mixers of `mixers`.

    Args:
        teacher: a decoder whose only mixer is full attention.
        mixers: its full attention is not read; that of the teacher stays.
        seed: for the random tokens and the few weights that have no counterpart in the teacher.

    Raises:
        CheckpointError: if the teacher already has other mixers.
        ConfigError: if a mixer's heads do not fit the teacher's.
    """
    if teacher.config.mixers.letters != "F":
        raise CheckpointError(
            f"surgery: expected a teacher with mixer F alone, got {teacher.config.mixers.letters}"
        )
    mixers = mixers.model_copy(update={"F": teacher.config.mixers.F})
    _check_head_dim(mixers, teacher.config.head_dim)
    changes = {"mixers": mixers, "banks": None}
    supernet = Decoder(validate(DecoderConfig, {**dict(teacher.config), **changes}, source="surgery"))
    supernet.reset_parameters(seed)
    supernet.load_state_dict(teacher.state_dict(), strict=False)
    with torch.no_grad():
        tokens = _dreamt_tokens(supernet, seed)
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        supernet.hidden(tokens, collect=(inputs, outputs))
        rotary = supernet.rotary.sequence(tokens.shape[1])
        for layer, x, y in zip(supernet.layers, inputs, outputs, strict=True):
            assert isinstance(layer, DecoderLayer)
            _operate(layer, mixers.letters, x, y, rotary)
    return supernet


def _check_head_dim(mixers: MixersConfig, head_dim: int) -> None:
    for letter, settings in (("K", mixers.K), ("G", mixers.G)):
        if settings is not None and settings.head_dim not in (None, head_dim):
            raise ConfigError(
                f"mixers.{letter}.head_dim: surgery takes each head from the attention's, which are "
                f"{head_dim} wide, got {settings.head_dim}; leave it out"
            )


def _dreamt_tokens(decoder: Decoder, seed: int) -> Tensor:
    """[batch, seq] that the teacher finds likely: random tokens, redrawn from its own predictions."""
    device = decoder.embed.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    shape = _NUM_SEQUENCES, min(_SEQUENCE_TOKENS, decoder.config.max_positions)
    tokens = torch.randint(decoder.config.vocab_size, shape, generator=generator, device=device)
    for _ in range(_ROUNDS):
        hidden = decoder.hidden(tokens)
        for row, states in zip(tokens, hidden, strict=True):
            drawn = torch.multinomial(decoder.logits(states).float().softmax(-1), 1, generator=generator)
            row[1:] = drawn[:-1, 0]
    return tokens


def _operate(layer: DecoderLayer, letters: str, x: Tensor, wanted: Tensor, rotary: Rotary) -> None:
    attention = layer.mixer("F")
    assert isinstance(attention, Attention)
    one = _constant(x.flatten(0, 1))
    for letter in letters.replace("F", ""):
        mixer = layer.mixer(letter)
        if isinstance(mixer, Attention):
            mixer.load_state_dict(attention.state_dict())
        elif isinstance(mixer, RecurrentMixer):
            _take_heads(mixer, attention, one)
            _pass_current_token(mixer, x)
            _open_gate(mixer, one)
            _set_write_strength(mixer, one)
            _spread_decays(mixer, attention.window)
            _fit_scale(mixer(x, rotary), wanted, mixer.norm.weight)


def _constant(x: Tensor) -> Tensor:
    """The direction [hidden] on which inputs [tokens, hidden] project nearest to 1: a bias in weights."""
    mean = x.mean(0)
    moments = x.T @ x / len(x)
    moments.diagonal().add_(_RIDGE * moments.diagonal().mean())
    direction = torch.linalg.solve(moments, mean)
    return direction / (direction @ mean)


def _take_heads(mixer: RecurrentMixer, attention: Attention, one: Tensor) -> None:
    """Queries, keys, values and the output projection, each new head from those in whose place it stands.

    The keys' bias is left: it adds the same to all scores of a query, which softmax does not see.
    """
    heads, kv_heads, dim = attention.num_heads, attention.num_kv_heads, attention.head_dim
    q, k, v = _with_bias(attention.q_proj, one), attention.k_proj.weight, _with_bias(attention.v_proj, one)
    if attention.q_norm is not None and attention.k_norm is not None:
        q, k = _scale_channels(q, attention.q_norm.weight), _scale_channels(k, attention.k_norm.weight)
    projection = mixer.in_proj_qkvz if isinstance(mixer, Gdn) else mixer.in_proj_qkv
    assert isinstance(projection, nn.Linear)
    projection.weight[: mixer.qkv_size] = torch.cat(
        [
            _mean_heads(q, dim, _overlaps(mixer.num_key_heads, heads)),
            _mean_heads(k, dim, _overlaps(mixer.num_key_heads, kv_heads)),
            _mean_heads(v, dim, _overlaps(mixer.num_value_heads, kv_heads)),
        ]
    )
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
    elif isinstance(mixer, Gdn):
        mixer.in_proj_qkvz.weight[mixer.qkv_size :] += _OPEN_GATE * one
    elif isinstance(mixer, Kda):
        mixer.in_proj_fgb.weight[mixer.head_dim] = one  # the first of the gate's inner channels
        mixer.g_proj.weight[:, 0] = _OPEN_GATE


def _set_write_strength(mixer: RecurrentMixer, one: Tensor) -> None:
    """max_write * sigmoid(...) = 1/2: nothing to do unless eigenvalues may be negative."""
    logit = math.log(_WRITE_STRENGTH / (mixer.max_write - _WRITE_STRENGTH))
    if isinstance(mixer, Gdn):
        mixer.in_proj_ba.weight[: mixer.num_value_heads] += logit * one
    elif isinstance(mixer, Kda):
        mixer.in_proj_fgb.weight[2 * mixer.head_dim :] += logit * one


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
