"""The decoder: a stack of layers, each with a bank of mixers of which a placement picks one."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from derailleur.errors import CapacityError, PlacementError
from derailleur.kernels import document_positions
from derailleur.model.config import DecoderConfig
from derailleur.model.layers import Linear, build_mlp, build_norm
from derailleur.model.mixers import Mixer, build_mixer
from derailleur.model.rotary import Rotary, RotaryTable
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

    def __init__(self, config: DecoderConfig, index: int) -> None:
        super().__init__()
        self.input_norm = build_norm(config)
        self.mixers = nn.ModuleDict(
            {MIXER_NAMES[letter]: build_mixer(letter, config, index) for letter in config.bank(index)}
        )
        self.post_norm = build_norm(config)
        self.mlp = build_mlp(config)

    def mixer(self, letter: str) -> Mixer:
        """The mixer of a letter.

        Raises:
            PlacementError: if the layer's bank does not have it.
        """
        name = MIXER_NAMES[letter]
        if name not in self.mixers:
            raise PlacementError(f"mixer '{letter}' is not in this layer; it has {', '.join(self.mixers)}")
        mixer = self.mixers[name]
        assert isinstance(mixer, Mixer)
        return mixer


class Decoder(nn.Module):
    """A teacher (full attention alone) or a supernet (several mixers in every layer)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        learned, rotary = config.positions == "learned", config.positions == "rotary"
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embed = nn.Embedding(config.max_positions, config.hidden_size) if learned else None
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.num_layers))
        self.norm = build_norm(config)
        self.head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embed.weight
        self.rotary = RotaryTable(config.head_dim if rotary else 0, config.rope_theta, config.rope_scaling)

    @property
    def full_placement(self) -> Placement:
        """Full attention, the teacher's, in every layer that has it; else the first mixer of its bank."""
        return self.config.full_placement

    @property
    def dtype(self) -> torch.dtype:
        """Of activations and states; on a CPU the weights of linear maps may have fewer bits."""
        return self.norm.weight.dtype

    def reset_parameters(self, seed: int) -> None:
        """Random weights from a seed alone: normal, times 1/sqrt(2 layers) on residual outputs; no biases."""
        generator = torch.Generator().manual_seed(seed)
        residual = 0.02 * (2 * self.config.num_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                into_residual = name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=residual if into_residual else 0.02, generator=generator)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)
        for module in self.modules():
            if isinstance(module, Mixer):
                module.reset_parameters(generator)

    def forward(
        self,
        tokens: Tensor,
        placement: Placement | None = None,
        *,
        cu_seqlens: Tensor | None = None,
        collect: bool = False,
    ) -> DecoderOutput:
        """Next-token logits of whole sequences.

        Args:
            tokens: [batch, seq] int64; every row starts at position 0.
            placement: one mixer per layer; full attention everywhere if None.
            cu_seqlens: [documents + 1] int64, from 0 to seq: where the documents in a single row begin.
                Positions start anew in each, and nothing of one reaches the next.
            collect: also give every layer's mixer input and output.
        """
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        collected = (inputs, outputs) if collect else None
        hidden = self.hidden(tokens, placement, cu_seqlens=cu_seqlens, collect=collected)
        return DecoderOutput(self.head(hidden), inputs, outputs)

    def hidden(
        self,
        tokens: Tensor,
        placement: Placement | None = None,
        *,
        cu_seqlens: Tensor | None = None,
        collect: tuple[list[Tensor], list[Tensor]] | None = None,
    ) -> Tensor:
        """The final normed hidden states [batch, seq, hidden], from which `logits` computes logits."""
        placement = self.full_placement if placement is None else placement
        if len(placement) != len(self.layers):
            raise PlacementError(
                f"placement '{placement}' has {len(placement)} layers, not {len(self.layers)}"
            )
        positions, rotary = self._place(tokens, cu_seqlens)
        x = self.embed_tokens(tokens, positions)
        for layer, letter in zip(self.layers, placement, strict=True):
            assert isinstance(layer, DecoderLayer)
            normed = layer.input_norm(x)
            mixed = layer.mixer(letter)(normed, rotary, cu_seqlens)
            if collect is not None:
                collect[0].append(normed)
                collect[1].append(mixed)
            x = x + mixed
            x = x + layer.mlp(layer.post_norm(x))
        return self.norm(x)

    def embed_tokens(self, tokens: Tensor, positions: Tensor | None) -> Tensor:
        """Embeddings [..., hidden] of tokens at their positions, which matter where they are learned.

        Args:
            tokens: int64 of any shape.
            positions: int64 that broadcasts to it, all below `max_positions`; needed where they are learned.
        """
        x = self.embed(tokens).to(self.dtype)
        if self.position_embed is None:
            return x
        assert positions is not None
        embedded: Tensor = x + self.position_embed(positions)
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] -> [..., vocab]."""
        return self.head(hidden)

    def check_positions(self, length: int) -> None:
        """Refuse a sequence that learned positions do not reach; rotary ones go on for ever.

        Raises:
            CapacityError: if it is too long.
        """
        limit = self.config.max_positions
        if self.position_embed is not None and length > limit:
            raise CapacityError(f"{length} tokens are too many: the model's learned positions end at {limit}")

    def _place(self, tokens: Tensor, cu_seqlens: Tensor | None) -> tuple[Tensor, Rotary]:
        """Positions [seq] of the tokens [batch, seq], and their rotations."""
        if cu_seqlens is None:
            length = tokens.shape[1]
            self.check_positions(length)
            return torch.arange(length, device=tokens.device), self.rotary.sequence(length)
        positions = document_positions(tokens, cu_seqlens)
        last = int(positions.max())
        self.check_positions(last + 1)
        return positions, self.rotary.at(positions, last)
