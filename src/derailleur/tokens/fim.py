"""Fill-in-the-middle: cut a document in three at random characters, and say the parts in another order.

    PSM   <prefix> prefix <suffix> suffix <middle> middle
    SPM   <prefix> <suffix> suffix <middle> prefix middle

SPM is variant 2 of Bavarian et al. 2022 (arXiv:2207.14255): prefix and middle in one run. The cuts are at
characters and each part is tokenised alone, because an editor's cursor stands at any character: cuts at
tokens would never show the model half a word before the cursor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from derailleur.errors import CheckpointError, ConfigError
from derailleur.tokens.special_tokens import FimOrder, FimTokens
from derailleur.tokens.tokenizer import Tokenizer

_NUM_MARKS = 3


@dataclass(frozen=True)
class FimParts:
    """A text cut in three; each part may be empty."""

    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class InfillPrompt:
    """What to feed the model so that it writes the middle.

    Attributes:
        ids: everything but the middle, in the order of `Tokenizer.fim_order`.
        stop_ids: the generation ends before any of these.
        truncated: whether something was cut off.
    """

    ids: list[int]
    stop_ids: frozenset[int]
    truncated: bool


def split(text: str, rng: np.random.Generator) -> FimParts:
    """Cut at two places drawn uniformly from all len(text) + 1, so that any part may be empty."""
    first, second = sorted(rng.integers(0, len(text) + 1, size=2).tolist())
    return FimParts(text[:first], text[first:second], text[second:])


def join(
    prefix: Sequence[int], middle: Sequence[int], suffix: Sequence[int], *, fim: FimTokens, order: FimOrder
) -> list[int]:
    """The token sequence of three tokenised parts, without the end-of-document token that follows."""
    if order is FimOrder.PSM:
        return [fim.prefix_id, *prefix, fim.suffix_id, *suffix, fim.middle_id, *middle]
    return [fim.prefix_id, fim.suffix_id, *suffix, fim.middle_id, *prefix, *middle]


def infill_prompt(prefix: str, suffix: str, tokenizer: Tokenizer, max_tokens: int) -> InfillPrompt:
    """The prompt for the text between `prefix` and `suffix`.

    What does not fit is cut off at the ends far from the hole. A part that needs less than half of the room
    leaves the rest to the other.

    Args:
        max_tokens: room for the prompt, tokens.

    Raises:
        CheckpointError: if the vocabulary has no fill-in-the-middle tokens.
        ConfigError: if there is not even room for these.
    """
    if tokenizer.fim is None:
        raise CheckpointError("this model cannot infill: its tokenizer has no fill-in-the-middle tokens")
    room = max_tokens - _NUM_MARKS
    if room < 0:
        raise ConfigError(f"max_tokens: an infilling prompt takes at least {_NUM_MARKS}, got {max_tokens}")
    before, after = tokenizer.encode_batch([prefix, suffix])
    truncated = len(before) + len(after) > room
    suffix_room = max(room - len(before), room // 2)
    after = after[:suffix_room]
    prefix_room = room - len(after)
    before = before[max(len(before) - prefix_room, 0) :]
    ids = join(before, [], after, fim=tokenizer.fim, order=tokenizer.fim_order)
    return InfillPrompt(ids, tokenizer.fim.ids | {tokenizer.eos_id}, truncated)
