"""How long a request's drafts are, and when it rests from drafting: from what was accepted.

A verify step with a draft of n tokens adds 1 + a + ... + a^n tokens on average, where a is the chance that
a token is accepted (Leviathan et al. 2023, arXiv:2211.17192, eq. 1). It pays if it takes less than that
many times the seconds of a step without drafts.
"""

from derailleur.engine.request import Speculation

_FIRST_DRAFT_TOKENS = 4
_MEMORY = 0.9
"""What a verify step leaves of the weight of those before it."""

_FIRST_REST_TOKENS, _LONGEST_REST_TOKENS = 32, 1024
_FEWEST_STEPS = 4
"""Verify steps before a request may stop drafting."""


class Pace:
    """The drafts of one request: their length, their statistics, and the rest between them.

    Attributes:
        num_tokens: the length of the next draft.
    """

    def __init__(self, max_tokens: int) -> None:
        self.num_tokens = min(_FIRST_DRAFT_TOKENS, max_tokens)
        self.statistics = Speculation()
        self._max_tokens = max_tokens
        self._accepted = self._tried = 0.0
        self._rest_tokens, self._next_rest_tokens = 0, _FIRST_REST_TOKENS

    @property
    def resting(self) -> bool:
        """Whether the request goes on without drafts for a while."""
        return self._rest_tokens > 0

    def expected_tokens(self, num_drafted: int) -> float:
        """Tokens that a verify step of such a draft is expected to add."""
        rate = self._accepted / self._tried if self._tried else 1.0
        return sum(rate**n for n in range(num_drafted + 1))

    def record(self, num_drafted: int, num_accepted: int) -> None:
        """Count a verify step and adapt the draft's length to it.

        Lengths are doubled and halved, so that the requests of a batch have few different ones: rows
        that verify equally many tokens are computed together.
        """
        self.statistics.steps += 1
        self.statistics.drafted += num_drafted
        self.statistics.accepted += num_accepted
        self._accepted = _MEMORY * self._accepted + num_accepted
        self._tried = _MEMORY * self._tried + num_accepted + (num_accepted < num_drafted)
        if num_accepted == num_drafted:
            self.num_tokens = min(2 * self.num_tokens, self._max_tokens)
        elif num_accepted < num_drafted / 2:
            self.num_tokens = max(self.num_tokens // 2, 1)

    @property
    def known(self) -> bool:
        """Whether there were enough verify steps to tell what to expect."""
        return self.statistics.steps >= _FEWEST_STEPS

    def settle(self, *, pays: bool) -> None:
        """Go on drafting, or rest."""
        if pays:
            self._next_rest_tokens = _FIRST_REST_TOKENS
        else:
            self.rest()

    def rest(self, at_least: int = 0) -> None:
        """Go on without drafts for a while; each rest in a row is twice as long as the one before.

        Args:
            at_least: tokens.
        """
        self._rest_tokens = max(self._next_rest_tokens, at_least)
        self._next_rest_tokens = min(2 * self._next_rest_tokens, _LONGEST_REST_TOKENS)

    def pass_by(self, num_tokens: int) -> None:
        """Count tokens that were generated without a draft."""
        self._rest_tokens = max(self._rest_tokens - num_tokens, 0)
