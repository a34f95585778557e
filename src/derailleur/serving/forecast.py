"""How fast the engine will be with one more request: a forecast from what is in flight and what was seen.

With the request under placement p, and seconds from the prices of `price.py`:

    decode(p)      = k (fixed + sum of row)              a step of all rows in flight and of the new ones
    token(p)       = decode(p) + min(reading(p) / n, piece(p))
    first_token(p) = backlog + own(p) + steps x decode + (rows that wait / rows that run) x n x token(p)

Prompts are read in pieces beside rows that decode, so those pay for them: `reading` is the backlog of unread
prompts, the request's own prompt where there are others to be held up, and the prompts that come at the
present rate while an answer of n tokens is written, all spread over those n tokens; but a step reads one
`piece` at most. A prompt token takes r times what a row of the same context is priced at.

Three numbers are learnt, each from what shows it alone: k, how this machine compares with the one that the
prices are from, by steps that read nothing; r, by the time from one first token to the next; n, by answers
that end. What a prefix cache spares makes r smaller, what a draft brings makes k smaller.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from derailleur.engine import Delta, Request
from derailleur.serving.price import Price

_RATE_SECONDS = 10.0
"""How long an arrival counts in the rate of arrivals: its weight falls to 1/e."""

_STEP_WEIGHT, _PROMPT_WEIGHT, _ANSWER_WEIGHT = 0.1, 0.3, 0.1
"""Weights of one observation in k, r and n; the first answers count alike."""

_LARGEST_SURPRISE = 4.0
"""An observation counts as at most this many times what was expected: a compilation or a pause is no news."""


@dataclass
class Row:
    """A request in flight."""

    price: Price
    prompt_tokens: int
    num_generated: int = 0

    @property
    def context_tokens(self) -> int:
        """What its next token looks back on."""
        return self.prompt_tokens + self.num_generated

    @property
    def reading_seconds(self) -> float:
        """Of its whole prompt, before r."""
        return self.price.reading_seconds(self.prompt_tokens)


@dataclass(frozen=True)
class Latency:
    """What is forecast, or promised: seconds per output token, and until the first."""

    token_seconds: float
    first_token_seconds: float

    def within(self, target: "Latency", share: float) -> bool:
        """Whether both are at most a share of their targets."""
        return (
            self.token_seconds <= share * target.token_seconds
            and self.first_token_seconds <= share * target.first_token_seconds
        )


class Forecast:
    """What the engine does, and what it would do with one request more. Not thread-safe.

    Args:
        prefill_tokens, max_rows: of the engine.
        target: what is promised.
        clock: seconds, from any beginning.
    """

    def __init__(
        self,
        *,
        prefill_tokens: int,
        max_rows: int,
        target: Latency,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefill_tokens, self._max_rows = prefill_tokens, max_rows
        self._room = max_rows
        self._target, self._clock = target, clock
        self._rows: dict[int, Row] = {}
        self._step_factor, self._reading_factor = 1.0, 1.0
        self._answer_tokens, self._num_answers = 64.0, 0
        self._spent_reading = 0.0
        self._rate, self._rated_at = 0.0, clock()

    @property
    def calm(self) -> bool:
        """Whether nothing is in flight, and nothing came lately."""
        return not self._rows and self._clock() - self._rated_at > _RATE_SECONDS

    def begin(self, request_id: int, request: Request, price: Price) -> None:
        """The engine took a request on."""
        self._rows[request_id] = row = _row(request, price)
        self._rate = self._arriving_tokens() + row.prompt_tokens / _RATE_SECONDS
        self._rated_at = self._clock()

    def end(self, request_id: int) -> None:
        """A request is finished or cancelled."""
        row = self._rows.pop(request_id)
        if row.num_generated:
            self._num_answers += 1
            weight = max(_ANSWER_WEIGHT, 1 / self._num_answers)
            self._answer_tokens += weight * (row.num_generated - self._answer_tokens)
        if not self._unread():
            self._spent_reading = 0.0

    def observe(self, seconds: float, deltas: Sequence[Delta], *, num_running: int) -> None:
        """Learn from a step.

        Args:
            seconds: that it took.
            deltas: what it added to requests in flight; those that it ended come to `end` afterwards.
            num_running: requests that took part.
        """
        decoding = [row for row in self._rows.values() if row.num_generated]
        expected = self._decode_seconds(decoding)
        added = [(self._rows[delta.request_id], delta) for delta in deltas]
        if num_running > len(decoding):
            self._spent_reading += seconds - expected
        elif decoding:
            num_tokens = sum(len(delta.tokens) for _, delta in added) / len(decoding)
            self._step_factor *= _correction(seconds / max(num_tokens, 1) / expected, _STEP_WEIGHT)
        read = self._prompt_seconds(row for row, delta in added if not row.num_generated and _begins(delta))
        if read:
            self._reading_factor *= _correction(self._spent_reading / read, _PROMPT_WEIGHT)
            self._spent_reading = 0.0
        for row, delta in added:
            row.num_generated += len(delta.tokens)
        # Where some wait, memory may be shorter than rows.
        self._room = num_running if 0 < num_running < len(self._rows) else self._max_rows

    def latency(self, requests: Sequence[Request], price: Price) -> Latency:
        """With these requests in flight too, at that price."""
        own = [_row(request, price) for request in requests]
        others, unread = list(self._rows.values()), self._unread()
        decode = self._decode_seconds([*own, *others][: self._room])
        backlog = max(self._prompt_seconds(unread) - self._spent_reading, 0.0)
        own_seconds, own_tokens = self._prompt_seconds(own), sum(row.prompt_tokens for row in own)
        coming_tokens = self._arriving_tokens() * self._answer_tokens * self._target.token_seconds
        reading = backlog + coming_tokens * own_seconds / own_tokens + (own_seconds if others else 0.0)
        piece = self._prefill_tokens * max(
            self._prompt_seconds([row]) / row.prompt_tokens for row in [*own, *unread]
        )
        token = decode + min(reading / self._answer_tokens, piece)
        num_steps = (sum(row.prompt_tokens for row in unread) + own_tokens) / self._prefill_tokens
        num_beyond = max(len(others) + len(own) - self._room, 0)
        return Latency(
            token,
            backlog
            + own_seconds
            + num_steps * self._decode_seconds(others)
            + num_beyond / self._room * self._answer_tokens * token,
        )

    def _unread(self) -> list[Row]:
        return [row for row in self._rows.values() if not row.num_generated]

    def _decode_seconds(self, rows: Sequence[Row]) -> float:
        fixed = max((row.price.fixed_seconds(row.context_tokens) for row in rows), default=0.0)
        return self._step_factor * (fixed + sum(row.price.row_seconds(row.context_tokens) for row in rows))

    def _prompt_seconds(self, rows: Iterable[Row]) -> float:
        return self._reading_factor * sum(row.reading_seconds for row in rows)

    def _arriving_tokens(self) -> float:
        """Prompt tokens that come in a second."""
        return self._rate * math.exp((self._rated_at - self._clock()) / _RATE_SECONDS)


def _row(request: Request, price: Price) -> Row:
    # The engine refuses an empty prompt, but only later.
    return Row(price, max(len(request.prompt), 1))


def _begins(delta: Delta) -> bool:
    """Whether a request's first delta of this kind says that its prompt is read."""
    return bool(delta.tokens) or delta.finish_reason is not None


def _correction(surprise: float, weight: float) -> float:
    """What a factor is multiplied by where `surprise` times the expected was seen."""
    return min(max(surprise, 1 / _LARGEST_SURPRISE), _LARGEST_SURPRISE) ** weight
