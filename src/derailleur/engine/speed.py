"""Measured decoding speed: real steps of the engine, on rows that have really read their context."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from derailleur.engine.memory import Claim, State
from derailleur.engine.plan import Piece
from derailleur.engine.request import Request
from derailleur.errors import CapacityError, UserError
from derailleur.placement.placement import Placement

if TYPE_CHECKING:
    from derailleur.engine.engine import Engine


@dataclass(frozen=True)
class DecodeSpeed:
    """Speed of decoding, sampling and text included.

    Attributes:
        seconds_per_step: median over the steps; a step adds one token to every row.
        tokens_per_second: over all rows.
    """

    placement: Placement
    batch: int
    context_tokens: int
    seconds_per_step: float
    tokens_per_second: float


@torch.inference_mode()
def decode_speed(
    engine: Engine, placement: Placement, batch: int, context_tokens: int, *, steps: int, warmup: int
) -> DecodeSpeed:
    """Read one random context, copy its state to every row, then time single steps."""
    assert not engine.busy, "an engine that does something else measures that too"
    tokens = _random_tokens(context_tokens, engine.decoder.config.vocab_size)
    request = Request(prompt=tokens, placement=placement, max_tokens=warmup + steps + 2, ignore_eos=True)
    claim = Claim(placement, context_tokens + request.max_tokens)
    engine.decoder.check_positions(claim.num_tokens)
    states = engine.memory.allocate([claim] * batch)
    if states is None:
        raise CapacityError(
            f"{batch} rows of {context_tokens} tokens under '{placement}' do not fit into "
            f"{engine.memory.budget_bytes:,} bytes of state; raise engine.state_memory_bytes"
        )
    rows = [engine.adopt(request, state, tokens[:1]) for state in states]
    seconds = []
    try:
        _read(engine, states[0], tokens)
        for state in states[1:]:
            state.copy_from(states[0])
        for _ in range(warmup + steps):
            begin = time.perf_counter()
            added = engine.step()
            seconds.append(time.perf_counter() - begin)
            if sum(len(delta.tokens) for delta in added) != batch:
                raise UserError(f"'{placement}' after {context_tokens} random tokens: logits are no numbers")
    finally:
        for row in rows:
            engine.cancel(row)
        engine.memory.drop_idle()
    median = statistics.median(seconds[warmup:])
    return DecodeSpeed(placement, batch, context_tokens, median, batch / median)


def _random_tokens(count: int, vocab_size: int) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    tokens: list[int] = torch.randint(vocab_size, (count,), generator=generator).tolist()
    return tokens


def _read(engine: Engine, state: State, tokens: list[int]) -> None:
    """Read the context in pieces, as a prompt is read."""
    while state.length < len(tokens):
        piece = tokens[state.length : state.length + engine.config.prefill_tokens]
        engine.runner.step([Piece(state, piece, num_logits=0)])
