"""Greedy self-speculation: a cheap placement proposes tokens, the target verifies them in one step.

Draft and target are placements of one decoder, each with a state of its own. The draft's state only ever
consumes tokens that are certain: in the pass that reads what was accepted last it also gives its first
proposal, and the further ones run ahead in a scratch state that is forgotten afterwards. So nothing of
the draft has to be rolled back. The target's states after each proposed token are kept by a traced step,
of which the accepted part is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from derailleur.engine.memory import State
from derailleur.engine.plan import Piece
from derailleur.engine.request import Speculation
from derailleur.engine.runner import Runner
from derailleur.model.mixers import MAX_TRACE_TOKENS

MAX_DRAFT_TOKENS = MAX_TRACE_TOKENS - 1
"""A verify step traces the drafted tokens and the one before them."""

MAX_CATCH_UP_TOKENS = MAX_TRACE_TOKENS
"""A draft that is further behind reads on in pieces, as prompts are read, before it proposes again."""

_FIRST_DRAFT_TOKENS = 4


@dataclass(eq=False)
class Draft:
    """The drafting side of one request.

    Attributes:
        state: of the draft placement, with a scratch state.
        max_tokens: the longest draft.
        num_tokens: the length of the next draft.
    """

    state: State
    max_tokens: int
    num_tokens: int = field(init=False)
    statistics: Speculation = field(default_factory=Speculation)

    def __post_init__(self) -> None:
        self.num_tokens = min(_FIRST_DRAFT_TOKENS, self.max_tokens)

    def record(self, num_drafted: int, num_accepted: int) -> None:
        """Count a verify step and adapt the draft's length to it.

        Lengths are doubled and halved, so that the requests of a batch have few different ones: rows
        that verify equally many tokens are computed together.
        """
        self.statistics.steps += 1
        self.statistics.drafted += num_drafted
        self.statistics.accepted += num_accepted
        if num_accepted == num_drafted:
            self.num_tokens = min(2 * self.num_tokens, self.max_tokens)
        elif num_accepted < num_drafted / 2:
            self.num_tokens = max(self.num_tokens // 2, 1)


@dataclass(frozen=True)
class DraftTask:
    """Draft at most `num_tokens` tokens after `tokens`, the request's whole text."""

    draft: Draft
    tokens: Sequence[int]
    num_tokens: int


def propose(runner: Runner, tasks: Sequence[DraftTask]) -> list[list[int]]:
    """Draft for several requests at once; gives the proposed tokens of each."""
    if not tasks:
        return []
    news = [Piece(task.draft.state, task.tokens[task.draft.state.length :]) for task in tasks]
    proposals = [[token] for token in _likeliest(runner, news)]
    ahead = [place for place, task in enumerate(tasks) if task.num_tokens > 1]
    scratch = {place: tasks[place].draft.state.restart_scratch(runner.device) for place in ahead}
    while ahead:
        pieces = [Piece(scratch[place], proposals[place][-1:]) for place in ahead]
        for place, token in zip(ahead, _likeliest(runner, pieces), strict=True):
            proposals[place].append(token)
        ahead = [place for place in ahead if len(proposals[place]) < tasks[place].num_tokens]
    return proposals


def count_accepted(proposed: Sequence[int], own: Sequence[int]) -> int:
    """How many proposed tokens equal the target's own choice, from the first on."""
    agrees = [a == b for a, b in zip(proposed, own, strict=False)]
    return agrees.index(False) if False in agrees else len(agrees)


def _likeliest(runner: Runner, pieces: Sequence[Piece]) -> list[int]:
    output = runner.step(pieces)
    best: Tensor = output.logits.argmax(-1)
    tokens: list[int] = best.tolist()
    return [tokens[span.start] for span in output.spans]
