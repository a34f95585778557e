"""The decoder: a stack of layers, each with a bank of mixers of which a placement picks one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from derailleur.errors import PlacementError
from derailleur.model.config import DecoderConfig
from derailleur.model.layers import GatedMlp, RmsNorm, RotaryTable
from derailleur.model.mixers import Mixer, build_mixer
from derailleur.model.mixers.base import Rotary
from derailleur.placement import MIXER_NAMES, Placement


@dataclass(frozen=True)
class DecoderOutput:
    """What a forward pass gives.

    Attributes:
        logits: [batch, seq, vocab].
        mixer_inputs, mixer_outputs: one [batch, seq, hidden] a layer, if they were asked for.
    """

    logits: Tensor
    mixer_inputs: list[Tensor] = field(default_factory=list)
    mixer_outputs: list[Tensor] = field(default_factory=list)


class DecoderLayer(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.mixers = nn.ModuleDict(
            {MIXER_NAMES[letter]: build_mixer(letter, config) for letter in config.mixers.letters}
        )
        self.post_norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.mlp = GatedMlp(config.hidden_size, config.intermediate_size)

    def mixer(self, letter: str) -> Mixer:
        """The mixer of a letter.

        Raises:
            PlacementError: if the layer's bank does not have it.
        """
        name = MIXER_NAMES[letter]
        if name not in self.mixers:
            raise PlacementError(f"mixer '{letter}' is not in this model; it has {', '.join(self.mixers)}")
        mixer = self.mixers[name]
        assert isinstance(mixer, Mixer)
        return mixer


class Decoder(nn.Module):
    """A teacher (full attention alone) or a supernet (several mixers in every layer)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.norm = RmsNorm(config.hidden_size, config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embed.weight
        self.rotary = RotaryTable(config.head_dim, config.rope_theta)

    @property
    def full_placement(self) -> Placement:
        """Full attention in every layer: the teacher."""
        return Placement.uniform("F", self.config.num_layers)

    def reset_parameters(self, seed: int) -> None:
        """Random weights from a seed: normal with the usual 1/sqrt(2 layers) on residual outputs."""
        generator = torch.Generator().manual_seed(seed)
        residual = 0.02 * (2 * self.config.num_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                into_residual = name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=residual if into_residual else 0.02, generator=generator)

    def forward(
        self, tokens: Tensor, placement: Placement | None = None, *, collect: bool = False
    ) -> DecoderOutput:
        """Next-token logits of whole sequences that start at position 0.

        Args:
            tokens: [batch, seq] int64.
            placement: one mixer per layer; full attention everywhere if None.
            collect: also give every layer's mixer input and output.
        """
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        hidden = self.hidden(tokens, placement, collect=(inputs, outputs) if collect else None)
        return DecoderOutput(self.head(hidden), inputs, outputs)

    def hidden(
        self,
        tokens: Tensor,
        placement: Placement | None = None,
        *,
        collect: tuple[list[Tensor], list[Tensor]] | None = None,
    ) -> Tensor:
        """The final normed hidden states [batch, seq, hidden], from which `logits` computes logits."""
        placement = self.full_placement if placement is None else placement
        if len(placement) != len(self.layers):
            raise PlacementError(
                f"placement '{placement}' has {len(placement)} layers, not {len(self.layers)}"
            )
        x = self.embed(tokens)
        rotary: Rotary = self.rotary.sequence(tokens.shape[1])
        for layer, letter in zip(self.layers, placement, strict=True):
            assert isinstance(layer, DecoderLayer)
            normed = layer.input_norm(x)
            mixed = layer.mixer(letter)(normed, rotary)
            if collect is not None:
                collect[0].append(normed)
                collect[1].append(mixed)
            x = x + mixed
            x = x + layer.mlp(layer.post_norm(x))
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] -> [..., vocab]."""
        return self.head(hidden)
