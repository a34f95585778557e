"""Distillation: a teacher becomes a supernet whose mixers stand in for its attention, in any placement.

Surgery, then local alignment (`alignment.py`), then stochastic distillation: one placement a step, and the
student is drawn to the teacher's mixer outputs and next-token distribution. Only mixers learn. Full
attention stays frozen by default, so the supernet with full attention everywhere *is* the teacher.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, create_model, model_validator
from torch import Tensor

from derailleur.config import Config
from derailleur.io import Progress, silent
from derailleur.model import (
    Decoder,
    MixersConfig,
    SlidingWindowConfig,
    add_mixers,
    model_folder,
    settings_of_mixers,
)
from derailleur.placement import MIXER_NAMES, Placement
from derailleur.training import stage
from derailleur.training.alignment import AlignmentConfig, LocalAlignment
from derailleur.training.data import Batch, TrainingData
from derailleur.training.losses import KlDivergence, cross_entropy, kl_divergence, relative_distance
from derailleur.training.precision import choose_device
from derailleur.training.sampling import PlacementSampler, SamplingConfig
from derailleur.training.trainer import Measured, Phase, PhaseConfig, TrainerConfig

VERSION = 2

_FIELDS: dict[str, Any] = {
    letter: (settings | None, settings())
    for letter, settings in settings_of_mixers().items()
    if letter != "F"
}
_Bank: Any = create_model("_Bank", __base__=Config, **_FIELDS)


class BankConfig(_Bank):
    """The mixers that every layer gets beside full attention, by letter; null leaves one out."""

    S: SlidingWindowConfig | None = Field(
        SlidingWindowConfig(window_tokens=256),
        description="well under most contexts: a window as long as the context is full attention again",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "BankConfig":
        if not any(dict(self).values()):
            raise ValueError("no mixer is left beside full attention")
        return self

    def with_full_attention(self) -> MixersConfig:
        """The whole bank."""
        return MixersConfig(**dict(self))


class StochasticConfig(PhaseConfig):
    """Stochastic distillation: which placements, and what the student is held to."""

    sampling: SamplingConfig = SamplingConfig()
    activation_weight: float = Field(
        0.5, ge=0, description="of the mixer outputs' relative distances, summed over layers"
    )
    reverse_kl_weight: float = Field(1.0, ge=0, description="of KL(student || teacher)")
    forward_kl_weight: float = Field(1.0, ge=0, description="of KL(teacher || student)")


class DistillConfig(TrainerConfig):
    """Surgery, local alignment, stochastic distillation."""

    mixers: BankConfig = BankConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    stochastic: StochasticConfig = StochasticConfig()
    train_full_attention: bool = Field(
        False, description="full attention learns too, held to a frozen copy of the teacher"
    )


@dataclass(frozen=True)
class Pass:
    """What a decoder makes of a batch at some placement.

    Attributes:
        hidden: [batch, seq, hidden_size], after the final norm.
        mixer_outputs: one [batch, seq, hidden_size] a layer.
    """

    hidden: Tensor
    mixer_outputs: list[Tensor]

    @classmethod
    def of(cls, decoder: Decoder, tokens: Tensor, placement: Placement | None = None) -> "Pass":
        """Run a decoder; full attention everywhere if no placement is given."""
        outputs: list[Tensor] = []
        return cls(decoder.hidden(tokens, placement, collect=([], outputs)), outputs)


@dataclass(frozen=True)
class StochasticDistillation:
    """activation_weight * distances, summed over layers, + the weighted KL divergences in both directions.

    Attributes:
        decoder: the supernet.
        teacher: the same decoder, which with full attention is the teacher, or a copy of the teacher.
    """

    decoder: Decoder
    teacher: Decoder
    config: StochasticConfig
    sampler: PlacementSampler

    def train(self, batch: Batch, step: int) -> Measured:
        """The loss at the step's placement, and how far off each layer's and each mixer's output is."""
        placement = self.sampler.sample(step)
        with torch.no_grad():
            teacher = Pass.of(self.teacher, batch.tokens)
        loss, distances, kl = self._compare(Pass.of(self.decoder, batch.tokens, placement), teacher, batch)
        metrics = {"reverse_kl": kl.reverse, "forward_kl": kl.forward, "layer_loss": distances}
        for letter in sorted(set(placement)):
            own = [letter == other for other in placement]
            metrics[f"mixer_loss.{MIXER_NAMES[letter]}"] = distances[own].mean()
        return Measured(loss, metrics)

    def heldout(self, batch: Batch) -> Measured:
        """The mean loss over the placements with one learning mixer in every layer, and what each gives."""
        teacher = Pass.of(self.teacher, batch.tokens)
        metrics = {"all-fa.loss": self._next_token_loss(teacher, batch)}
        losses = []
        for letter in sorted(self.sampler.learning - {"F"}):
            placement = Placement.uniform(letter, self.decoder.config.num_layers)
            student = Pass.of(self.decoder, batch.tokens, placement)
            loss, _, kl = self._compare(student, teacher, batch)
            losses.append(loss)
            name = f"all-{MIXER_NAMES[letter]}"
            metrics[f"{name}.loss"] = self._next_token_loss(student, batch)
            metrics |= {f"{name}.reverse_kl": kl.reverse, f"{name}.forward_kl": kl.forward}
        return Measured(torch.stack(losses).mean(), metrics)

    def notes(self, step: int) -> dict[str, Any]:
        """The placement."""
        return {"placement": str(self.sampler.sample(step))}

    def _compare(self, student: Pass, teacher: Pass, batch: Batch) -> tuple[Tensor, Tensor, KlDivergence]:
        pairs = zip(student.mixer_outputs, teacher.mixer_outputs, strict=True)
        distances = torch.stack([relative_distance(ours, theirs, batch.mask) for ours, theirs in pairs])
        kl = kl_divergence(
            self.decoder.head,
            student.hidden,
            self.teacher.head,
            teacher.hidden,
            batch.mask,
            reverse_weight=self.config.reverse_kl_weight,
            forward_weight=self.config.forward_kl_weight,
        )
        return self.config.activation_weight * distances.sum() + kl.loss, distances, kl

    def _next_token_loss(self, made: Pass, batch: Batch) -> Tensor:
        return cross_entropy(self.decoder.head, made.hidden, batch.targets, batch.mask)


