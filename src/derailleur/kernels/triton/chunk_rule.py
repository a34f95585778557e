"""Chunked GDN and KDA as one differentiable function; kernels/delta_rule.py says what it computes.

The forward pass keeps its inputs and nothing else: what the backward pass needs of the chunks is made
again, for about the price of a forward pass; kept, the states alone would be 64 kB per chunk and head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from derailleur.errors import ShapeError
from derailleur.kernels.delta_rule import DeltaRuleOutput
from derailleur.kernels.triton.chunk_backward import reverse_scan, write_gradients
from derailleur.kernels.triton.chunk_forward import outputs, scan, solve
from derailleur.kernels.triton.chunk_gdn import gdn_gradients
from derailleur.kernels.triton.chunk_kda import kda_gradients, kda_products
from derailleur.kernels.triton.chunks import Chunks, Packed, chunk_sums


def chunk_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    *,
    state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> DeltaRuleOutput:
    """The delta rule in chunks of 64 tokens; arguments and result as `recurrent_delta_rule`'s.

    q, k and v are multiplied in bfloat16 if they come so, or if `torch.set_float32_matmul_precision`
    allows it ("medium"); sums, outputs and states are float32. The values of `cu_seqlens` are not looked
    at on the host, which would wait for the device in every layer.

    Raises:
        ShapeError: if documents are packed in more than one row.
    """
    batch, seq = q.shape[:2]
    if cu_seqlens is None:
        cu_seqlens = torch.arange(batch + 1, device=q.device) * seq
    elif batch != 1:
        raise ShapeError(f"packed documents: expected one row, got a batch of {batch}")
    narrow = all(x.dtype == torch.bfloat16 for x in (q, k, v))
    narrow = narrow or torch.get_float32_matmul_precision() == "medium"
    dtype = torch.bfloat16 if narrow else torch.float32
    tokens = (x.flatten(0, 1).contiguous() for x in (q.to(dtype), k.to(dtype), v.to(dtype), beta, log_decay))
    state = None if state is None else state.float().contiguous()
    output, final = _ChunkedRule.apply(*tokens, state, cu_seqlens.long())  # type: ignore[no-untyped-call]
    return DeltaRuleOutput(output.unflatten(0, (batch, seq)), final)


class _ChunkedRule(torch.autograd.Function):
    """Tensors [tokens, heads, ...] and states [sequences, heads, head_dim, value_dim]."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        x, state = _packed(*inputs)
        products = kda_products(x) if x.per_channel else None
        solved = solve(x, products)
        states, final = scan(x, solved, state)
        return outputs(x, products, states, solved.U), final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dO: Tensor, dfinal: Tensor) -> tuple[Tensor | None, ...]:
        x, state = _packed(*ctx.saved_tensors)
        log_decay = ctx.saved_tensors[4]
        products = kda_products(x) if x.per_channel else None
        solved = solve(x, products)
        states, _ = scan(x, solved, state)
        dO = dO.contiguous()
        dR = write_gradients(x, products, dO)
        dstate = None if state is None else torch.empty_like(state)
        dstates = reverse_scan(x, solved, dO, dR, dfinal.contiguous(), initial=dstate)
        gradients = kda_gradients if x.per_channel else gdn_gradients
        dq, dk, dv, dbeta, dG = gradients(x, solved, states, dO, dR, dstates)
        # A token's decay is in the sums of all tokens after it.
        dlog_decay = chunk_sums(dG, x.chunks, reverse=True, dtype=log_decay.dtype)
        return dq, dk, dv, dbeta, dlog_decay, dstate, None


def _packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    log_decay: Tensor,
    state: Tensor | None,
    cu_seqlens: Tensor,
) -> tuple[Packed, Tensor | None]:
    chunks = Chunks.of(cu_seqlens, q.shape[0])
    return Packed(q, k, v, beta, chunk_sums(log_decay, chunks, dtype=torch.float32), chunks), state
