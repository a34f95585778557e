"""Bits per byte and next-token accuracy: how well a placement predicts held-out files."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from derailleur.config import Config
from derailleur.io import Progress, silent
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

_LOGIT_TOKENS = 1024  # logits are made for this many tokens at a time: they are the largest tensor by far


class LossConfig(Config):
    """How bits per byte and next-token accuracy are measured."""

    windows_per_batch: int = Field(4, gt=0, description="windows in one forward pass")


class Scored(Protocol):
    """What is needed of a decoder."""

    def hidden(self, tokens: Tensor, placement: Placement | None = None) -> Tensor:
        """[batch, seq] -> [batch, seq, hidden]."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., hidden] -> [..., vocab]."""
        ...


@dataclass(frozen=True)
class Window:
    """A stretch of one document's tokens, read at once.

    Attributes:
        tokens: at most the context and one more: each but the last is read, each but the first predicted.
        num_scored: how many of the last ones no earlier window has scored.
    """

    tokens: Sequence[int]
    num_scored: int


@dataclass(frozen=True)
class LossScore:
    """What a placement makes of the held-out files.

    Attributes:
        nats: summed over all tokens.
        num_correct: tokens that were the likeliest in their place.
        num_bytes: of the files, in UTF-8.
    """

    nats: float = 0.0
    num_tokens: int = 0
    num_correct: int = 0
    num_bytes: int = 0

    def __add__(self, other: "LossScore") -> "LossScore":
        """The score of both's files together."""
        return LossScore(
            self.nats + other.nats,
            self.num_tokens + other.num_tokens,
            self.num_correct + other.num_correct,
            self.num_bytes + other.num_bytes,
        )

    @property
    def bits_per_byte(self) -> float:
        """Independent of the vocabulary, so comparable between models and with compressors."""
        return self.nats / math.log(2) / self.num_bytes

    @property
    def next_token_accuracy(self) -> float:
        """The share of tokens that were the likeliest in their place."""
        return self.num_correct / self.num_tokens

    def row(self) -> dict[str, float | int]:
        """As in the file of scores."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "next_token_accuracy": self.next_token_accuracy,
            "tokens": self.num_tokens,
            "bytes": self.num_bytes,
        }


def windows(tokens: Sequence[int], context: int) -> Iterator[Window]:
    """Cut a document into windows that overlap by half, so that each token is scored once.

    All tokens but the first are scored, each after at least half a context of those before it (or all).
    """
    stride = max(context // 2, 1)
    scored = 0
    for start in range(0, len(tokens), stride):
        last = min(start + context, len(tokens) - 1)
        if last > scored:
            yield Window(tokens[start : last + 1], last - scored)
        scored = last


def score_loss(
    decoder: Scored,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    placement: Placement,
    config: LossConfig,
    *,
    context: int,
    device: torch.device,
    progress: Progress = silent,
) -> LossScore:
    """Score every token of every document, each document alone and after an end-of-document token."""
    encoded = tokenizer.encode_batch([document.content for document in documents])
    cut = [window for ids in encoded for window in windows([tokenizer.eos_id, *ids], context)]
    cut.sort(key=lambda window: len(window.tokens))  # little padding
    nats, num_correct = 0.0, 0
    for start in range(0, len(cut), config.windows_per_batch):
        batch = cut[start : start + config.windows_per_batch]
        batch_nats, batch_correct = _score_batch(decoder, batch, placement, tokenizer.eos_id, device)
        nats += batch_nats
        num_correct += batch_correct
        progress("loss", start + len(batch), len(cut))
    num_bytes = sum(document.num_bytes for document in documents)
    return LossScore(nats, sum(map(len, encoded)), num_correct, num_bytes)


@torch.inference_mode()
def _score_batch(
    decoder: Scored, batch: Sequence[Window], placement: Placement, pad_id: int, device: torch.device
) -> tuple[float, int]:
    """Summed nats and correct predictions.

    Windows are padded at their end, which what comes before does not see.
    """
    longest = max(len(window.tokens) for window in batch)
    tokens = torch.full((len(batch), longest), pad_id)
    scored = torch.zeros(len(batch), longest - 1, dtype=torch.bool)
    for row, window in enumerate(batch):
        length = len(window.tokens)
        tokens[row, :length] = torch.tensor(window.tokens)
        scored[row, length - 1 - window.num_scored : length - 1] = True
    tokens, scored = tokens.to(device), scored.to(device)
    hidden = decoder.hidden(tokens[:, :-1], placement)[scored]  # [scored, hidden]
    targets = tokens[:, 1:][scored]
    nats, num_correct = 0.0, 0
    for piece, wanted in zip(hidden.split(_LOGIT_TOKENS), targets.split(_LOGIT_TOKENS), strict=True):
        logits = decoder.logits(piece).float()
        nats += float(F.cross_entropy(logits, wanted, reduction="none").double().sum())
        num_correct += int((logits.argmax(-1) == wanted).sum())
    return nats, num_correct
