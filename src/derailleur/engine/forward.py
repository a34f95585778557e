"""One forward pass of a plan: from tokens, and from where their rows' states lie, to logits.

It reads tensors alone and asks the host for nothing that changes from step to step, so that a CUDA graph
can be made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from derailleur.engine.plan import Block, LayerPlan, Part, Plan
from derailleur.model.decoder import Decoder, DecoderLayer
from derailleur.model.mixers import Pool, Rotary, Rows, Trace


class Placed(NamedTuple):
    """A part's rows in this step, and the pool that holds their states."""

    pool: Pool
    rows: Rows
    rotary: Rotary


@dataclass(frozen=True)
class Traced:
    """What a part left for `Mixer.commit`."""

    part: Part
    placed: Placed
    trace: Trace


def forward(
    decoder: Decoder,
    plan: Plan,
    tokens: Tensor,
    positions: Tensor | None,
    placed: Sequence[Sequence[Placed]],
) -> tuple[Tensor, list[Traced]]:
    """Let every row consume its tokens.

    Args:
        tokens: int64 [tokens], of all rows, one after another.
        positions: the same, where they stand; read where positions are learned.
        placed: one a part of every layer.

    Returns:
        The wanted logits [wanted tokens, vocab], and what traced parts left.
    """
    x = decoder.embed_tokens(tokens, positions)
    traced: list[Traced] = []
    for layer, layer_plan, parts in zip(decoder.layers, plan.layers, placed, strict=True):
        assert isinstance(layer, DecoderLayer)
        x = x + _mix(layer_plan, plan.blocks, parts, layer.input_norm(x), traced)
        x = x + layer.mlp(layer.post_norm(x))
    if plan.wanted is not None:
        x = x[plan.wanted]
    return decoder.logits(decoder.norm(x)), traced


def _mix(
    plan: LayerPlan, blocks: Sequence[Block], placed: Sequence[Placed], x: Tensor, traced: list[Traced]
) -> Tensor:
    """Send each part of x [tokens, hidden] to its mixer and join what comes back."""
    outputs = []
    for part, where in zip(plan.parts, placed, strict=True):
        block = blocks[part.block]
        mine = x if len(plan.parts) == 1 else x[block.tokens]
        rowwise = mine.view(-1, block.num_tokens, mine.shape[-1])  # [B, T, d]
        y, trace = part.mixer.extend(rowwise, *where, trace=block.trace)
        if trace is not None:
            traced.append(Traced(part, where, trace))
        outputs.append(y.reshape(mine.shape))
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return joined if plan.restore is None else joined[plan.restore]
