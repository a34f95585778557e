"""From logits to a distribution and from a distribution to a token: settings, temperature, filters, draws.

What is done to logits, in this order: penalties, bias, bans (`choosing.py`), then here temperature, min-p,
top-k, top-p. A request draws from a generator of its own and looks the number up in its own cumulated
distribution, so that neither the order nor the company of the rows in a batch changes its text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

_FEW = 256
"""Of how many of the likeliest tokens top-p is tried first, before the whole vocabulary is sorted."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the likeliest token; else logits are divided by it.
        min_p: only tokens at least this many times as probable as the likeliest one.
        top_k: only the k likeliest tokens (and those as likely as the last of them); 0 keeps all.
        top_p: only the likeliest tokens that reach this share of the probability that is left.
        repetition_penalty: logits of tokens that the prompt or the text holds are divided by it where they
            are positive, multiplied by it where they are negative; 1 changes nothing.
        presence_penalty: taken off the logits of tokens that the generated text holds.
        frequency_penalty: taken off them once for every time that they stand there.
        logit_bias: added to logits, by token.
        seed: makes the draws repeatable; None takes fresh entropy.
        logprobs: report the chosen token's log-probability and this many alternatives; None reports nothing.
    """

    temperature: float = 0.0
    min_p: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the choice is the likeliest token."""
        return self.temperature == 0

    @property
    def repeatable(self) -> bool:
        """Whether the text depends on random numbers that the request itself fixes."""
        return self.seed is not None and not self.greedy

    @property
    def penalised(self) -> bool:
        """Whether the text so far changes the logits."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0

    @property
    def filtered(self) -> bool:
        """Whether unlikely tokens are ruled out."""
        return self.min_p > 0 or self.top_k > 0 or self.top_p < 1

    def generator(self) -> torch.Generator:
        """The request's own source of random numbers (on the CPU, whatever computes the logits)."""
        made = torch.Generator()
        if self.seed is None:
            made.seed()
        else:
            made.manual_seed(self.seed)
        return made


GREEDY = Sampling()


def distributions(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """The probabilities with which rows that sample choose their tokens.

    Args:
        logits: [rows, vocab], penalties, bias and bans included.
        samplings: one per row, none of them greedy.

    Returns:
        [rows, vocab] float64, each row of sum 1.
    """
    temperature = column([s.temperature for s in samplings], logits.device)
    probabilities = (logits.double() / temperature).softmax(-1)
    filtered = [row for row, s in enumerate(samplings) if s.filtered]
    if filtered:
        kept = _filter(probabilities[filtered], [samplings[row] for row in filtered])
        probabilities[filtered] = kept / kept.sum(-1, keepdim=True)
    return probabilities


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first token at which the cumulated weight reaches `uniform` times the sum.

    Args:
        weights: [rows, vocab], at least 0.
        uniform: [rows], in (0, 1].
    """
    cumulated = weights.cumsum(-1)
    place = torch.searchsorted(cumulated, uniform.unsqueeze(-1) * cumulated[:, -1:]).squeeze(-1)
    return place.clamp(max=weights.shape[-1] - 1)


def column(values: Sequence[float], device: torch.device) -> Tensor:
    """One number per row, [rows, 1] float64."""
    return torch.tensor(values, dtype=torch.float64, device=device).unsqueeze(-1)


def _filter(probabilities: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Zero what min-p, then top-k, then top-p rule out; not normalised."""
    least = column([s.min_p for s in samplings], probabilities.device) * probabilities.amax(-1, keepdim=True)
    probabilities = probabilities.masked_fill(probabilities < least, 0)
    return probabilities.masked_fill(probabilities < _least_kept(probabilities, samplings), 0)


def _least_kept(probabilities: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """[rows, 1]: the probability of the last token that top-k and top-p keep."""
    V, device = probabilities.shape[-1], probabilities.device
    top_k = column([min(s.top_k or V, V) for s in samplings], device)
    top_p = column([s.top_p for s in samplings], device)
    total = probabilities.sum(-1, keepdim=True)
    # What is kept does not depend on how many are looked at, so that company does not matter.
    for num_sorted in (min(V, max(_FEW, *(s.top_k for s in samplings))), V):
        best = probabilities.topk(num_sorted).values
        within = best.masked_fill(torch.arange(num_sorted, device=device) >= top_k, 0)
        cumulated = within.cumsum(-1)
        reached = top_p * torch.where(top_k < V, cumulated[:, -1:], total)
        if bool(((cumulated[:, -1:] >= reached) | (top_p == 1)).all()):
            break
    # A token stays if those before it do not reach p yet: the likeliest one always does.
    kept = (within > 0) & ((cumulated - within < reached) | (top_p == 1))
    least = best.gather(-1, (kept.sum(-1, keepdim=True) - 1).clamp(min=0))
    return least.masked_fill((top_k == V) & (top_p == 1), 0)
