"""The prefix cache: what a placement made of texts that were read before, to go on from.

A remembered prefix shares its pages with the states that it was taken from and with those that resume from
it. Recurrent states, and rings that came round, know only the place where they were copied; keys and
values serve for any beginning of their text.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.engine.pages import CountedPool, Pages
from derailleur.model.mixers import PAGE_TOKENS, Snapshot
from derailleur.placement.placement import Placement

Tokens = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SharedPages:
    """Pages of one layer that a prefix holds."""

    pool: CountedPool
    pages: Pages


@dataclass(frozen=True, eq=False)
class Prefix:
    """A text under a placement.

    Attributes:
        layers: one a layer: pages, or a copy of a recurrent state.
        exact: whether only the whole text can be resumed from, not a beginning of it.
    """

    placement: Placement
    tokens: Tokens
    layers: tuple[SharedPages | Snapshot, ...]
    exact: bool

    @property
    def snapshot_bytes(self) -> int:
        """Memory of the recurrent states."""
        return sum(
            x.numel() * x.element_size()
            for layer in self.layers
            if not isinstance(layer, SharedPages)
            for x in layer.values()
        )

    def usable_tokens(self, text: Tokens) -> int:
        """How much of a text it spares to read; the last token is always read, for its logits."""
        longest = min(len(self.tokens), len(text) - 1)
        differs = np.flatnonzero(self.tokens[:longest] != text[:longest])
        common = int(differs[0]) if len(differs) else longest
        return common if not self.exact or common == len(self.tokens) else 0

    def begins(self, text: Tokens) -> bool:
        """Whether a text begins with it."""
        return np.array_equal(self.tokens, text[: len(self.tokens)])

    def give_back(self) -> None:
        """Hold its pages no more."""
        for layer in self.layers:
            if isinstance(layer, SharedPages):
                layer.pool.give_back(layer.pages)


class PrefixCache:
    """Remembered prefixes, found by their first page of tokens; the one least recently used goes first."""

    def __init__(self) -> None:
        self._known: dict[tuple[Placement, bytes], dict[bytes, Prefix]] = {}
        self._by_use: OrderedDict[Prefix, None] = OrderedDict()
        self.snapshot_bytes = 0

    def __len__(self) -> int:
        return len(self._by_use)

    def find(self, placement: Placement, text: Sequence[int]) -> tuple[Prefix, int] | None:
        """What spares most of reading a text, and how many tokens that are; None if less than a page."""
        tokens = np.asarray(text, np.int32)
        known = self._known.get(_key(placement, tokens), {})
        best = max(known.values(), key=lambda prefix: prefix.usable_tokens(tokens), default=None)
        num_tokens = 0 if best is None else best.usable_tokens(tokens)
        if best is None or num_tokens < PAGE_TOKENS:
            return None
        self._by_use.move_to_end(best)
        return best, num_tokens

    def knows(self, placement: Placement, text: Sequence[int]) -> bool:
        """Whether this very text can be resumed from already."""
        tokens = np.asarray(text, np.int32)
        return tokens.tobytes() in self._known.get(_key(placement, tokens), {})

    def add(self, prefix: Prefix) -> None:
        """Remember a text of at least a page, in place of beginnings of it that it serves for as well."""
        key = _key(prefix.placement, prefix.tokens)
        for other in list(self._known.get(key, {}).values()):
            if not (prefix.exact or other.exact) and other.begins(prefix.tokens):
                self._drop(other)
        self._known.setdefault(key, {})[prefix.tokens.tobytes()] = prefix
        self._by_use[prefix] = None
        self.snapshot_bytes += prefix.snapshot_bytes

    def drop_oldest(self) -> bool:
        """Forget the prefix that was not used for longest; False if there is none."""
        if not self._by_use:
            return False
        self._drop(next(iter(self._by_use)))
        return True

    def _drop(self, prefix: Prefix) -> None:
        del self._by_use[prefix]
        key = _key(prefix.placement, prefix.tokens)
        del self._known[key][prefix.tokens.tobytes()]
        if not self._known[key]:
            del self._known[key]
        self.snapshot_bytes -= prefix.snapshot_bytes
        prefix.give_back()


def _key(placement: Placement, tokens: Tokens) -> tuple[Placement, bytes]:
    return placement, tokens[:PAGE_TOKENS].tobytes()
