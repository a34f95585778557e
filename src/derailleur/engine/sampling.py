"""From logits to tokens: greedy, temperature, top-k, top-p, each request with a generator of its own.

A request draws one uniform number per token and looks it up in its own cumulated distribution, so that
neither the order nor the company of the rows in a batch changes its text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the likeliest token; else logits are divided by it.
        top_k: only the k likeliest tokens; 0 keeps all.
        top_p: only the likeliest tokens whose probability sums to p (after `top_k`).
        seed: makes the draws repeatable; None takes fresh entropy.
        logprobs: report the chosen token's log-probability and this many alternatives; None reports nothing.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the choice is the likeliest token."""
        return self.temperature == 0

    @property
    def filtered(self) -> bool:
        """Whether some tokens are ruled out."""
        return self.top_k > 0 or self.top_p < 1

    def generator(self) -> torch.Generator:
        """The request's own source of random numbers (on the CPU, whatever computes the logits)."""
        made = torch.Generator()
        if self.seed is None:
            made.seed()
        else:
            made.manual_seed(self.seed)
        return made


GREEDY = Sampling()


def choose(
    logits: Tensor, samplings: Sequence[Sampling], generators: Sequence[torch.Generator | None]
) -> list[int]:
    """One token per row.

    Args:
        logits: [rows, vocab].
        samplings: one per row.
        generators: one per row; not read where the row is greedy.
    """
    tokens = logits.argmax(-1)
    drawn = [row for row, sampling in enumerate(samplings) if not sampling.greedy]
    # Two groups, since what another row filters must not change how this row's number is looked up.
    for filtered in (False, True):
        rows = [row for row in drawn if samplings[row].filtered is filtered]
        if rows:
            index = torch.tensor(rows, device=logits.device)
            uniform = torch.cat([_uniform(generators[row]) for row in rows]).to(logits.device)
            tokens[index] = _draw(logits[index], [samplings[row] for row in rows], uniform, filtered)
    return tokens.tolist()


def filter_probabilities(probabilities: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Zero what top-k and top-p rule out.

    Args:
        probabilities: [rows, vocab], in descending order.

    Returns:
        [rows, vocab], not normalised.
    """
    V, device = probabilities.shape[-1], probabilities.device
    top_k = torch.tensor([s.top_k or V for s in samplings], device=device).unsqueeze(-1)
    top_p = torch.tensor([s.top_p for s in samplings], device=device, dtype=probabilities.dtype).unsqueeze(-1)
    kept = probabilities.masked_fill(torch.arange(V, device=device) >= top_k, 0)
    cumulated = kept.cumsum(-1)
    # A token stays if those before it do not reach p yet: the likeliest one always does.
    return kept.masked_fill(cumulated - kept >= top_p * cumulated[:, -1:], 0)


def _draw(logits: Tensor, samplings: Sequence[Sampling], uniform: Tensor, filtered: bool) -> Tensor:
    temperature = torch.tensor([s.temperature for s in samplings], device=logits.device, dtype=torch.float64)
    probabilities = (logits.double() / temperature.unsqueeze(-1)).softmax(-1)
    if not filtered:
        return _look_up(probabilities, uniform)
    probabilities, order = probabilities.sort(stable=True, dim=-1, descending=True)
    place = _look_up(filter_probabilities(probabilities, samplings), uniform)
    return order.gather(-1, place.unsqueeze(-1)).squeeze(-1)


def _look_up(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The first place where the cumulated probability reaches `uniform` of (0, 1] times the sum."""
    cumulated = probabilities.cumsum(-1)
    return torch.searchsorted(cumulated, uniform.unsqueeze(-1) * cumulated[:, -1:]).squeeze(-1)


def _uniform(generator: torch.Generator | None) -> Tensor:
    assert generator is not None, "a row that samples needs its generator"
    return 1 - torch.rand(1, generator=generator, dtype=torch.float64)
