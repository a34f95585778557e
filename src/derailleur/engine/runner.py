"""Steps of the decoder over pieces of many requests, whatever their placements.

All tokens of a step lie in one flat [tokens, hidden] tensor: embeddings, norms, MLPs and the head see it
whole; in each layer every part of the plan goes to its own mixer.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from derailleur.engine.forward import Placed, Traced, forward
from derailleur.engine.graphs import Graphs
from derailleur.engine.plan import Block, Piece, Plan, make_plan
from derailleur.model.decoder import Decoder
from derailleur.model.mixers import Rotary, Rows

_MAX_KEPT_PLANS = 32


@dataclass(frozen=True)
class StepOutput:
    """What a step computed.

    Attributes:
        logits: [wanted tokens, vocab].
        spans: the places of each piece in `logits`.
    """

    logits: Tensor
    spans: Sequence[slice]
    _pieces: Sequence[Piece]
    _plan: Plan
    _traced: Sequence[Traced]

    @torch.inference_mode()
    def commit(self, num_accepted: Sequence[int]) -> None:
        """Keep the first `num_accepted` tokens of each traced piece; others' numbers are not read."""
        for piece, accepted in zip(self._pieces, num_accepted, strict=True):
            if piece.trace:
                piece.state.length += accepted
        with _on(self.logits.device):
            self._commit(num_accepted)

    def _commit(self, num_accepted: Sequence[int]) -> None:
        ordered = [num_accepted[place] for place in self._plan.order]
        device = self.logits.device
        by_block = {
            index: torch.tensor([ordered[row] for row in block.rows], device=device)
            for index, block in enumerate(self._plan.blocks)
            if block.trace
        }
        for done in self._traced:
            accepted = by_block[done.part.block]
            done.part.mixer.commit(done.placed.pool, done.placed.rows, done.trace, accepted)


class Runner:
    """Runs steps; keeps the plans of the batches that it sees again.

    Args:
        graphs: replay steps of plain decoding; all steps are computed eagerly without them.
    """

    def __init__(self, decoder: Decoder, device: torch.device, graphs: Graphs | None = None) -> None:
        self.decoder, self.device = decoder, device
        self._graphs = graphs
        self._plans: dict[tuple, Plan] = {}

    def forget(self) -> None:
        """Drop the kept plans, and with them their hold on the pools of requests that ended."""
        self._plans.clear()

    @torch.inference_mode()
    def step(self, pieces: Sequence[Piece]) -> StepOutput:
        """Let every state consume its piece; states that are not traced advance."""
        with _on(self.device):
            return self._step(pieces)

    def _step(self, pieces: Sequence[Piece]) -> StepOutput:
        plan = self._plan(pieces)
        ordered = [pieces[place] for place in plan.order]
        traced: Sequence[Traced] = ()
        logits = self._graphs.replay(plan, ordered) if self._graphs is not None else None
        if logits is None:
            logits, traced = self._compute(plan, ordered)
        for piece in pieces:
            if not piece.trace:
                piece.state.length += len(piece.tokens)
        return StepOutput(logits, plan.spans, pieces, plan, traced)

    def _plan(self, pieces: Sequence[Piece]) -> Plan:
        key = tuple(piece.plan_key for piece in pieces)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MAX_KEPT_PLANS:
                self._plans.clear()
            plan = self._plans[key] = make_plan(pieces, self.decoder, self.device)
        return plan

    def _compute(self, plan: Plan, ordered: Sequence[Piece]) -> tuple[Tensor, Sequence[Traced]]:
        """Logits of the pieces, in the order of the plan."""
        tokens = torch.tensor([token for piece in ordered for token in piece.tokens], device=self.device)
        blocks = [self._rows(block, ordered) for block in plan.blocks]
        placed = [
            [Placed(part.home.pool, *blocks[part.block]) for part in layer.parts] for layer in plan.layers
        ]
        return forward(self.decoder, plan, tokens, self._positions(ordered), placed)

    def _positions(self, ordered: Sequence[Piece]) -> Tensor | None:
        """[tokens] of all pieces, where positions are learned."""
        if self.decoder.position_embed is None:
            return None
        positions = [piece.state.length + i for piece in ordered for i in range(len(piece.tokens))]
        return torch.tensor(positions, device=self.device)

    def _rows(self, block: Block, ordered: Sequence[Piece]) -> tuple[Rows, Rotary]:
        positions = [ordered[row].state.length for row in block.rows]
        rows = Rows.of(block.slots, positions, block.num_tokens, self.device)
        last = rows.max_position + rows.num_tokens - 1
        return rows, self.decoder.rotary.at(rows.token_positions, last)


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Make it the current device, on which Triton launches whatever the tensors' own is."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
