"""Surgery: the weights of new mixers, taken from a teacher's attention.

Sliding windows copy the attention. GDN and KDA start as the linear attention that its weights describe:
each query head keeps its own queries and is given the key-value head that grouped attention pairs it
with (head h reads key-value head h // group). The convolution passes the current token, the decays
spread over time scales, and the output gate starts open, so that no mixer begins by printing zeros.
"""

import math

import torch
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.model.config import MixersConfig
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers.attention import Attention
from derailleur.model.mixers.gdn import Gdn
from derailleur.model.mixers.recurrent import RecurrentMixer, inverse_softplus

_FASTEST_DECAY = 1 / 8
_SLOWEST_DECAY = 1 / 1024
"""Log decay per token of the fastest and slowest channel: memories of 8 to 1,024 tokens."""

_AVERAGED_SHARE = 0.3
"""Of one value's scale. On a small trained teacher a layer's first output is then 0.84 to 1.10 of the
teacher's norm away from the teacher's, against 1.45 at the full scale; silence would be 1."""

_OPEN_GATE = {"silu": 1.2784645, "sigmoid": 4.0}
"""The pre-activation at which the gate is 1 (silu) or nearly so (sigmoid)."""


def add_mixers(teacher: Decoder, mixers: MixersConfig, *, seed: int) -> Decoder:
    """A supernet with the teacher's weights and, in every layer, the mixers of `mixers`.

    Args:
        teacher: a decoder whose only mixer is full attention.
        seed: for the few weights that have no counterpart in the teacher.

    Raises:
        CheckpointError: if the teacher already has other mixers.
    """
    if teacher.config.mixers.letters != "F":
        raise CheckpointError(
            f"surgery: expected a teacher with mixer F alone, got {teacher.config.mixers.letters}"
        )
    supernet = Decoder(teacher.config.model_copy(update={"mixers": mixers}))
    supernet.reset_parameters(seed)
    supernet.load_state_dict(teacher.state_dict(), strict=False)
    with torch.no_grad():
        for layer in supernet.layers:
            assert isinstance(layer, DecoderLayer)
            _operate(layer, mixers.letters)
    return supernet


def _operate(layer: DecoderLayer, letters: str) -> None:
    attention = layer.mixer("F")
    assert isinstance(attention, Attention)
    for letter in letters.replace("F", ""):
        mixer = layer.mixer(letter)
        if isinstance(mixer, Attention):
            mixer.load_state_dict(attention.state_dict())
        elif isinstance(mixer, RecurrentMixer):
            _from_attention(mixer, attention, layer.input_norm.weight)


def _from_attention(mixer: RecurrentMixer, attention: Attention, input_scale: Tensor) -> None:
    """Linearise attention: DIL for GDN, KIL for KDA."""
    group = attention.num_heads // attention.num_kv_heads
    q = attention.q_proj.weight
    k, v = (
        _per_query_head(x.weight, attention.head_dim, group) for x in (attention.k_proj, attention.v_proj)
    )
    qkv = mixer.in_proj_qkvz if isinstance(mixer, Gdn) else mixer.in_proj_qkv
    assert isinstance(qkv, torch.nn.Linear)
    qkv.weight[: mixer.qkv_size] = torch.cat([q, k, v])
    mixer.out_proj.weight.copy_(attention.o_proj.weight)
    mixer.convolution.weight.zero_()
    mixer.convolution.weight[..., -1] = 1
    # The output norm fixes each head's scale. Attention averages values, whose own scale is that of an
    # input of unit variance times the input norm's weights.
    value_scale = (v * input_scale).square().sum(-1).mean().sqrt()
    mixer.norm.weight.fill_(_AVERAGED_SHARE * value_scale)
    if mixer.gate_bias is not None:
        mixer.gate_bias.fill_(_OPEN_GATE[mixer.settings.gate_activation])
    mixer.A_log.zero_()
    rates_per_head = mixer.dt_bias.numel() // mixer.num_value_heads
    if rates_per_head == 1:
        mixer.dt_bias.copy_(inverse_softplus(_time_scales(mixer.num_value_heads)))
    else:
        mixer.dt_bias.copy_(inverse_softplus(_time_scales(rates_per_head)).repeat(mixer.num_value_heads))


def _per_query_head(weight: Tensor, head_dim: int, group: int) -> Tensor:
    """[kv_heads * head_dim, hidden] -> [heads * head_dim, hidden], as grouped attention pairs them."""
    return weight.unflatten(0, (-1, head_dim)).repeat_interleave(group, 0).flatten(0, 1)


def _time_scales(count: int) -> Tensor:
    """Decays spread evenly in their logarithm from the fastest to the slowest."""
    return torch.logspace(math.log10(_FASTEST_DECAY), math.log10(_SLOWEST_DECAY), count)
