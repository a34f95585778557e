"""What `generate` hands from step to step: the states of a batch, one slot a row."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from derailleur.errors import ArgumentError, PlacementError
from derailleur.model import MAX_TRACE_TOKENS, Decoder, DecoderLayer, Mixer, Pool, Rows, Trace
from derailleur.placement import Placement

_SMALLEST_CAPACITY_TOKENS = 128


@dataclass
class _Step:
    """Tokens that can be forgotten again.

    Attributes:
        traces: one a layer; None where states are addressed by position.
        before: of the others, copies of the pools as they were.
    """

    rows: Rows
    num_tokens: int
    traces: list[Trace | None]
    before: list[dict[str, Tensor]]


class DerailleurCache(Cache):
    """The states of every row of a batch under one placement; they grow with the sequence.

    Rows may hold different numbers of tokens: padding never enters a state.

    Attributes:
        placement: what the states are of.
        lengths: tokens of each row.
    """

    def __init__(self, decoder: Decoder, placement: Placement) -> None:
        super().__init__(layers=[])
        self.placement = placement
        self.lengths: list[int] = []
        self._mixers = chosen_mixers(decoder, placement)
        self._pools: list[Pool] = []
        self._capacity_tokens = 0
        self._width = 0
        self._recording = False
        self._steps: list[_Step] = []

    @torch.no_grad()
    def extend(self, decoder: Decoder, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Append a batch's tokens; gives their final hidden states, undefined where they are padding.

        Args:
            tokens: [batch, seq].
            mask: [batch, seq], 0 where a token is padding; None if none is.

        Returns:
            [batch, seq, hidden].

        Raises:
            ArgumentError: if the batch is not the one that the states are of.
        """
        batch, width = tokens.shape
        if self.lengths and len(self.lengths) != batch:
            raise ArgumentError(f"the cache holds {len(self.lengths)} rows, the batch has {batch}")
        counts = [width] * batch if mask is None else mask.ne(0).sum(1).tolist()
        if self._recording and len(set(counts)) > 1:
            raise ArgumentError("assisted generation needs rows without padding")
        self.lengths = self.lengths or [0] * batch
        longest = max(held + count for held, count in zip(self.lengths, counts, strict=True))
        decoder.check_positions(longest)
        self._reserve(decoder, longest)
        self._width += width
        if mask is None or min(counts) == width:
            return self._extend(decoder, tokens, range(batch))
        hidden = tokens.new_zeros(batch, width, decoder.config.hidden_size, dtype=decoder.dtype)
        for count in sorted(set(counts) - {0}):
            rows = [row for row in range(batch) if counts[row] == count]
            places = mask[rows].nonzero()[:, 1].view(len(rows), count)
            index = torch.tensor(rows, device=tokens.device).unsqueeze(1), places
            hidden[index] = self._extend(decoder, tokens[index], rows)
        return hidden

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many columns of input the batch has seen, padding included."""
        return self._width

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """No limit."""
        return -1

    @property
    def batch_size(self) -> int:
        """Rows, or -1 before the first tokens."""
        return len(self.lengths) or -1

    @property
    def is_compileable(self) -> bool:
        """States grow, so that no compiled graph fits them."""
        return False

    @property
    def is_croppable(self) -> bool:
        """Not unless tokens are recorded."""
        return self._recording

    def __len__(self) -> int:
        return len(self._mixers)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """States are copied, the model's weights are not."""
        memo |= {id(mixer): mixer for mixer in self._mixers}
        twin = copy.copy(self)
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        return twin

    def reset(self) -> None:
        """Forget everything."""
        self.lengths, self._pools, self._steps = [], [], []
        self._width = self._capacity_tokens = 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let each row go on from the row that `beam_idx` names."""
        chosen = beam_idx.tolist()
        for pool in self._pools:
            for name, x in pool.tensors().items():
                setattr(pool, name, x.index_select(0, beam_idx.to(x.device)))
        self.lengths = [self.lengths[row] for row in chosen]
        self._steps.clear()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the named rows."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        self.reorder_cache(torch.arange(len(self.lengths)).repeat_interleave(repeats))

    def activate_past_recording(self) -> None:
        """From now on the last tokens can be forgotten."""
        self._recording = True

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens of every row.

        Args:
            tokens_to_remove: how many, as a number <= 0.

        Raises:
            ArgumentError: if so many were not recorded.
        """
        remove = -tokens_to_remove
        if remove == self._width:
            self.reset()
        if remove == 0 or not self._width:
            return
        recorded = min(sum(step.num_tokens for step in self._steps) - 1, MAX_TRACE_TOKENS)
        if not 0 < remove <= recorded:
            raise ArgumentError(
                f"crop({tokens_to_remove}): only the last {max(recorded, 0)} tokens can be forgotten"
            )
        self.lengths = [length - remove for length in self.lengths]
        self._width -= remove
        while remove >= self._steps[-1].num_tokens:
            remove -= self._steps.pop().num_tokens
        step = self._steps[-1]
        step.num_tokens -= remove
        for pool, saved in zip(self._pools, step.before, strict=True):
            for name, x in saved.items():
                setattr(pool, name, x.clone())
        self._commit(step)

    def _extend(self, decoder: Decoder, tokens: Tensor, slots: Sequence[int]) -> Tensor:
        """Append tokens [rows, num_tokens], none of which is padding."""
        if self._recording and tokens.shape[1] > MAX_TRACE_TOKENS:
            first, last = tokens[:, :-MAX_TRACE_TOKENS], tokens[:, -MAX_TRACE_TOKENS:]
            pieces = [self._piece(decoder, first, slots, trace=False)]
            return torch.cat([*pieces, self._piece(decoder, last, slots, trace=True)], 1)
        return self._piece(decoder, tokens, slots, trace=self._recording)

    def _piece(self, decoder: Decoder, tokens: Tensor, slots: Sequence[int], *, trace: bool) -> Tensor:
        positions = [self.lengths[slot] for slot in slots]
        rows = Rows.of(slots, positions, tokens.shape[1], tokens.device)
        rotary = decoder.rotary.at(rows.token_positions, rows.max_position + rows.num_tokens - 1)
        step = _Step(rows, rows.num_tokens, [], [_copied(pool) if trace else {} for pool in self._pools])
        x = decoder.embed_tokens(tokens, rows.token_positions)
        for layer, mixer, pool in zip(decoder.layers, self._mixers, self._pools, strict=True):
            assert isinstance(layer, DecoderLayer)
            mixed, traced = mixer.extend(layer.input_norm(x), pool, rows, rotary, trace=trace)
            step.traces.append(traced)
            x = x + mixed
            x = x + layer.mlp(layer.post_norm(x))
        if trace:
            self._commit(step)
            self._record(step)
        for slot in slots:
            self.lengths[slot] += rows.num_tokens
        return decoder.norm(x)

    def _commit(self, step: _Step) -> None:
        """Set recurrent states to what they were after the step's tokens."""
        accepted = torch.full_like(step.rows.slots, step.num_tokens)
        for mixer, pool, trace in zip(self._mixers, self._pools, step.traces, strict=True):
            if trace is not None:
                mixer.commit(pool, step.rows, trace, accepted)

    def _record(self, step: _Step) -> None:
        """Remember as many steps as may be forgotten."""
        self._steps.append(step)
        while sum(step.num_tokens for step in self._steps[1:]) > MAX_TRACE_TOKENS:
            self._steps.pop(0)

    def _reserve(self, decoder: Decoder, num_tokens: int) -> None:
        """Make room for rows of `num_tokens` tokens."""
        if self._pools and num_tokens <= self._capacity_tokens:
            return
        self._capacity_tokens = max(_SMALLEST_CAPACITY_TOKENS, 1 << (num_tokens - 1).bit_length())
        device = decoder.embed.weight.device
        for layer, mixer in enumerate(self._mixers):
            size = len(self.lengths), self._capacity_tokens
            pool = mixer.new_pool(*size, dtype=decoder.dtype, device=device)
            if layer < len(self._pools):
                _move(self._pools[layer], pool)
                self._pools[layer] = pool
            else:
                self._pools.append(pool)


def chosen_mixers(decoder: Decoder, placement: Placement) -> list[Mixer]:
    """Each layer's mixer.

    Raises:
        PlacementError: if a layer lacks it, or the placement is for another number of layers.
    """
    if len(placement) != len(decoder.layers):
        raise PlacementError(
            f"placement '{placement}' has {len(placement)} layers, not {len(decoder.layers)}"
        )
    mixers = []
    for layer, letter in zip(decoder.layers, placement, strict=True):
        assert isinstance(layer, DecoderLayer)
        mixers.append(layer.mixer(letter))
    return mixers


def _copied(pool: Pool) -> dict[str, Tensor]:
    """A recurrent pool's tensors; what lies by position is written over."""
    return {} if pool.by_position else {name: x.clone() for name, x in pool.tensors().items()}


def _move(smaller: Pool, larger: Pool) -> None:
    """Copy states into a larger pool; a ring has not come round before it has its full size."""
    for name, x in smaller.tensors().items():
        larger.tensors()[name][tuple(slice(size) for size in x.shape)] = x
