"""Prompt look-up: drafts copied from where the text said the same before (Saxena 2023).

No model and no state memory: code repeats itself, and an edited file repeats its prompt.
"""

from collections import defaultdict
from collections.abc import Sequence

_SHORTEST_MATCH = 3
_LONGEST_MATCH = 16
_MAX_CANDIDATES = 32


class NgramIndex:
    """Where the n-grams of one growing text ended."""

    def __init__(self) -> None:
        self._ends: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        self._num_read = _SHORTEST_MATCH - 1

    def continuation(self, tokens: Sequence[int], num_tokens: int) -> list[int]:
        """What followed the longest match of the text's end; the most recent of equally long ones.

        Args:
            tokens: the text, which begins with the text of the last call.

        Returns:
            `num_tokens` tokens, or none.
        """
        for end in range(self._num_read + 1, len(tokens)):
            self._ends[tuple(tokens[end - _SHORTEST_MATCH : end])].append(end)
        self._num_read = max(len(tokens) - 1, self._num_read)
        candidates = self._ends.get(tuple(tokens[-_SHORTEST_MATCH:]), [])[-_MAX_CANDIDATES:]
        if not candidates:
            return []
        start = max(candidates, key=lambda end: (_match_length(tokens, end), end))
        # A text that repeats itself up to its end goes on repeating itself.
        period = len(tokens) - start
        return [tokens[start + place % period] for place in range(num_tokens)]


def _match_length(tokens: Sequence[int], end: int) -> int:
    """How many tokens before `end` equal those before the text's end."""
    longest = min(_LONGEST_MATCH, end)
    differs = (n for n in range(longest) if tokens[end - 1 - n] != tokens[-1 - n])
    return next(differs, longest)
