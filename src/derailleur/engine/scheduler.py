"""Who runs, who reads how much, and who gives way: first come, first served, as far as memory and rows go.

Every admitted request takes part in every step: one that decodes with its next token, one that still reads
with a piece of its text. The pieces of all share a number of tokens per step, the oldest request first, so
that a long prompt does not hold up those that decode. A request that cannot be admitted holds back all
after it, and where pages run out the youngest gives its own back and reads its text again later: nothing
starves.
"""

import logging
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Literal

from derailleur.engine.active import ActiveRequest, Work
from derailleur.engine.memory import Claim, State, StateMemory
from derailleur.engine.pacing import Pace
from derailleur.engine.plan import Piece
from derailleur.engine.speculative import Draft, DraftTask
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement.placement import Placement

log = logging.getLogger(__name__)

Limit = Literal["rows", "memory"]

_HEADROOM_TOKENS = 64
"""A request is admitted with room for so many generated tokens, so that it does not give way at once."""


class Scheduler:
    """The queue of requests and those that run.

    Args:
        snapshot_tokens: how far apart recurrent states of a text are remembered; None remembers nothing.

    Attributes:
        waiting, running: in the order in which they came.
        limited_by: why the first that waits does.
        num_preempted: how often a request gave way.
    """

    def __init__(
        self,
        memory: StateMemory,
        *,
        max_rows: int,
        prefill_tokens: int,
        max_draft_tokens: int,
        snapshot_tokens: int | None,
    ) -> None:
        self.waiting: deque[ActiveRequest] = deque()
        self.running: list[ActiveRequest] = []
        self.limited_by: Limit | None = None
        self.num_preempted = 0
        self._waits_for_memory = False  # until some is given back: those that run only ever take more
        self._logged: set[Limit] = set()
        self._memory = memory
        self._max_rows, self._prefill_tokens = max_rows, prefill_tokens
        self._max_draft_tokens, self._snapshot_tokens = max_draft_tokens, snapshot_tokens

    def admit(self) -> None:
        """Start as many waiting requests as fit."""
        self.limited_by = None
        while self.waiting and not self._is_being_read(self.waiting[0]):
            if len(self.running) == self._max_rows:
                return self._limit("rows", f"max_rows is {self._max_rows}")
            if (self._waits_for_memory and self.running) or not self._start(self.waiting[0]):
                self._waits_for_memory = True
                return self._limit("memory", f"state_memory_bytes is {self._memory.budget_bytes:,}")
            self.running.append(self.waiting.popleft())

    def secure(
        self, decoding: Sequence[ActiveRequest], tasks: MutableMapping[ActiveRequest, DraftTask]
    ) -> list[ActiveRequest]:
        """Have pages for what the next step writes, the oldest request first; gives those that decode in it.

        Args:
            tasks: loses those that are not drafted.
        """
        secured = [active for active in decoding if self._secure(active, tasks)]
        for active in decoding:
            if active.preempted:
                tasks.pop(active, None)
        return secured

    def read(self) -> list[Work]:
        """The pieces of unread texts that the next step takes, those for drafts included."""
        left = self._prefill_tokens
        works = []
        for active, state, unread in self._unread():
            num_tokens = min(left, unread, self._next_stop(active, state) - state.length)
            if num_tokens and self._may_read(active, state, num_tokens):
                works.append(_read(active, state, num_tokens, last=num_tokens == unread))
                left -= num_tokens
        return works

    def remember(self, active: ActiveRequest, state: State) -> None:
        """Keep what a state has read for other requests, if this is a place where that is done.

        That is the end of a text; for states that know their whole text only it is some places before, too.
        """
        if self._remembers(active) and (
            state.length in self._stops(active, state)
            or active.finish_reason is not None
            or (state.length >= len(active.tokens) - 1 and not state.exact)
        ):
            self._memory.remember(state, active.tokens)

    def remove(self, active: ActiveRequest) -> None:
        """Forget a request that ended, and take its memory back."""
        if active in self.waiting:
            self.waiting.remove(active)
            self._waits_for_memory = False
            return
        self.running.remove(active)
        self._release(active)

    def _start(self, active: ActiveRequest) -> bool:
        """Give a request the states that it needs, if there is room."""
        request, text = active.request, active.tokens
        num_tokens = len(text) + min(_HEADROOM_TOKENS, active.num_remaining)
        resumed = text if self._remembers(active) else ()
        claims = [Claim(request.placement, num_tokens, text=resumed)]
        if isinstance(request.draft, Placement):
            claims.append(Claim(request.draft, num_tokens, scratch=True, text=resumed))
        states = self._memory.allocate(claims)
        if states is None:
            return False
        active.state, active.preempted = states[0], False
        if active.num_cached is None:
            active.num_cached = active.state.length
        if request.draft is not None:
            active.draft = active.draft or Draft(Pace(self._max_draft_tokens))
            active.draft.state = states[1] if len(states) > 1 else None
        return True

    def _is_being_read(self, active: ActiveRequest) -> bool:
        """Whether another request reads the very prompt: what it leaves behind spares this one to do so.

        One that had most of it spared itself is not waited for.
        """
        if not self._remembers(active):
            return False
        return any(
            other.reads
            and len(other.request.prompt) - (other.num_cached or 0) > 2 * PAGE_TOKENS
            and self._remembers(other)
            and other.request.prompt is active.request.prompt
            and other.request.placement == active.request.placement
            for other in self.running
        )

    def _secure(self, active: ActiveRequest, tasks: MutableMapping[ActiveRequest, DraftTask]) -> bool:
        if active.preempted:
            return False
        task = tasks.get(active)
        may_go_without = task is not None and not active.request.sampling.repeatable
        if may_go_without and not all(self._memory.reserve(*need) for need in _needs(active, task)):
            # No request gives way to a draft.
            del tasks[active]
            task = None
        return all(self._has_pages(active, *need) for need in _needs(active, task))

    def _may_read(self, active: ActiveRequest, state: State, num_tokens: int) -> bool:
        """Have pages for a piece of a text; no request gives way to a draft that can be done without."""
        if state is active.state or active.waits_for_draft:
            return self._has_pages(active, state, num_tokens)
        return self._memory.reserve(state, num_tokens)

    def _has_pages(self, active: ActiveRequest, state: State, num_tokens: int) -> bool:
        """Have pages for a state's next tokens; the youngest gives way where there are too few."""
        while not active.preempted:
            if self._memory.reserve(state, num_tokens):
                return True
            self._preempt(self.running[-1])
        return False

    def _preempt(self, active: ActiveRequest) -> None:
        self.running.remove(active)
        self._release(active)
        self.waiting.appendleft(active)
        active.preempted = True
        self.num_preempted += 1

    def _release(self, active: ActiveRequest) -> None:
        states = [active.state, active.draft.state if active.draft is not None else None]
        for state in states:
            if state is not None:
                self._memory.release(state)
        self._waits_for_memory = False

    def _limit(self, limit: Limit, setting: str) -> None:
        """Say why the first that waits does; the log is told once, metrics always."""
        self.limited_by = limit
        if limit not in self._logged:
            self._logged.add(limit)
            log.info("%d requests run, %d wait: %s", len(self.running), len(self.waiting), setting)

    def _remembers(self, active: ActiveRequest) -> bool:
        """Whether a request takes part in the prefix cache; one that wants logits of its prompt does not."""
        usual = not active.request.prompt_logprobs and active.finish_reason != "error"
        return usual and self._snapshot_tokens is not None

    def _stops(self, active: ActiveRequest, state: State) -> Sequence[int]:
        """Where reading stops for a moment, so that a state that knows its whole text only is remembered.

        Every `snapshot_tokens`, and shortly before the end: an editor sends the same text again with
        another end, and the last token of the same letters may be another one.
        """
        if not self._remembers(active) or not state.exact_at(len(active.tokens)):
            return ()
        assert self._snapshot_tokens is not None
        last = (len(active.tokens) - 2) // PAGE_TOKENS * PAGE_TOKENS
        step = self._snapshot_tokens
        return (*range(step, last, step), last)

    def _next_stop(self, active: ActiveRequest, state: State) -> int:
        return next((stop for stop in self._stops(active, state) if stop > state.length), len(active.tokens))

    def _unread(self) -> Iterator[tuple[ActiveRequest, State, int]]:
        """States that have tokens to read before they can take part in decoding, and how many."""
        for active in list(self.running):
            if active.reads:
                yield active, active.state, active.num_unread
            elif active.must_catch_up and active.draft is not None and active.draft.state is not None:
                # The last token stays for the pass that proposes.
                yield active, active.draft.state, active.num_behind - 1


def _needs(active: ActiveRequest, task: DraftTask | None) -> list[tuple[State, int]]:
    """How many tokens a request's states take in the next step."""
    if task is None:
        return [(active.state, 1)]
    needs = [(active.state, 1 + task.num_tokens)]
    if task.draft.state is not None:
        needs.append((task.draft.state, active.num_behind + task.num_tokens))
    return needs


def _read(active: ActiveRequest, state: State, num_tokens: int, *, last: bool) -> Work:
    tokens = active.tokens[state.length : state.length + num_tokens]
    if state is not active.state or active.num_generated:
        return Work(active, Piece(state, tokens, num_logits=0), num_choices=0)
    num_choices = int(last and active.request.max_tokens > 0)
    num_logits = num_tokens if active.request.prompt_logprobs else num_choices
    return Work(active, Piece(state, tokens, num_logits=num_logits), num_choices)
