"""What the target makes of a step: it chooses tokens, and of drafted ones keeps what it would have written.

Greedy rows keep drafted tokens as long as they are the target's own choice. Rows that sample keep a token
that was drawn from q with probability min(1, p/q); the first that is refused is drawn anew from what p has
more than q, and after a draft that was kept whole one more token is drawn from p (Leviathan et al. 2023,
arXiv:2211.17192, algorithm 1). So every token is distributed as p says, whatever drafted it.
"""

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from derailleur.engine.active import Work
from derailleur.engine.choosing import Place, adjust
from derailleur.engine.runner import StepOutput
from derailleur.engine.sampling import distributions, draw


def decide(works: Sequence[Work], output: StepOutput) -> list[list[int]]:
    """The tokens that each piece of work adds: drafted ones that are kept, and one of the target's.

    No token where there is nothing to choose by: logits that overflowed, a grammar that allows none.
    """
    rows: list[int] = []
    firsts: list[int] = []
    for work, span in zip(works, output.spans, strict=True):
        firsts.append(len(rows))
        rows.extend(range(span.stop - work.num_choices, span.stop))
    logits = output.logits if rows == list(range(len(output.logits))) else output.logits[rows]
    if any(work.active.chooser.adjusts for work in works):
        logits = adjust(logits, _places(works))
    best = logits.max(-1)
    likeliest = best.indices.tolist()
    decided = [
        _own(work.proposed, likeliest[first : first + work.num_choices])
        for work, first in zip(works, firsts, strict=True)
    ]
    sampled = [i for i, work in enumerate(works) if work.num_choices and not work.greedy]
    if sampled:
        own = [row for i in sampled for row in range(firsts[i], firsts[i] + works[i].num_choices)]
        samplings = [works[i].active.request.sampling for i in sampled for _ in range(works[i].num_choices)]
        weights = distributions(logits[own], samplings)
        for i, tokens in zip(sampled, _sample([works[i] for i in sampled], weights), strict=True):
            decided[i] = tokens
    for row in best.values.isfinite().logical_not().nonzero().flatten().tolist():
        i = bisect_right(firsts, row) - 1
        if row - firsts[i] < len(decided[i]):
            decided[i] = []
    return decided


def count_accepted(proposed: Sequence[int], own: Sequence[int]) -> int:
    """How many proposed tokens equal the target's own choice, from the first on."""
    agrees = [a == b for a, b in zip(proposed, own, strict=False)]
    return agrees.index(False) if False in agrees else len(agrees)


def _places(works: Sequence[Work]) -> list[Place]:
    return [Place(work.active.chooser, work.proposed[:i]) for work in works for i in range(work.num_choices)]


def _own(proposed: Sequence[int], likeliest: Sequence[int]) -> list[int]:
    return list(likeliest[: 1 + count_accepted(proposed, likeliest)])


def _sample(works: Sequence[Work], target: Tensor) -> list[list[int]]:
    """Verify by rejection.

    Args:
        target: [choices of all works, vocab], the target's distributions.
    """
    uniforms = [work.active.chooser.uniform(work.num_choices) for work in works]
    drafted, ends = _drafted_chances(works, target), []
    kept: list[int] = []
    first = 0
    for work, uniform, chances in zip(works, uniforms, drafted, strict=True):
        kept.append(_count_kept(work, chances, uniform.tolist()))
        ends.append(first + kept[-1])
        first += work.num_choices
    weights = target[ends]
    refused = [i for i, work in enumerate(works) if kept[i] < len(work.proposal)]
    if refused:
        drafts = torch.stack([_draft_distribution(works[i], kept[i], weights[i]) for i in refused])
        rest = (weights[refused] - drafts).clamp(min=0)
        # Nothing is left only where p and q are equal but for rounding.
        weights[refused] = torch.where(rest.sum(-1, keepdim=True) > 0, rest, weights[refused])
    last = torch.stack([uniform[-1] for uniform in uniforms]).to(target.device)
    drawn = draw(weights, last).tolist()
    return [[*work.proposed[:n], token] for work, n, token in zip(works, kept, drawn, strict=True)]


def _drafted_chances(works: Sequence[Work], target: Tensor) -> list[list[float]]:
    """The target's probability of every drafted token."""
    rows: list[int] = []
    tokens: list[int] = []
    first = 0
    for work in works:
        rows.extend(range(first, first + len(work.proposal)))
        tokens.extend(work.proposed)
        first += work.num_choices
    chances = iter(target[rows, tokens].tolist() if rows else [])
    return [[next(chances) for _ in work.proposal] for work in works]


def _count_kept(work: Work, chances: Sequence[float], uniform: Sequence[float]) -> int:
    for place, (choice, chance) in enumerate(zip(work.proposal, chances, strict=True)):
        if not uniform[place] * choice.chance <= chance:  # also where a draft has no numbers
            return place
    return len(work.proposal)


def _draft_distribution(work: Work, place: int, like: Tensor) -> Tensor:
    """[vocab]: what the drafted token at `place` was drawn from."""
    choice = work.proposal[place]
    if choice.distribution is not None:
        return choice.distribution
    certain = torch.zeros_like(like)
    certain[choice.token] = 1
    return certain
