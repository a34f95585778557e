"""CUDA graphs of plain decoding: where every row adds one token, a step is launched as a whole.

A step of a deep decoder is some thousand small kernels, which a GPU computes faster than a host launches
them. A graph is made for a bucket: the placements of the rows in the order of the plan, how many rows each
has, rounded up, and how wide page tables are. It reads memory of its own, which is filled in before each
replay: tokens, positions, and for every row and layer its slot or its pages. Seats that no row takes write
to spare entries of the pools, and nobody reads what comes of them.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import NamedTuple, Protocol
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from derailleur.engine.forward import Placed, forward
from derailleur.engine.memory import State
from derailleur.engine.pages import CountedPool, JoinedTables
from derailleur.engine.plan import Part, Piece, Plan, make_plan
from derailleur.kernels import PAGE_TOKENS, triton_serves
from derailleur.model.decoder import Decoder
from derailleur.model.mixers import Rotary, Rows

log = logging.getLogger(__name__)

_EAGER_USES = 2
"""A bucket's first steps are computed eagerly: a graph takes as long to make as some steps."""
_MAX_GRAPHS = 32
_MAX_COUNTED_BUCKETS = 256
_FEWEST_PAGES = 16
"""Narrower page tables are not worth a graph of their own."""


class Graph(Protocol):
    """A function of no arguments that was captured."""

    def replay(self) -> Tensor:
        """Run it again, on the memory on which it was captured; the result is good until another replay."""


