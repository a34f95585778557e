"""Pre-training: a teacher from nothing, by next-token loss on code with fill-in-the-middle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur.config import Config, validate
from derailleur.io import Progress, silent
from derailleur.model import Decoder, DecoderConfig
from derailleur.training import stage
from derailleur.training.data import Batch, ContextWarmup, TrainingData
from derailleur.training.losses import cross_entropy
from derailleur.training.precision import choose_device
from derailleur.training.trainer import Measured, Phase, PhaseConfig, TrainerConfig

VERSION = 1


class TeacherConfig(Config):
    """The sizes of a teacher; its vocabulary is the tokenizer's, its context the data's sequence length."""

    hidden_size: int = Field(256, gt=0, description="width of the residual stream")
    num_layers: int = Field(6, gt=0, description="decoder layers")
    num_heads: int = Field(4, gt=0, description="query heads")
    num_kv_heads: int = Field(1, gt=0, description="key-value heads; 1 is multi-query attention")
    head_dim: int = Field(64, gt=0, description="width of one head")
    intermediate_size: int = Field(640, gt=0, description="width of the gated MLP")
    rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary frequencies")
    tie_embeddings: bool = Field(True, description="the head shares the embedding's weights")
    qk_norm: bool = Field(True, description="RMSNorm over each query and key head")

    def decoder_config(self, *, vocab_size: int, max_positions: int) -> DecoderConfig:
        """The whole shape.

        Raises:
            ConfigError: if the sizes do not fit together.
        """
        sizes = {"vocab_size": vocab_size, "max_positions": max_positions, **self.model_dump()}
        return validate(DecoderConfig, sizes, source="model")


class PretrainConfig(TrainerConfig, PhaseConfig):
    """A teacher's sizes and how it is trained."""

    model: TeacherConfig = TeacherConfig()
    context_warmup: ContextWarmup | None = Field(None, description="first steps on short sequences, if any")


@dataclass(frozen=True)
class NextTokenLoss:
    """Cross-entropy of the next token with full attention in every layer."""

    decoder: Decoder

    def train(self, batch: Batch, step: int) -> Measured:
        """The loss of a batch."""
        return self.heldout(batch)

    def heldout(self, batch: Batch) -> Measured:
        """The same."""
        hidden = self.decoder.hidden(batch.tokens)
        return Measured(cross_entropy(self.decoder.head, hidden, batch.targets, batch.mask))

    def notes(self, step: int) -> dict[str, Any]:
        """Nothing."""
        return {}


def pretrain(
    config: PretrainConfig, tokens: Path, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Train a teacher on tokenized code.

    Args:
        tokens: a folder that `tokenize` wrote.

    Returns:
        Steps, tokens, parameters, final and held-out loss (nats per token).
    """
    results = stage.finished(out)
    if results is not None:
        return results
    device = choose_device(config.device)
    data = TrainingData(tokens, config.data, device, warmup=config.context_warmup)
    shape = config.model.decoder_config(
        vocab_size=data.tokenizer.vocab_size, max_positions=config.data.sequence_length
    )
    decoder = Decoder(shape)
    decoder.reset_parameters(config.seed)
    phase = Phase("pretrain", config, NextTokenLoss(decoder))
    return stage.train(decoder, [phase], data, config, out, tokenizer_from=tokens, progress=progress)
