"""A request that the engine has taken on, and how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from derailleur.engine.memory import Claim, State
from derailleur.engine.plan import Piece
from derailleur.engine.request import FinishReason, Request
from derailleur.engine.speculative import MAX_CATCH_UP_TOKENS, Draft, DraftTask
from derailleur.engine.text import StopText


@dataclass(eq=False)
class ActiveRequest:
    """A request, its tokens so far, and its states once it is admitted.

    Attributes:
        claims: the memory that it needs: its placement's, then its draft's.
        tokens: the prompt and what was generated.
        generator: its own source of random numbers; None where sampling is greedy.
    """

    id: int
    request: Request
    claims: Sequence[Claim]
    tokens: list[int]
    text: StopText
    generator: torch.Generator | None
    stop_tokens: frozenset[int]
    state: State = field(init=False)
    draft: Draft | None = None
    finish_reason: FinishReason | None = None

    @property
    def num_generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def num_remaining(self) -> int:
        """Tokens that may still be generated."""
        return self.request.max_tokens - self.num_generated

    def push(self, token: int) -> str:
        """Take a generated token; returns the text that may be shown now, and may set `finish_reason`."""
        self.tokens.append(token)
        ended = token in self.stop_tokens
        shown = "" if ended else self.text.push(token)
        if ended or self.text.stopped:
            self.finish_reason = "stop"
        elif self.num_remaining == 0:
            self.finish_reason = "length"
        if self.finish_reason:
            shown += self.text.finish()
            if self.text.stopped:
                self.finish_reason = "stop"
        return shown

    def draft_task(self) -> DraftTask | None:
        """What to draft now; None without a draft, or with one that is behind, or when one token is left."""
        if self.draft is None or len(self.tokens) - self.draft.state.length > MAX_CATCH_UP_TOKENS:
            return None
        # The step that verifies adds one token more than it accepts.
        num_tokens = min(self.draft.num_tokens, self.num_remaining - 1)
        return DraftTask(self.draft, self.tokens, num_tokens) if num_tokens else None


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
    proposal: Sequence[int] = ()
