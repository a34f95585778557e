"""Choosing tokens: what a request's choice depends on, and all choices of a step at once.

Rows that are greedy and nothing else cost one argmax over the batch; every other step touches only the
rows that asked for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from derailleur.engine.grammar import Constraint
from derailleur.engine.penalties import TokenCounts, penalise
from derailleur.engine.sampling import Sampling, distributions, draw


class Chooser:
    """How one request chooses its tokens.

    Args:
        prompt: counts for penalties.
        endings: tokens that may not be chosen before `min_tokens` are.
        constraint: what the text must look like.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        vocab_size: int,
        device: torch.device,
        prompt: Sequence[int] = (),
        min_tokens: int = 0,
        endings: Sequence[int] = (),
        constraint: Constraint | None = None,
    ) -> None:
        self.sampling, self.constraint = sampling, constraint
        self.counts = TokenCounts(prompt, vocab_size, device) if sampling.penalised else None
        self._generator = None if sampling.greedy else sampling.generator()
        self._vocab_size = vocab_size
        self._num_too_early, self._endings = min_tokens, list(endings)

    @property
    def adjusts(self) -> bool:
        """Whether logits are changed before it chooses."""
        limited = self.constraint is not None or self._num_too_early > 0
        return limited or self.sampling.penalised or bool(self.sampling.logit_bias)

    def push(self, token: int) -> None:
        """Take the token that now stands at the end of the text."""
        self._num_too_early -= 1
        if self.counts is not None:
            self.counts.push(token)

    def uniform(self, count: int) -> Tensor:
        """The request's next random numbers, [count] float64 in (0, 1]."""
        assert self._generator is not None, "a greedy request needs no random numbers"
        return 1 - torch.rand(count, generator=self._generator, dtype=torch.float64)

    def restricted(self, ahead: Sequence[int]) -> bool:
        """Whether some tokens cannot be chosen after `ahead`."""
        return self.constraint is not None or len(ahead) < self._num_too_early

    def allowed(self, ahead: Sequence[int]) -> Tensor:
        """[vocab] bool: the tokens that can be chosen after `ahead`."""
        if self.constraint is not None:
            return self.constraint.allowed(ahead)
        allowed = torch.ones(self._vocab_size, dtype=torch.bool)
        allowed[self._endings] = False
        return allowed


@dataclass(frozen=True)
class Place:
    """Where a token is to be chosen: at the end of a request's text and of drafted tokens after it."""

    chooser: Chooser
    ahead: Sequence[int] = ()


@dataclass(frozen=True)
class Choice:
    """A chosen token.

    Attributes:
        distribution: [vocab], what it was drawn from; None where it was certain.
        chance: its probability there.
    """

    token: int
    distribution: Tensor | None = None
    chance: float = 1.0


def choose(logits: Tensor, places: Sequence[Place]) -> list[Choice]:
    """One token per row of `logits` [rows, vocab]."""
    logits = adjust(logits, places)
    tokens = logits.argmax(-1)
    sampled = _rows(places, lambda place: not place.chooser.sampling.greedy)
    if not sampled:
        return [Choice(token) for token in tokens.tolist()]
    choosers = [places[row].chooser for row in sampled]
    weights = distributions(logits[sampled], [chooser.sampling for chooser in choosers])
    uniform = torch.cat([chooser.uniform(1) for chooser in choosers]).to(logits.device)
    drawn = draw(weights, uniform)
    chances = weights.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    choices = [Choice(token) for token in tokens.tolist()]
    for row, token, own, chance in zip(sampled, drawn.tolist(), weights, chances.tolist(), strict=True):
        choices[row] = Choice(token, own, chance)
    return choices


def adjust(logits: Tensor, places: Sequence[Place]) -> Tensor:
    """Penalties, then bias, then bans; `logits` themselves where no row asked for any."""
    changed = logits
    for applies, change in ((_penalised, _penalise), (_biased, _bias), (_restricted, _ban)):
        rows = _rows(places, applies)
        if rows:
            changed = logits.float().clone() if changed is logits else changed
            changed[rows] = change(changed[rows], [places[row] for row in rows])
    return changed


def _rows(places: Sequence[Place], applies: Callable[[Place], bool]) -> list[int]:
    return [row for row, place in enumerate(places) if applies(place)]


def _penalised(place: Place) -> bool:
    return place.chooser.counts is not None


def _biased(place: Place) -> bool:
    return bool(place.chooser.sampling.logit_bias)


def _restricted(place: Place) -> bool:
    return place.chooser.restricted(place.ahead)


def _penalise(logits: Tensor, places: Sequence[Place]) -> Tensor:
    counts = [place.chooser.counts for place in places if place.chooser.counts is not None]
    samplings = [place.chooser.sampling for place in places]
    return penalise(logits, samplings, counts, [place.ahead for place in places])


def _bias(logits: Tensor, places: Sequence[Place]) -> Tensor:
    listed = [
        (row, token, bias)
        for row, place in enumerate(places)
        for token, bias in place.chooser.sampling.logit_bias.items()
    ]
    rows, tokens, biases = zip(*listed, strict=True)
    index = (torch.tensor(rows, device=logits.device), torch.tensor(tokens, device=logits.device))
    return logits.index_put(index, torch.tensor(biases, device=logits.device), accumulate=True)


def _ban(logits: Tensor, places: Sequence[Place]) -> Tensor:
    allowed = torch.stack([place.chooser.allowed(place.ahead) for place in places])
    return logits.masked_fill(~allowed.to(logits.device), -torch.inf)