class CudaCapture:
    """Makes graphs that share a stream and, as long as one of them lives, the memory that they work in."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._graphs: WeakSet[_CudaGraph] = WeakSet()

    def __call__(self, function: Callable[[], Tensor]) -> Graph:
        # A handle to a memory pool is of no use any more after the last graph in it has gone.
        pool = next((made.graph.pool() for made in self._graphs), None)
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            function()  # once outside: what the first run compiles, loads and allocates cannot be captured
            with torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"):
                result = function()
        torch.cuda.current_stream().wait_stream(self._stream)
        made = _CudaGraph(graph, result)
        self._graphs.add(made)
        return made


@dataclass(frozen=True, eq=False)
class _CudaGraph:
    graph: torch.cuda.CUDAGraph
    result: Tensor

    def replay(self) -> Tensor:
        self.graph.replay()
        return self.result


def cuda_graphs(decoder: Decoder) -> "Graphs | None":
    """Graphs where they can be made: on CUDA, with kernels that ask the host for nothing."""
    weight = decoder.embed.weight
    if not triton_serves(weight.new_empty(0, decoder.config.head_dim)):
        return None
    return Graphs(decoder, CudaCapture(weight.device))


class Graphs:
    """The graphs of a decoder, the least recently used of which go.

    Args:
        capture: makes a graph of a function.
    """

    def __init__(self, decoder: Decoder, capture: Callable[[Callable[[], Tensor]], Graph]) -> None:
        self._decoder, self._capture = decoder, capture
        self._steps: OrderedDict[_Bucket, _CapturedStep] = OrderedDict()
        self._uses: Counter[_Bucket] = Counter()
        self._works = True

    def replay(self, plan: Plan, ordered: Sequence[Piece]) -> Tensor | None:
        """Let the states consume their pieces, if there is a graph for that.

        Args:
            ordered: the pieces in the order of the plan.

        Returns:
            Logits [rows, vocab] in this order; None where the step must be computed eagerly.
        """
        if not (plan.decodes and self._works):
            return None
        length = 1 + max(piece.state.length for piece in ordered)
        self._decoder.rotary.reserve(length)
        bucket = _bucket(plan, ordered, length)
        step = self._steps.get(bucket)
        if step is not None and step.addresses != step.current_addresses():
            del self._steps[bucket], self._uses[bucket]
            step = None
        step = step or self._make(bucket, ordered)
        if step is None:
            return None
        self._steps.move_to_end(bucket)
        return step.replay(ordered)

    def _make(self, bucket: "_Bucket", ordered: Sequence[Piece]) -> "_CapturedStep | None":
        """Capture a bucket that is used again and again."""
        if len(self._uses) >= _MAX_COUNTED_BUCKETS:
            self._uses.clear()
        self._uses[bucket] += 1
        if self._uses[bucket] <= _EAGER_USES:
            return None
        if len(self._steps) >= _MAX_GRAPHS:
            self._steps.popitem(last=False)
        try:
            step = self._steps[bucket] = _CapturedStep(self._decoder, bucket, ordered, self._capture)
        except RuntimeError as error:  # such as a lack of memory; nothing has advanced
            log.warning("steps are not captured as CUDA graphs from now on: %s", error)
            self._works = False
            self._steps.clear()
            return None
        return step


class _Bucket(NamedTuple):
    """Steps that one graph serves.

    Attributes:
        seats: the placements of the rows, in order, and for how many rows of each there is room.
        width: of page tables, pages.
    """

    seats: tuple[tuple[str, int], ...]
    width: int


def _bucket(plan: Plan, ordered: Sequence[Piece], length: int) -> _Bucket:
    rows = Counter(piece.state.placement.letters for piece in ordered)
    rings = {
        part.home.num_ring_pages
        for layer in plan.layers
        for part in layer.parts
        if isinstance(part.home, JoinedTables)
    }
    pages = max(_FEWEST_PAGES, 1 << (-(-length // PAGE_TOKENS) - 1).bit_length())
    # The first column holds the slots of recurrent layers.
    width = max((ring or pages for ring in rings), default=1)
    return _Bucket(tuple((letters, _rounded(num)) for letters, num in rows.items()), width)


def _rounded(num_rows: int) -> int:
    """Up to a power of two, or one and a half of it."""
    step = max(1, 1 << (num_rows.bit_length() - 2)) if num_rows > 1 else 1
    return -(-num_rows // step) * step


class _CapturedStep:
    """The step of a bucket, and the memory in which it finds its inputs.

    Attributes:
        addresses: where pools and tables lay when it was captured; elsewhere it is of no use.
    """

    def __init__(
        self,
        decoder: Decoder,
        bucket: _Bucket,
        ordered: Sequence[Piece],
        capture: Callable[[Callable[[], Tensor]], Graph],
    ) -> None:
        some = {piece.state.placement.letters: piece.state for piece in ordered}
        # For each seat one whose states lie in the same pools, whoever sits there.
        self._like = [some[letters] for letters, num_seats in bucket.seats for _ in range(num_seats)]
        firsts = accumulate((num_seats for _, num_seats in bucket.seats), initial=0)
        self._first_seats = {
            letters: first for (letters, _), first in zip(bucket.seats, firsts, strict=False)
        }
        device = decoder.embed.weight.device
        self._decoder = decoder
        self._plan = make_plan([Piece(state, [0]) for state in self._like], decoder, device)
        self._pools = list(dict.fromkeys(_pool(part) for layer in self._plan.layers for part in layer.parts))
        shape = len(self._plan.layers), len(self._like)
        # Tokens, positions, and the seats that are taken.
        self._inputs = torch.zeros(3, shape[1], dtype=torch.int64, device=device)
        self._entries = torch.zeros(*shape, bucket.width, dtype=torch.int32, device=device)
        self._known: Sequence[object] = [()] * shape[1]
        self._seat([None] * shape[1])
        self._graph = capture(self._run)
        self.addresses = self.current_addresses()

    def current_addresses(self) -> list[tuple[int, int]]:
        """Where those tensors lie that are replaced now and then, and how many entries they have."""
        tensors = [x for pool in self._pools for x in pool.pool.tensors().values()]
        tensors += [self._decoder.rotary.cos, self._decoder.rotary.sin]
        return [(x.data_ptr(), len(x)) for x in tensors]

    def replay(self, ordered: Sequence[Piece]) -> Tensor:
        """Logits [rows, vocab] of the pieces."""
        free = {letters: count(first) for letters, first in self._first_seats.items()}
        taken = [next(free[piece.state.placement.letters]) for piece in ordered]
        seated: list[State | None] = [None] * len(self._like)
        inputs = np.zeros(self._inputs.shape, np.int64)
        for seat, piece in zip(taken, ordered, strict=True):
            seated[seat] = piece.state
            inputs[:2, seat] = piece.tokens[0], piece.state.length
        inputs[2, : len(taken)] = taken
        self._seat(seated)
        self._inputs.copy_(torch.from_numpy(inputs))
        # A copy: the next replay, of whatever graph, writes over the result.
        return self._graph.replay()[self._inputs[2, : len(taken)]]

    def _seat(self, seated: Sequence[State | None]) -> None:
        """Write down where the states of each seat lie, of those alone where that has changed."""
        now = [None if state is None else (state, _version(state)) for state in seated]
        changed = [seat for seat, known in enumerate(self._known) if known != now[seat]]
        if not changed:
            return
        entries = np.zeros((len(self._plan.layers), len(changed), self._entries.shape[2]), np.int32)
        for column, seat in enumerate(changed):
            state = seated[seat]
            for number, layer in enumerate((state or self._like[seat]).layers):
                held = layer.entries[: entries.shape[2]] if state else [layer.pool.spare]
                entries[number, column, : len(held)] = held
        device = self._entries.device
        self._entries[:, torch.tensor(changed, device=device)] = torch.from_numpy(entries).to(device)
        self._known = now

    def _run(self) -> Tensor:
        """What is captured."""
        tokens, positions, _ = self._inputs
        slots = self._entries[:, :, 0].long()
        rotary = self._decoder.rotary.at(positions.unsqueeze(1), 0)  # the table is long enough
        alike = {block.rows: block.tokens for block in self._plan.blocks}
        turned = {
            rows: (positions[places], Rotary(rotary.cos[places], rotary.sin[places]))
            for rows, places in alike.items()
        }

        def place(number: int, part: Part) -> Placed:
            block, home = self._plan.blocks[part.block], part.home
            at, rotary = turned[block.rows]
            rows = Rows.on_device(slots[number, block.tokens], at, num_tokens=1)
            if isinstance(home, CountedPool):
                return Placed(home.pool, rows, rotary)
            tables = self._entries[number, block.tokens, : home.num_ring_pages]
            return Placed(home.through(tables.contiguous()), rows, rotary)

        placed = [[place(i, part) for part in layer.parts] for i, layer in enumerate(self._plan.layers)]
        logits, _ = forward(self._decoder, self._plan, tokens, positions, placed)
        return logits


def _pool(part: Part) -> CountedPool:
    return part.home if isinstance(part.home, CountedPool) else part.home.counted


def _version(state: State) -> int:
    """Another number whenever one of its page tables has changed: theirs only grow."""
    return sum([table.version for table in state.tables])
