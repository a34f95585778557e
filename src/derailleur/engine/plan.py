"""How one step is parted: rows by mixer and by how many tokens they bring.

A plan depends on who takes part in a step and with how many tokens, not on positions or token ids, so
it serves again while the batch stays the same.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import Module

from derailleur.engine.memory import Slot, State
from derailleur.engine.pages import CountedPool, JoinedTables, PageTable
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers import Mixer


@dataclass(frozen=True)
class Piece:
    """Tokens that one state consumes in a step.

    Attributes:
        tokens: at least one; the first stands at position `state.length`.
        trace: leave recurrent states as they are until `StepOutput.commit`.
        num_logits: of how many of the last tokens logits are wanted.
    """

    state: State
    tokens: Sequence[int]
    trace: bool = False
    num_logits: int = 1

    @property
    def plan_key(self) -> Hashable:
        """What a plan depends on."""
        return self.state, len(self.tokens), self.trace, self.num_logits


@dataclass(frozen=True)
class Block:
    """Rows that bring equally many tokens and lie in the same slots wherever this block is computed.

    Attributes:
        rows: their places among the step's pieces.
        slots: one per row; where states lie in pages, any.
        tokens: their places in the flat tensor of tokens.
    """

    rows: tuple[int, ...]
    slots: tuple[int, ...]
    num_tokens: int
    trace: bool
    tokens: slice | Tensor


@dataclass(frozen=True)
class Part:
    """A block in one layer: its mixer, and where the rows' states lie."""

    block: int
    mixer: Mixer
    home: CountedPool | JoinedTables


@dataclass(frozen=True)
class LayerPlan:
    """The parts of a layer, and what brings their joined outputs back into order (None: they are)."""

    parts: tuple[Part, ...]
    restore: Tensor | None


@dataclass(frozen=True)
class Plan:
    """How a step is computed.

    Attributes:
        order: the caller's pieces in the order in which they are computed.
        wanted: places in the flat tensor whose logits are wanted; None where all are.
        spans: the places of each piece (the caller's order) among the wanted logits.
    """

    order: tuple[int, ...]
    blocks: tuple[Block, ...]
    layers: tuple[LayerPlan, ...]
    wanted: Tensor | None
    spans: tuple[slice, ...]

    @property
    def decodes(self) -> bool:
        """Whether every row adds one token and wants what follows it, and nothing is rolled back."""
        return self.wanted is None and all(block.num_tokens == 1 and not block.trace for block in self.blocks)


def make_plan(pieces: Sequence[Piece], decoder: Decoder, device: torch.device) -> Plan:
    """Part the pieces of a step."""
    # Rows that are alike lie together, in the order of their slots: then parts are views, not copies.
    order = sorted(range(len(pieces)), key=lambda i: _neighbourhood(pieces[i]))
    ordered = [pieces[i] for i in order]
    ends = list(accumulate(len(piece.tokens) for piece in ordered))
    places = [range(end - len(piece.tokens), end) for piece, end in zip(ordered, ends, strict=True)]
    blocks: dict[tuple, int] = {}
    layers = tuple(
        _plan_layer(number, layer, ordered, places, blocks, device)
        for number, layer in enumerate(decoder.layers)
    )
    wanted = [place for piece, span in zip(ordered, places, strict=True) for place in _last(span, piece)]
    return Plan(
        order=tuple(order),
        blocks=tuple(_block(key, places, device) for key in blocks),
        layers=layers,
        wanted=None if len(wanted) == ends[-1] else torch.tensor(wanted, device=device, dtype=torch.int64),
        spans=_spans(order, ordered),
    )


def _neighbourhood(piece: Piece) -> tuple:
    return len(piece.tokens), piece.trace, piece.state.placement.letters, piece.state.slots


def _plan_layer(
    number: int,
    layer: Module,
    pieces: Sequence[Piece],
    places: Sequence[range],
    blocks: dict[tuple, int],
    device: torch.device,
) -> LayerPlan:
    assert isinstance(layer, DecoderLayer)
    parted: dict[tuple, list[int]] = {}
    for row, piece in enumerate(pieces):
        key = (piece.state.placement.letters[number], len(piece.tokens), piece.trace)
        parted.setdefault(key, []).append(row)
    parts = []
    for (letter, num_tokens, trace), rows in parted.items():
        mixer = layer.mixer(letter)
        slots, home = _home([pieces[row].state.layers[number] for row in rows], mixer, device)
        block = blocks.setdefault((tuple(rows), slots, num_tokens, trace), len(blocks))
        parts.append(Part(block, mixer, home))
    joined = [place for rows in parted.values() for row in rows for place in places[row]]
    if joined == list(range(len(joined))):
        return LayerPlan(tuple(parts), None)
    return LayerPlan(tuple(parts), torch.tensor(joined, device=device).argsort())


def _home(
    layers: Sequence[Slot | PageTable], mixer: Mixer, device: torch.device
) -> tuple[tuple[int, ...], CountedPool | JoinedTables]:
    """Slots of the rows of a part, and where the states lie."""
    slots = [layer for layer in layers if isinstance(layer, Slot)]
    if slots:
        return tuple(slot.number for slot in slots), slots[0].pool
    assert mixer.paging is not None
    tables = [layer for layer in layers if isinstance(layer, PageTable)]
    return tuple(range(len(tables))), JoinedTables(tables, mixer.paging.window, device)


def _block(key: tuple, places: Sequence[range], device: torch.device) -> Block:
    rows, slots, num_tokens, trace = key
    joined = [place for row in rows for place in places[row]]
    together = joined == list(range(joined[0], joined[-1] + 1))
    tokens = slice(joined[0], joined[-1] + 1) if together else torch.tensor(joined, device=device)
    return Block(rows, slots, num_tokens, trace, tokens)


def _last(span: range, piece: Piece) -> range:
    return span[len(span) - piece.num_logits :]


def _spans(order: Sequence[int], ordered: Sequence[Piece]) -> tuple[slice, ...]:
    spans = [slice(0, 0)] * len(order)
    start = 0
    for place, piece in zip(order, ordered, strict=True):
        spans[place] = slice(start, start + piece.num_logits)
        start += piece.num_logits
    return tuple(spans)
