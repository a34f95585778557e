"""What every mixer can do: mix a whole sequence, continue from a state, verify and commit.

A pool holds the states of many requests, one slot each. `Rows` says which slots a step reads and where
in their requests the new tokens stand; positions come from the request, never from a pool.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from derailleur.config import Config
from derailleur.model.rotary import Rotary
from derailleur.placement.placement import MIXERS

if TYPE_CHECKING:
    from derailleur.model.config import DecoderConfig
    from derailleur.model.mixers.attention import Attention

MAX_TRACE_TOKENS = 32
"""The most tokens that one traced `extend` (a verify step) may append and still be rolled back."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one step: every row appends the same number of tokens.

    Attributes:
        slots: [rows] int64, distinct.
        positions: [rows] int64, the position of each row's first new token in its request.
        num_tokens: how many tokens each row appends.
        first_slot, last_slot, min_position, max_position: of the above, known on the host.
        contiguous: whether the slots are first, first + 1, ..., last in this order: a view serves.
    """

    slots: Tensor
    positions: Tensor
    num_tokens: int
    first_slot: int
    last_slot: int
    min_position: int
    max_position: int
    contiguous: bool

    @classmethod
    def of(
        cls, slots: Sequence[int], positions: Sequence[int], num_tokens: int, device: torch.device
    ) -> Rows:
        """Build from host lists."""
        return cls(
            torch.tensor(slots, device=device),
            torch.tensor(positions, device=device),
            num_tokens,
            min(slots),
            max(slots),
            min(positions),
            max(positions),
            list(slots) == list(range(slots[0], slots[0] + len(slots))),
        )

    @classmethod
    def on_device(cls, slots: Tensor, positions: Tensor, *, num_tokens: int) -> Rows:
        """Of tensors alone, as CUDA graphs need them: one is replayed for any slots and positions.

        They serve mixers whose pools ask the host for nothing: recurrent ones, and pages.
        """
        return cls(slots, positions, num_tokens, -1, -1, -1, -1, contiguous=False)

    @cached_property
    def token_positions(self) -> Tensor:
        """[rows, num_tokens], the position of every new token."""
        steps = torch.arange(self.num_tokens, device=self.positions.device)
        return self.positions.unsqueeze(1) + steps

    @cached_property
    def visible(self) -> Tensor:
        """Bool [rows, num_tokens, length]: which of the cached positions each new token may see."""
        length = self.max_position + self.num_tokens
        cached = torch.arange(length, device=self.positions.device)
        return cached <= self.token_positions.unsqueeze(-1)

    @cached_property
    def causal_mask(self) -> Tensor | None:
        """`visible`, or None where every token sees the whole length."""
        if self.num_tokens == 1 and self.min_position == self.max_position:
            return None
        return self.visible

    def ring_mask(self, ring: int, window: int) -> Tensor:
        """Bool [rows, num_tokens, ring]: which entries of a ring of keys each new token may see.

        Position p stands in entry p % ring. Layers that share a step share the mask.
        """
        key = (ring, window)
        if key not in self._ring_masks:
            last = (self.positions + self.num_tokens - 1).view(-1, 1)
            entries = torch.arange(ring, device=self.positions.device)
            held = last - (last - entries) % ring  # [rows, ring], the newest position an entry can hold
            age = self.token_positions.unsqueeze(-1) - held.unsqueeze(1)  # [rows, num_tokens, ring]
            self._ring_masks[key] = (age >= 0) & (age < window) & (held >= 0).unsqueeze(1)
        return self._ring_masks[key]

    @cached_property
    def _ring_masks(self) -> dict[tuple[int, int], Tensor]:
        return {}

    @cached_property
    def span(self) -> slice:
        """The slots from the first to the last, as a slice."""
        return slice(self.first_slot, self.last_slot + 1)

    def read(self, pooled: Tensor) -> Tensor:
        """The rows' entries of a tensor [slots, ...]: a view where the slots are contiguous."""
        return pooled[self.span] if self.contiguous else pooled[self.slots]

    def write(self, pooled: Tensor, values: Tensor) -> None:
        """Store the rows' entries."""
        if self.contiguous:
            pooled[self.span] = values
        else:
            pooled[self.slots] = values.to(pooled.dtype)


Snapshot: TypeAlias = Mapping[str, Tensor]
"""What one slot held at some moment, in memory of its own: the tensors of its pool by name."""


