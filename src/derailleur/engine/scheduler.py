"""Who runs, and who reads how much: first come, first served, as far as memory and rows go.

Every admitted request takes part in every step: one that decodes with its next token, one whose prompt
is not read yet with a piece of it. The pieces of all prompts share a number of tokens per step, the
oldest request first, so that a long prompt does not hold up those that decode. A request that cannot be
admitted holds back all after it: nothing starves.
"""

from collections import deque
from collections.abc import Iterator

from derailleur.engine.active import ActiveRequest, Work
from derailleur.engine.memory import State, StateMemory
from derailleur.engine.pacing import Pace
from derailleur.engine.plan import Piece
from derailleur.engine.request import NGRAM
from derailleur.engine.speculative import Draft


class Scheduler:
    """The queue of requests and those that run.

    Attributes:
        waiting, running: in the order in which they came.
    """

    def __init__(
        self, memory: StateMemory, *, max_rows: int, prefill_tokens: int, max_draft_tokens: int
    ) -> None:
        self.waiting: deque[ActiveRequest] = deque()
        self.running: list[ActiveRequest] = []
        self._memory = memory
        self._max_rows, self._prefill_tokens = max_rows, prefill_tokens
        self._max_draft_tokens = max_draft_tokens

    def admit(self) -> None:
        """Start as many waiting requests as fit."""
        while self.waiting and len(self.running) < self._max_rows:
            states = self._memory.allocate(self.waiting[0].claims)
            if states is None:
                return
            active = self.waiting.popleft()
            active.state = states[0]
            if active.request.draft is not None:
                state = None if active.request.draft == NGRAM else states[1]
                active.draft = Draft(Pace(self._max_draft_tokens), state)
            self.running.append(active)

    def read_prompts(self) -> list[Work]:
        """The pieces of unread prompts that the next step takes, those for drafts included."""
        left = self._prefill_tokens
        works = []
        for active, state, unread in self._unread():
            num_tokens = min(left, unread)
            if num_tokens:
                works.append(_read(active, state, num_tokens, last=num_tokens == unread))
                left -= num_tokens
        return works

    def remove(self, active: ActiveRequest) -> None:
        """Forget a request that ended, and take its memory back."""
        if active in self.waiting:
            self.waiting.remove(active)
            return
        self.running.remove(active)
        self._memory.release(active.state)
        if active.draft is not None and active.draft.state is not None:
            self._memory.release(active.draft.state)

    def _unread(self) -> Iterator[tuple[ActiveRequest, State, int]]:
        """States that have tokens to read before they can take part in decoding, and how many."""
        for active in self.running:
            if active.num_generated == 0:
                yield active, active.state, len(active.tokens) - active.state.length
            elif active.must_catch_up and active.draft is not None and active.draft.state is not None:
                # The last token stays for the pass that proposes.
                yield active, active.draft.state, active.num_behind - 1


def _read(active: ActiveRequest, state: State, num_tokens: int, *, last: bool) -> Work:
    tokens = active.tokens[state.length : state.length + num_tokens]
    if state is not active.state:
        return Work(active, Piece(state, tokens, num_logits=0), num_choices=0)
    num_choices = int(last and active.request.max_tokens > 0)
    num_logits = num_tokens if active.request.prompt_logprobs else num_choices
    return Work(active, Piece(state, tokens, num_logits=num_logits), num_choices)
