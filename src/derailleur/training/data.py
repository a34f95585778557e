"""From token windows to the tensors of a step."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from derailleur.config import Config
from derailleur.errors import ConfigError, DataError
from derailleur.tokens import Batches, DataConfig, TokenDataset, Tokenizer


@dataclass(frozen=True)
class Batch:
    """Sequences and what follows each of their tokens.

    Attributes:
        tokens: [batch, seq] int64.
        targets: [batch, seq] int64, the next token.
        mask: [batch, seq] bool, the targets that count.
    """

    tokens: Tensor
    targets: Tensor
    mask: Tensor

    @classmethod
    def of(cls, windows: np.ndarray, mask: np.ndarray, device: torch.device) -> "Batch":
        """Part windows [batch, seq + 1] into inputs and targets."""
        both = torch.from_numpy(windows).to(device)
        return cls(both[:, :-1], both[:, 1:], torch.from_numpy(mask).to(device))

    def split(self, size: int | None) -> Iterator[tuple[float, "Batch"]]:
        """Micro-batches of `size` sequences, each with its share of the counted targets."""
        total = max(1, int(self.mask.sum()))
        for first in range(0, len(self.tokens), size or len(self.tokens)):
            rows = slice(first, first + (size or len(self.tokens)))
            part = Batch(self.tokens[rows], self.targets[rows], self.mask[rows])
            yield int(part.mask.sum()) / total, part


class ContextWarmup(Config):
    """First steps on short sequences: as many tokens a step, from more documents, and cheaper attention."""

    steps: int = Field(gt=0, description="steps before the full sequence length")
    sequence_length: int = Field(256, gt=0, description="length of their sequences, tokens")

    def shorten(self, data: DataConfig) -> DataConfig:
        """The data of these steps.

        Raises:
            ConfigError: if the full length is not a multiple of the short one.
        """
        if data.sequence_length % self.sequence_length:
            raise ConfigError(
                f"context_warmup.sequence_length: {data.sequence_length} is not a multiple "
                f"of {self.sequence_length}"
            )
        times = data.sequence_length // self.sequence_length
        changes = {"sequence_length": self.sequence_length, "batch_size": times * data.batch_size}
        return data.model_copy(update=changes)


class TrainingData:
    """The training batches and the held-out sequences of one token folder."""

    def __init__(
        self, tokens: Path, config: DataConfig, device: torch.device, *, warmup: ContextWarmup | None = None
    ) -> None:
        """Open a folder that `tokenize` wrote.

        Raises:
            DataError: if it is not one, or has less than one window of held-out text.
        """
        self.folder, self.config, self.device = tokens, config, device
        self.tokenizer = Tokenizer.load(tokens)
        train = TokenDataset(tokens, "train")
        self.batches = Batches(train, config, self.tokenizer)
        self.warmup_steps = warmup.steps if warmup else 0
        self.warmup_batches = (
            Batches(train, warmup.shorten(config), self.tokenizer) if warmup else self.batches
        )
        self.heldout_tokens = TokenDataset(tokens, "heldout")

    @property
    def tokens_per_batch(self) -> int:
        """Tokens of one step."""
        return self.config.batch_size * self.config.sequence_length

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        drawn = (self.warmup_batches if step < self.warmup_steps else self.batches).batch(step)
        return Batch.of(drawn.tokens, drawn.loss_mask, self.device)

    def heldout(self, num_sequences: int) -> Batch:
        """Sequences evenly spaced over the held-out text, without infilling; fewer if they would overlap."""
        length, available = self.config.sequence_length, self.heldout_tokens.num_tokens - 1
        if available < length:
            raise DataError(
                f"{self.folder}: {available + 1} held-out tokens, at least {length + 1} are needed; "
                "lower data.sequence_length or hold out more text"
            )
        count = min(num_sequences, available // length)
        starts = np.linspace(0, available - length, count).astype(int).tolist()
        windows = np.stack([self.heldout_tokens.window(start, length + 1) for start in starts])
        return Batch.of(windows, np.ones((count, length), dtype=bool), self.device)
