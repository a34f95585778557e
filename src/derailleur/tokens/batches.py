"""Batches of token windows, shuffled, with fill-in-the-middle."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field

from derailleur.config import Config
from derailleur.errors import ConfigError, DataError
from derailleur.tokens.dataset import TokenDataset
from derailleur.tokens.fim import join, split
from derailleur.tokens.special_tokens import FimOrder, FimTokens
from derailleur.tokens.tokenizer import Tokenizer


class DataConfig(Config):
    """How the training stream is cut into batches."""

    sequence_length: int = Field(1024, gt=0, description="predicted positions of one row, tokens")
    batch_size: int = Field(16, gt=0, description="rows of one step")
    fim_rate: float = Field(0.5, ge=0, le=1, description="share of document fragments turned into infilling")
    spm_rate: float = Field(0.5, ge=0, le=1, description="share of these in SPM order; the others are PSM")
    seed: int = Field(0, ge=0, description="decides the order of windows and all cuts")


@dataclass(frozen=True)
class Batch:
    """Rows of tokens; position t predicts token t + 1.

    Attributes:
        tokens: [B, T + 1] int64; `tokens[:, :-1]` are inputs, `tokens[:, 1:]` targets.
        loss_mask: [B, T] bool; False where the target is padding.
    """

    tokens: npt.NDArray[np.int64]
    loss_mask: npt.NDArray[np.bool_]


class Batches:
    """An endless shuffled stream of batches; `batch(step)` depends on the seed and the step alone.

    The stream of tokens is cut into windows of `sequence_length` + 1 tokens, each overlapping the next by
    one, so that every token but the first is a target once an epoch. Each epoch visits the windows in an
    order of its own and cuts its fragments anew. A rank r of n reads `batch(step * n + r)`.
    """

    def __init__(self, dataset: TokenDataset, config: DataConfig, tokenizer: Tokenizer) -> None:
        """Prepare to read.

        Raises:
            ConfigError: if `fim_rate` asks for tokens that the vocabulary lacks, or `spm_rate` never gives
                the order in which the model will be asked to infill.
            DataError: if the dataset is shorter than one window.
        """
        if config.fim_rate and tokenizer.fim is None:
            raise ConfigError(
                f"fim_rate: the tokenizer has no fill-in-the-middle tokens; expected 0, got {config.fim_rate}"
            )
        if config.fim_rate and config.spm_rate == (0 if tokenizer.fim_order is FimOrder.SPM else 1):
            raise ConfigError(
                f"spm_rate: {config.spm_rate:g} never shows the order '{tokenizer.fim_order}' of this "
                "tokenizer's infilling prompts (fim_order in tokenizer_config.json)"
            )
        self.num_windows = (dataset.num_tokens - 1) // config.sequence_length
        if not self.num_windows:
            raise DataError(
                f"{dataset.num_tokens} tokens are less than one window of {config.sequence_length + 1}; "
                "lower sequence_length or bring more text"
            )
        self._dataset = dataset
        self._config = config
        self._tokenizer = tokenizer
        self._order = lru_cache(maxsize=2)(self._draw_order)  # a batch may reach into the next epoch

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from 0."""
        first = step * self._config.batch_size
        rows = [self._row(number) for number in range(first, first + self._config.batch_size)]
        fim = self._tokenizer.fim
        pad_id = fim.pad_id if fim else self._tokenizer.eos_id
        return _stack(rows, self._config.sequence_length + 1, pad_id)

    def window_index(self, number: int) -> tuple[int, int]:
        """The epoch and the window that the row `number`, counted over all steps, reads."""
        epoch, position = divmod(number, self.num_windows)
        return epoch, int(self._order(epoch)[position])

    def _draw_order(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._config.seed, epoch]).permutation(self.num_windows)

    def _row(self, number: int) -> npt.NDArray[np.int64]:
        epoch, window = self.window_index(number)
        length = self._config.sequence_length
        tokens = self._dataset.window(window * length, length + 1)
        if not self._config.fim_rate:
            return tokens
        rng = np.random.default_rng([self._config.seed, epoch, window])
        return apply_fim(tokens, self._config, self._tokenizer, rng)[: length + 1]


def apply_fim(
    tokens: npt.NDArray[np.int64], config: DataConfig, tokenizer: Tokenizer, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Turn each document fragment of a window into infilling with probability `fim_rate`.

    Never across the end of a document. Half a character at the edge of the window is left out of a
    fragment that is cut. The result is about as long as the window.
    """
    assert tokenizer.fim is not None
    pieces: list[npt.NDArray] = []
    ends = np.flatnonzero(tokens == tokenizer.eos_id).tolist()
    for start, end in zip([0, *(end + 1 for end in ends)], [*ends, len(tokens)], strict=True):
        fragment = tokens[start:end]
        if len(fragment) and rng.random() < config.fim_rate:
            order = FimOrder.SPM if rng.random() < config.spm_rate else FimOrder.PSM
            fragment = _cut_fragment(fragment, order, tokenizer, tokenizer.fim, rng)
        pieces += [fragment, tokens[end : end + 1]]
    return np.concatenate(pieces)


def _cut_fragment(
    fragment: npt.NDArray[np.int64],
    order: FimOrder,
    tokenizer: Tokenizer,
    fim: FimTokens,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    parts = split(tokenizer.decode_bytes(fragment.tolist()).decode("utf-8", "ignore"), rng)
    prefix, middle, suffix = tokenizer.encode_batch([parts.prefix, parts.middle, parts.suffix])
    return np.array(join(prefix, middle, suffix, fim=fim, order=order), dtype=np.int64)


def _stack(rows: list[npt.NDArray[np.int64]], width: int, pad_id: int) -> Batch:
    tokens = np.full((len(rows), width), pad_id, dtype=np.int64)
    loss_mask = np.zeros((len(rows), width - 1), dtype=np.bool_)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
        loss_mask[index, : len(row) - 1] = True
    return Batch(tokens, loss_mask)