@dataclass
class Pool:
    """Tensors whose first dimension is the slot.

    Attributes:
        by_position: whether every token has a place of its own, so that up to `MAX_TRACE_TOKENS` tokens
            may be appended, forgotten, and written over by others. A draft then runs ahead in its own slot.
    """

    by_position: ClassVar[bool] = False

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {name: x for name, x in vars(self).items() if isinstance(x, Tensor)}

    @property
    def num_slots(self) -> int:
        """How many requests the pool can hold."""
        return next(iter(self.tensors().values())).shape[0]

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one slot."""
        return sum(math.prod(x.shape[1:]) * x.element_size() for x in self.tensors().values())

    def clear(self, slots: Tensor) -> None:
        """Zero slots that are being given out, so that no request sees another's state."""
        for x in self.tensors().values():
            x[slots] = 0

    def snapshot(self, slot: int) -> Snapshot:
        """Copy what a slot holds; nothing after changes the copy."""
        return {name: x[slot].clone() for name, x in self.tensors().items()}

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Set a slot of this pool, or of another of the same mixer, to a snapshot."""
        for name, x in self.tensors().items():
            x[slot] = snapshot[name]

    def resize(self, num_slots: int) -> None:
        """Have `num_slots`; what those hold that were there before is kept, new ones hold anything."""
        for name, x in self.tensors().items():
            kept = x[:num_slots]
            try:
                resized = x.new_empty(num_slots, *x.shape[1:])
            except torch.OutOfMemoryError:
                # Both do not fit on the device beside each other.
                kept, x = kept.cpu(), x.new_empty(0, *x.shape[1:])
                setattr(self, name, x)
                resized = x.new_empty(num_slots, *x.shape[1:])
            resized[: kept.shape[0]] = kept
            setattr(self, name, resized)


@dataclass(frozen=True)
class Paging:
    """How a mixer's past lies in pages, which mixers of the same shape share whatever their layer.

    Attributes:
        window: a token sees so many tokens, itself included, and older ones are written over; None for all.
    """

    num_kv_heads: int
    head_dim: int
    window: int | None


@dataclass
class Trace:
    """What a traced `extend` leaves for `commit`; attention needs nothing."""


@dataclass(frozen=True)
class TeacherLayer:
    """A teacher's attention, and what it does with tokens that the teacher finds likely.

    Attributes:
        inputs, outputs: [batch, seq, hidden].
        constant: [hidden], the direction on which inputs project nearest to 1: a bias in weights.
    """

    attention: Attention
    inputs: Tensor
    outputs: Tensor
    rotary: Rotary
    constant: Tensor


class Mixer(nn.Module, ABC):
    """One way of mixing information between the tokens of a sequence."""

    letter: ClassVar[str]
    paging: Paging | None = None
    """Of mixers that remember keys and values; others' states have one size, and a slot each."""

    @abstractmethod
    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, rotary: Rotary, cu_seqlens: Tensor | None = None) -> Tensor:
        """Mix whole sequences that start at position 0: [batch, seq, hidden] -> the same.

        Args:
            cu_seqlens: int64 [documents + 1], where the documents packed into the one row of x begin and
                end; nothing of a document reaches the next.

        Raises:
            ShapeError: if `cu_seqlens` does not fit.
        """

    @abstractmethod
    def new_pool(
        self, num_slots: int, capacity_tokens: int, *, dtype: torch.dtype, device: torch.device
    ) -> Pool:
        """A zeroed pool; `capacity_tokens` is the longest request that a slot must hold."""

    @abstractmethod
    def extend(
        self, x: Tensor, pool: Pool, rows: Rows, rotary: Rotary, *, trace: bool = False
    ) -> tuple[Tensor, Trace | None]:
        """Append `rows.num_tokens` tokens to each row and mix them with what the row holds.

        Args:
            x: [rows, num_tokens, hidden].
            trace: leave recurrent states untouched until `commit`; at most `MAX_TRACE_TOKENS` tokens.

        Returns:
            [rows, num_tokens, hidden], and the trace if one was asked for and is needed.
        """

    def commit(self, pool: Pool, rows: Rows, trace: Trace | None, num_accepted: Tensor) -> None:
        """Keep the first `num_accepted` [rows] of the traced tokens, or none; forget the others."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw those weights anew that are no matrices; the decoder draws these."""

    def take_over(self, teacher: TeacherLayer) -> None:
        """Surgery: start from a teacher's attention. A mixer that does not say how stays random."""


MixerClass = TypeVar("MixerClass", bound=type[Mixer])
_REGISTRY: dict[str, tuple[type[Mixer], type[Config]]] = {}


def register(letter: str, settings: type[Config]) -> Callable[[MixerClass], MixerClass]:
    """Class decorator: make a mixer, and its block of a configuration, known under its letter."""

    def add(mixer: MixerClass) -> MixerClass:
        mixer.letter = letter
        _REGISTRY[letter] = mixer, settings
        return mixer

    return add


def settings_of_mixers() -> dict[str, type[Config]]:
    """The configuration of every mixer by its letter, in canonical order."""
    return {letter: _REGISTRY[letter][1] for letter in MIXERS}


def build_mixer(letter: str, config: DecoderConfig, layer: int) -> Mixer:
    """The mixer of a letter for a layer, with random weights."""
    mixer, _ = _REGISTRY[letter]
    return mixer(config, layer)