def distill(
    config: DistillConfig, teacher: Path, tokens: Path, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Turn a teacher into a supernet.

    Args:
        teacher: a model folder, or the folder of the stage that made it.
        tokens: a folder that `tokenize` wrote with the teacher's vocabulary.

    Returns:
        Steps, tokens, parameters, and the losses on held-out text, also by placement.
    """
    results = stage.finished(out)
    if results is not None:
        return results
    data = TrainingData(tokens, config.data, choose_device(config.device))
    original = stage.load_decoder(teacher, data)
    supernet = add_mixers(original, config.mixers.with_full_attention(), seed=config.seed)
    letters = supernet.config.mixers.letters
    new = letters.replace("F", "")
    learning = letters if config.train_full_attention else new
    stage.learn_only(supernet, learning)
    # With its full attention frozen the supernet holds the teacher; no second copy is needed.
    reference = original.requires_grad_(False).to(data.device) if config.train_full_attention else supernet
    sampler = PlacementSampler(
        config.stochastic.sampling,
        num_layers=supernet.config.num_layers,
        letters=letters,
        learning=learning,
        seed=config.seed,
    )
    phases = [
        Phase("align", config.alignment, LocalAlignment(supernet, reference, new)),
        Phase(
            "stochastic",
            config.stochastic,
            StochasticDistillation(supernet, reference, config.stochastic, sampler),
        ),
    ]
    source = model_folder(teacher)
    return stage.train(supernet, phases, data, config, out, tokenizer_from=source, progress=progress)
