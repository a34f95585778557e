"""A request that the engine has taken on, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from derailleur.engine.choosing import Choice, Chooser
from derailleur.engine.memory import State
from derailleur.engine.plan import Piece
from derailleur.engine.request import FinishReason, Request
from derailleur.engine.speculative import MAX_CATCH_UP_TOKENS, Draft, DraftTask
from derailleur.engine.text import StopText


@dataclass(eq=False)
class ActiveRequest:
    """A request, its tokens so far, and its states once it is admitted.

    Attributes:
        tokens: the prompt and what was generated.
        chooser: how it chooses tokens.
        preempted: whether it gave its states back and waits again.
        num_cached: tokens of its prompt that were remembered, not read; None before it is admitted.
        num_reported: tokens of its prompt whose log-probabilities were given out.
    """

    id: int
    request: Request
    tokens: list[int]
    text: StopText
    chooser: Chooser
    stop_tokens: frozenset[int]
    state: State = field(init=False)
    draft: Draft | None = None
    finish_reason: FinishReason | None = None
    preempted: bool = False
    num_cached: int | None = None
    num_reported: int = 0

    @property
    def num_generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def num_remaining(self) -> int:
        """Tokens that may still be generated."""
        return self.request.max_tokens - self.num_generated

    @property
    def num_unread(self) -> int:
        """Tokens to read before it decodes; the last generated one belongs to the step that decodes."""
        return len(self.tokens) - self.state.length - (self.num_generated > 0)

    @property
    def reads(self) -> bool:
        """Whether it does not decode yet, or, after it gave way, not yet again."""
        return self.num_unread > 0

    @property
    def num_behind(self) -> int:
        """Tokens that its draft's state has not read."""
        state = self.draft.state if self.draft is not None else None
        return 0 if state is None else len(self.tokens) - state.length

    @property
    def must_catch_up(self) -> bool:
        """Whether its draft reads on in pieces before it proposes again."""
        wanted = self.draft is not None and not self.draft.pace.resting
        return wanted and self.num_behind > MAX_CATCH_UP_TOKENS

    @property
    def waits_for_draft(self) -> bool:
        """Whether it must not go on without drafts.

        Else what other requests read would decide where its drafts begin, and thereby which of its random
        numbers are used for what.
        """
        return self.request.sampling.repeatable and self.must_catch_up

    def push(self, token: int) -> str:
        """Take a generated token; returns the text that may be shown now, and may set `finish_reason`."""
        self.tokens.append(token)
        self.chooser.push(token)
        ended = token in self.stop_tokens
        shown = "" if ended else self.text.push(token)
        constraint = None if ended else self.chooser.constraint
        if constraint is not None:
            constraint.push(token)
        if ended or self.text.stopped or (constraint is not None and constraint.complete):
            self.finish_reason = "stop"
        elif self.num_remaining == 0:
            self.finish_reason = "length"
        if self.finish_reason:
            shown += self.text.finish()
            if self.text.stopped:
                self.finish_reason = "stop"
        return shown

    def draft_task(self) -> DraftTask | None:
        """What to draft now; None if nothing drafts, rests or is behind, or one token is left."""
        if self.draft is None or self.draft.pace.resting or self.must_catch_up:
            return None
        # The step that verifies adds one token more than it accepts.
        num_tokens = min(self.draft.pace.num_tokens, self.num_remaining - 1)
        return DraftTask(self.draft, self.chooser, self.tokens, num_tokens) if num_tokens else None


@dataclass(frozen=True)
class Work:
    """A request's part in one step.

    Attributes:
        num_choices: how many tokens are chosen, from the last logits of the piece.
        proposal: the drafted tokens at the end of the piece, to be verified.
    """

    active: ActiveRequest
    piece: Piece
    num_choices: int
    proposal: Sequence[Choice] = ()

    @property
    def proposed(self) -> list[int]:
        """The drafted tokens alone."""
        return [choice.token for choice in self.proposal]

    @property
    def greedy(self) -> bool:
        """Whether its request takes the likeliest tokens."""
        return self.active.request.sampling.greedy
