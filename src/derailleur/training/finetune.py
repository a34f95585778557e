"""Fine-tuning: a supernet's mixers learn at chosen placements, by next-token loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from derailleur.io import Progress, silent
from derailleur.model import Decoder, model_folder
from derailleur.placement import Placement
from derailleur.training import stage
from derailleur.training.data import Batch, TrainingData
from derailleur.training.losses import cross_entropy, kl_divergence
from derailleur.training.precision import choose_device
from derailleur.training.sampling import PlacementProbability, PlacementSampler, SamplingConfig
from derailleur.training.trainer import Measured, Phase, PhaseConfig, TrainerConfig

VERSION = 1


class FinetuneConfig(TrainerConfig, PhaseConfig):
    """The placements to serve, and how they are trained."""

    placements: tuple[str, ...] = Field(
        ("all-swa", "all-kda", "all-gdn"),
        min_length=1,
        description="any spellings, e.g. [all-gdn, 2F 4G, FSKGFF]",
    )
    probabilities: tuple[float, ...] = Field(
        (), description="how often each placement is trained; sums to 1; equally often if empty"
    )
    kl_weight: float = Field(
        0.0, ge=0, description="of KL(full attention || placement), added to the next-token loss"
    )
    train_full_attention: bool = Field(False, description="full attention learns too")

    @model_validator(mode="after")
    def _one_probability_each(self) -> "FinetuneConfig":
        if not self.probabilities:
            return self
        if len(self.probabilities) != len(self.placements):
            raise ValueError(f"{len(self.probabilities)} probabilities for {len(self.placements)} placements")
        if min(self.probabilities) <= 0 or abs(sum(self.probabilities) - 1) > 1e-6:
            raise ValueError(f"probabilities must be positive and sum to 1, not {sum(self.probabilities):g}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Placement -> how often it is trained."""
        equal = (1 / len(self.placements),) * len(self.placements)
        return dict(zip(self.placements, self.probabilities or equal, strict=True))


@dataclass(frozen=True)
class TargetedLoss:
    """Next-token loss at the step's placement, with a pull towards full attention if that is wanted.

    Attributes:
        decoder: the supernet.
        teacher: what the pull goes to: the same decoder while its full attention is frozen, or a copy.
    """

    decoder: Decoder
    teacher: Decoder
    config: FinetuneConfig
    sampler: PlacementSampler

    def train(self, batch: Batch, step: int) -> Measured:
        """The loss of a batch."""
        return self._measure(batch, self.sampler.sample(step))

    def heldout(self, batch: Batch) -> Measured:
        """The mean over the targets, weighted as they are trained, and each target's next-token loss."""
        losses, metrics = [], {}
        for name, share in self.config.shares.items():
            placement = Placement.parse(name, self.decoder.config.num_layers)
            measured = self._measure(batch, placement)
            losses.append(share * measured.loss)
            metrics[f"{name}.loss"] = measured.metrics["next_token_loss"]
        return Measured(torch.stack(losses).sum(), metrics)

    def notes(self, step: int) -> dict[str, Any]:
        """The placement."""
        return {"placement": str(self.sampler.sample(step))}

    def _measure(self, batch: Batch, placement: Placement) -> Measured:
        hidden = self.decoder.hidden(batch.tokens, placement)
        loss = cross_entropy(self.decoder.head, hidden, batch.targets, batch.mask)
        if not self.config.kl_weight:
            return Measured(loss, {"next_token_loss": loss})
        with torch.no_grad():
            teacher_hidden = self.teacher.hidden(batch.tokens)
        kl = kl_divergence(
            self.decoder.head,
            hidden,
            self.teacher.head,
            teacher_hidden,
            batch.mask,
            reverse_weight=0.0,
            forward_weight=self.config.kl_weight,
        )
        return Measured(loss + kl.loss, {"next_token_loss": loss, "forward_kl": kl.forward})


def finetune(
    config: FinetuneConfig, supernet: Path, tokens: Path, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Train a supernet's mixers at chosen placements.

    Args:
        supernet: a model folder, or the folder of the stage that made it.
        tokens: a folder that `tokenize` wrote with the supernet's vocabulary.

    Returns:
        Steps, tokens, parameters, and the losses on held-out text, also by placement.
    """
    results = stage.finished(out)
    if results is not None:
        return results
    data = TrainingData(tokens, config.data, choose_device(config.device))
    decoder = stage.load_decoder(supernet, data)
    letters = decoder.config.mixers.letters
    learning = letters if config.train_full_attention else letters.replace("F", "")
    targets = tuple(
        PlacementProbability(placement=name, probability=share) for name, share in config.shares.items()
    )
    sampler = PlacementSampler(
        SamplingConfig(presets=targets),
        num_layers=decoder.config.num_layers,
        letters=letters,
        learning=learning,
        seed=config.seed,
    )
    stage.learn_only(decoder, learning)
    teacher = decoder
    if config.train_full_attention and config.kl_weight:
        teacher = stage.load_decoder(supernet, data).requires_grad_(False).to(data.device)
    phase = Phase("finetune", config, TargetedLoss(decoder, teacher, config, sampler))
    source = model_folder(supernet)
    return stage.train(decoder, [phase], data, config, out, tokenizer_from=source, progress=progress)
