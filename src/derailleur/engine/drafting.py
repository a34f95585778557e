"""Who drafts in a step: every request with a draft, as long as measured step times say that it pays.

Seconds are those of whole steps, in which other requests take part; so they are kept apart by what ran, by
how many rows there were and by how long the prompt is. A draft must be worth them to its own request and to
all rows of the step together: those that do not draft wait for it. Requests whose text a seed fixes always
draft: where their drafts are decides which of their random numbers are used for what.
"""

import statistics
from collections import deque
from collections.abc import Hashable, Sequence

from derailleur.engine.active import ActiveRequest, Work
from derailleur.engine.speculative import DraftTask

_KEPT_STEPS = 8
_FEWEST_PLAIN_STEPS = 3
_STEPS_BETWEEN_PLAIN = 64
_MAX_KINDS = 256
_FIRST_TRY, _REQUESTS_BETWEEN_TRIES = 8, 128
_UNTRIED_REST_TOKENS = 256
"""The first rest of a request that begins without drafts: longer, since it learns from those before it."""


class Drafting:
    """Lets requests draft, and has them rest where it does not pay.

    Args:
        always: whatever it costs.
    """

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._times = StepTimes()
        self._unpaid: dict[Hashable, int] = {}

    def tasks(self, decoding: Sequence[ActiveRequest], *, num_running: int) -> dict[ActiveRequest, DraftTask]:
        """What is drafted for the requests that decode in the next step.

        Args:
            num_running: those that still read their prompts included.
        """
        for active in decoding:
            if (
                active.num_generated == 1
                and active.draft is not None
                and not self._may_start(active, num_running)
            ):
                active.draft.pace.rest(_UNTRIED_REST_TOKENS)
        tasks = {active: task for active in decoding if (task := active.draft_task()) is not None}
        weighed = [active for active in tasks if self._weighs(active)]
        if any(self._times.wants_plain(_kind(active, len(decoding))) for active in weighed):
            for active in weighed:
                del tasks[active]
        return tasks

    def record(self, works: Sequence[Work], chosen: Sequence[Sequence[int]], seconds: float | None) -> None:
        """Tell drafts what came of them.

        Args:
            works: those that decode.
            chosen: the tokens that each added.
            seconds: that the step took, if it did nothing else.
        """
        longest = max((len(work.proposal) for work in works), default=0)
        if seconds is not None:
            for kind in {_kind(work.active, len(works)) for work in works if work.active.draft}:
                self._times.add(kind, longest, seconds)
        expected = [_expected_tokens(work, tokens) for work, tokens in zip(works, chosen, strict=False)]
        for work, own in zip(works, expected, strict=True):
            pace = work.active.draft.pace if work.active.draft else None
            if pace is None or not work.proposal or not pace.known or not self._weighs(work.active):
                continue
            kind = _kind(work.active, len(works))
            pays = self._pays(kind, sum(expected) / len(expected), longest)
            if pays is not None:
                pays = pays and self._pays(kind, own, len(work.proposal)) is not False
                pace.settle(pays=pays)
                self._remember(kind, pays=pays)

    def _pays(self, kind: Hashable, expected_tokens: float, num_drafted: int) -> bool | None:
        """Whether so many tokens a row are worth a step with such a draft; None while that is not known."""
        slowdown = self._times.slowdown(kind, num_drafted)
        return None if slowdown is None else expected_tokens >= slowdown

    def _may_start(self, active: ActiveRequest, num_rows: int) -> bool:
        """Whether a new request drafts from its beginning.

        Not if the last of its kind ended up without: a draft must read the whole prompt first. Now and
        then one tries: the 8th, the 16th, and so on, and in the end every 128th.
        """
        kind = _kind(active, num_rows)
        if kind not in self._unpaid or not self._weighs(active):
            return True
        self._unpaid[kind] = count = self._unpaid[kind] + 1
        return count >= _FIRST_TRY and (count.bit_count() == 1 or count % _REQUESTS_BETWEEN_TRIES == 0)

    def _remember(self, kind: Hashable, *, pays: bool) -> None:
        if pays:
            self._unpaid.pop(kind, None)
            return
        if len(self._unpaid) >= _MAX_KINDS:
            self._unpaid.clear()
        self._unpaid.setdefault(kind, 0)

    def _weighs(self, active: ActiveRequest) -> bool:
        return not (self._always or active.request.sampling.repeatable)


class StepTimes:
    """Seconds of recent steps, by kind (what ran in them) and by the length of their longest draft."""

    def __init__(self) -> None:
        self._seconds: dict[Hashable, dict[int, deque[float]]] = {}
        self._since_plain: dict[Hashable, int] = {}

    def add(self, kind: Hashable, num_drafted: int, seconds: float) -> None:
        """Record a step; 0 drafted tokens are a step without drafts."""
        if kind not in self._seconds and len(self._seconds) >= _MAX_KINDS:
            self._seconds.clear()
            self._since_plain.clear()
        lengths = self._seconds.setdefault(kind, {})
        lengths.setdefault(num_drafted.bit_length(), deque(maxlen=_KEPT_STEPS)).append(seconds)
        self._since_plain[kind] = self._since_plain.get(kind, 0) + 1 if num_drafted else 0

    def wants_plain(self, kind: Hashable) -> bool:
        """Whether a step without drafts is due, to know what one takes."""
        known = self._seconds.get(kind, {}).get(0, ())
        return len(known) < _FEWEST_PLAIN_STEPS or self._since_plain[kind] >= _STEPS_BETWEEN_PLAIN

    def slowdown(self, kind: Hashable, num_drafted: int) -> float | None:
        """Seconds of a step with such a draft over those of a step without; None while not known."""
        known = self._seconds.get(kind, {})
        plain, drafted = known.get(0), known.get(num_drafted.bit_length())
        if not plain or not drafted:
            return None
        return statistics.median(drafted) / statistics.median(plain)


def _expected_tokens(work: Work, chosen: Sequence[int]) -> float:
    """Tell a request's draft what came of it; gives the tokens to expect of such a step."""
    if work.active.draft is None:
        return 1.0
    pace = work.active.draft.pace
    if not work.proposal:
        pace.pass_by(len(chosen))
        return 1.0
    pace.record(len(work.proposal), max(len(chosen) - 1, 0))
    return pace.expected_tokens(len(work.proposal))


def _kind(active: ActiveRequest, num_rows: int) -> Hashable:
    """Steps of one kind take about equally long, but for their drafts."""
    request = active.request
    return request.placement, request.draft, num_rows.bit_length(), len(request.prompt).bit_length()
