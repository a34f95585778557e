"""Self-speculation: something cheap proposes tokens, the target verifies them all in one step.

A placement that drafts has a state of its own. It only ever consumes tokens that are certain: in the pass
that reads what was accepted last it also gives its first proposal, and the further ones run ahead in a
scratch state that is forgotten afterwards. So nothing of the draft has to be rolled back. The target's
states after each proposed token are kept by a traced step, of which the accepted part is committed.

Drafts are chosen as the request chooses: under its own penalties, grammar, temperature and filters, with
its own random numbers. What is accepted decides `verifying.py`, how long a draft is and whether one is
made `pacing.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from derailleur.engine.choosing import Choice, Chooser, Place, choose
from derailleur.engine.memory import State, restart_scratch
from derailleur.engine.ngram import NgramIndex
from derailleur.engine.pacing import Pace
from derailleur.engine.plan import Piece
from derailleur.engine.runner import Runner
from derailleur.model.mixers import MAX_TRACE_TOKENS

MAX_DRAFT_TOKENS = MAX_TRACE_TOKENS - 1
"""A verify step traces the drafted tokens and the one before them."""

MAX_CATCH_UP_TOKENS = MAX_TRACE_TOKENS
"""A draft that is further behind reads on in pieces, as prompts are read, before it proposes again."""


@dataclass(eq=False)
class Draft:
    """The drafting side of one request.

    Attributes:
        state: of the draft placement, with a scratch state; None where drafts are looked up in the text.
    """

    pace: Pace
    state: State | None = None
    ngrams: NgramIndex = field(default_factory=NgramIndex)


@dataclass(frozen=True)
class DraftTask:
    """Draft at most `num_tokens` tokens after `tokens`, the request's whole text."""

    draft: Draft
    chooser: Chooser
    tokens: Sequence[int]
    num_tokens: int


def propose(runner: Runner, tasks: Sequence[DraftTask]) -> list[list[Choice]]:
    """Draft for several requests at once; gives the proposed tokens of each."""
    proposals: list[list[Choice]] = [[] for _ in tasks]
    pieces: dict[int, Piece] = {}
    for place, task in enumerate(tasks):
        state = task.draft.state
        if state is None:
            copied = task.draft.ngrams.continuation(task.tokens, task.num_tokens)
            proposals[place] = [Choice(token) for token in copied]
        else:
            pieces[place] = Piece(state, task.tokens[state.length :])
    while pieces:
        _extend(proposals, tasks, pieces, runner)
        ahead = [place for place in pieces if len(proposals[place]) < tasks[place].num_tokens]
        pieces = {
            place: Piece(scratch, [proposals[place][-1].token])
            for place, scratch in zip(ahead, _scratches(pieces, ahead), strict=True)
        }
    return proposals


def _extend(
    proposals: list[list[Choice]], tasks: Sequence[DraftTask], pieces: dict[int, Piece], runner: Runner
) -> None:
    """Choose one more token of every proposal that has a piece."""
    output = runner.step(list(pieces.values()))
    rows = [span.start for span in output.spans]
    logits = output.logits if rows == list(range(len(output.logits))) else output.logits[rows]
    drafted = [[choice.token for choice in proposals[place]] for place in pieces]
    ends = [Place(tasks[place].chooser, ahead) for place, ahead in zip(pieces, drafted, strict=True)]
    for place, choice in zip(pieces, choose(logits, ends), strict=True):
        proposals[place].append(choice)


def _scratches(pieces: Mapping[int, Piece], ahead: Sequence[int]) -> list[State]:
    """The states that run ahead; after the first pass, which all share, they start from the drafts' own."""
    states = [pieces[place].state for place in ahead]
    return restart_scratch(states) if all(state.scratch for state in states) else states
