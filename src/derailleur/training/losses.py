"""Losses over a vocabulary, computed in chunks of tokens, and the distance between mixer outputs.

The logits are the largest tensors of a step: [tokens, vocabulary] in float32, several times over with
their gradients. Here a chunk's logits live only until that chunk's gradient is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_TOKENS = 512
"""Small enough that a chunk's logits stay in a processor's cache, large enough for full products."""


@dataclass(frozen=True)
class KlDivergence:
    """Means over tokens, in nats.

    Attributes:
        loss: the weighted sum of both directions; it alone has a gradient.
        reverse: KL(student || teacher).
        forward: KL(teacher || student).
    """

    loss: Tensor
    reverse: Tensor
    forward: Tensor


def cross_entropy(head: nn.Linear, hidden: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean negative log-likelihood of the targets that `mask` keeps, in nats.

    Args:
        head: hidden states -> logits.
        hidden: [batch, seq, hidden_size], after the final norm.
        targets: [batch, seq] int64.
        mask: [batch, seq] bool.
    """
    targets, mask = targets.flatten(), mask.flatten()

    def chunk_loss(logits: Tensor, tokens: slice) -> Tensor:
        losses = F.cross_entropy(logits.float(), targets[tokens], reduction="none")
        return (losses * mask[tokens]).sum().unsqueeze(0)

    (loss,) = _summed_in_chunks(head, hidden.flatten(0, 1), chunk_loss) / _count(mask)
    return loss


def kl_divergence(
    head: nn.Linear,
    hidden: Tensor,
    teacher_head: nn.Linear,
    teacher_hidden: Tensor,
    mask: Tensor,
    *,
    reverse_weight: float,
    forward_weight: float,
) -> KlDivergence:
    """Distance of the student's next-token distribution from the teacher's, in both directions.

    Args:
        head, teacher_head: hidden states -> logits; may be the same.
        hidden, teacher_hidden: [batch, seq, hidden_size], after the final norm.
        mask: [batch, seq] bool, the tokens that count.
    """
    teacher_hidden, mask = teacher_hidden.detach().flatten(0, 1), mask.flatten()

    def chunk_loss(logits: Tensor, tokens: slice) -> Tensor:
        with torch.no_grad():
            log_p = F.log_softmax(teacher_head(teacher_hidden[tokens]).float(), dim=-1)
        log_q = F.log_softmax(logits.float(), dim=-1)
        log_ratio = (log_q - log_p) * mask[tokens].unsqueeze(-1)
        reverse, forward = (log_q.exp() * log_ratio).sum(), -(log_p.exp() * log_ratio).sum()
        return torch.stack([reverse_weight * reverse + forward_weight * forward, reverse, forward])

    sums = _summed_in_chunks(head, hidden.flatten(0, 1), chunk_loss) / _count(mask)
    return KlDivergence(*sums)


def activation_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean over tokens of the L2 norm (not squared) of the difference of two mixer outputs.

    Args:
        student, teacher: [batch, seq, hidden_size].
        mask: [batch, seq] bool, the tokens that count.
    """
    norms = torch.linalg.vector_norm(student.float() - teacher.float(), dim=-1)
    return (norms * mask).sum() / _count(mask)


def relative_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """`activation_distance` over the teacher's mean norm: 0 is equal, 1 is what an output of zero has."""
    norms = torch.linalg.vector_norm(teacher.float(), dim=-1)
    size = (norms * mask).sum() / _count(mask)
    return activation_distance(student, teacher, mask) / size.clamp_min(1e-6)


def _count(mask: Tensor) -> Tensor:
    return mask.sum().clamp_min(1)


ChunkLoss = Callable[[Tensor, slice], Tensor]
"""(logits [n, vocabulary], which tokens these are) -> [k] sums over these tokens, the loss first."""


def _summed_in_chunks(head: nn.Linear, hidden: Tensor, loss: ChunkLoss) -> Tensor:
    """Add up `loss` over chunks of [tokens, hidden_size]; only the first of the k sums has a gradient."""
    if not torch.is_grad_enabled():
        return torch.stack([loss(head(hidden[tokens]), tokens) for tokens in _chunks(len(hidden))]).sum(0)
    sums: Tensor = _SummedInChunks.apply(hidden, head.weight, head, loss)  # type: ignore[no-untyped-call]
    return sums


def _chunks(length: int) -> list[slice]:
    return [slice(start, start + CHUNK_TOKENS) for start in range(0, length, CHUNK_TOKENS)]


class _SummedInChunks(torch.autograd.Function):
    """Takes each chunk's gradient in the forward pass, right after its loss; backward only scales it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, head: nn.Linear, loss: ChunkLoss) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        hidden_gradient = torch.empty_like(hidden) if wants_hidden else None
        weight_gradient = torch.zeros_like(weight) if wants_weight else None
        sums = []
        for tokens in _chunks(len(hidden)):
            with torch.enable_grad():
                chunk = hidden[tokens].detach().requires_grad_(wants_hidden)
                chunk_sums = loss(head(chunk), tokens)
                sources = [chunk] * wants_hidden + [weight] * wants_weight
                gradients = list(torch.autograd.grad(chunk_sums[0], sources)) if sources else []
            sums.append(chunk_sums.detach())
            if hidden_gradient is not None:
                hidden_gradient[tokens] = gradients.pop(0)
            if weight_gradient is not None:
                weight_gradient += gradients.pop(0)
        ctx.gradients = hidden_gradient, weight_gradient
        return torch.stack(sums).sum(0)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        scale = outer[0][0]
        hidden, weight = (None if gradient is None else gradient * scale for gradient in ctx.gradients)
        return hidden, weight, None, None
