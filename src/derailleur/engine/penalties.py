"""Penalties on tokens that a text already holds, over all rows of a batch at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from derailleur.engine.sampling import Sampling


class TokenCounts:
    """How often each token stands in one request's text.

    Attributes:
        in_prompt: [vocab] bool.
        generated: [vocab] float32, how often it was generated.
    """

    def __init__(self, prompt: Sequence[int], vocab_size: int, device: torch.device) -> None:
        self.in_prompt = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.in_prompt[list(prompt)] = True
        self.generated = torch.zeros(vocab_size, device=device)

    def push(self, token: int) -> None:
        """Count a generated token."""
        self.generated[token] += 1


def penalise(
    logits: Tensor,
    samplings: Sequence[Sampling],
    counts: Sequence[TokenCounts],
    ahead: Sequence[Sequence[int]],
) -> Tensor:
    """Repetition penalty (Keskar et al. 2019, arXiv:1909.05858), then frequency and presence penalty.

    Args:
        logits: [rows, vocab] float32.
        samplings, counts: one per row.
        ahead: drafted tokens before each row, which count as generated.
    """
    generated = torch.stack([count.generated for count in counts])
    drafted = [(row, token) for row, tokens in enumerate(ahead) for token in tokens]
    if drafted:
        rows, tokens = torch.tensor(drafted, device=logits.device).unbind(-1)
        ones = torch.ones(len(drafted), device=logits.device)
        generated.index_put_((rows, tokens), ones, accumulate=True)
    present = generated > 0
    repeated = present | torch.stack([count.in_prompt for count in counts])

    def setting(values: list[float]) -> Tensor:
        return torch.tensor(values, device=logits.device).unsqueeze(-1)

    repetition = setting([s.repetition_penalty for s in samplings])
    scaled = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(repeated, scaled, logits)
    frequency = setting([s.frequency_penalty for s in samplings])
    presence = setting([s.presence_penalty for s in samplings])
    return logits - frequency * generated - presence * present
