"""Surgery: the weights of new mixers, taken from a teacher's attention, without any data.

Each mixer knows how to start (`Mixer.take_over`): sliding windows copy the attention, GDN and KDA become
the linear attention that its weights describe (`mixers/linearise.py`). What weights alone do not say is
read off the teacher on tokens that it makes up itself, which serve as well as text: how large queries,
keys and values are, how large a layer's output is, and along which direction its inputs are nearly
constant.
"""

import torch
from torch import Tensor

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.model.config import DecoderConfig, MixersConfig
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers.attention import Attention
from derailleur.model.mixers.base import TeacherLayer

_NUM_SEQUENCES, _SEQUENCE_TOKENS = 8, 256
_ROUNDS = 2
"""How often tokens are redrawn, all at once; without it the inputs of the first layers are not text's."""

_RIDGE = 0.01
"""Of the inputs' mean square, so that few tokens and many channels still have one solution."""


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
            attention = layer.mixer("F")
            assert isinstance(attention, Attention)
            sample = TeacherLayer(attention, x, y, rotary, _constant(x.flatten(0, 1)))
            for letter in mixers.letters.replace("F", ""):
                layer.mixer(letter).take_over(sample)
    return supernet


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


def _constant(x: Tensor) -> Tensor:
    """The direction [hidden] on which inputs [tokens, hidden] project nearest to 1: a bias in weights."""
    mean = x.mean(0)
    moments = x.T @ x / len(x)
    moments.diagonal().add_(_RIDGE * moments.diagonal().mean())
    direction = torch.linalg.solve(moments, mean)
    return direction / (direction @ mean)
