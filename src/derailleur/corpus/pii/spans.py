"""A span of personal data, and what a detector is. No detector lives here."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

Tag = Literal["EMAIL", "IP_ADDRESS", "KEY", "PASSWORD", "PRIVATE_KEY", "NAME", "USERNAME"]

TAGS: tuple[Tag, ...] = get_args(Tag)
"""The last two come from recognizers only; no detector finds them."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Personal data in a text.

    Attributes:
        start, end: offsets in characters, `end` exclusive.
    """

    start: int
    end: int
    tag: Tag


class Shape(IntEnum):
    """Triggers that are no literals: `a@b`, four dotted numbers, hexadecimal groups."""

    AT_SIGN = 0
    DOTTED_QUAD = 1
    HEX_COLONS = 2


@dataclass(frozen=True)
class Detector:
    """Finds one kind of personal data.

    Attributes:
        triggers: UTF-8 literals of at least two bytes, or shapes. `find` is called only on a text that
            holds at least one of them, so that most detectors never look at most texts.
        find: yields the (start, end) of each finding, in characters, in time linear in the text.
    """

    tag: Tag
    triggers: tuple[bytes | Shape, ...]
    find: Callable[[str], Iterator[tuple[int, int]]]


def starts_after_escape(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to an escape such as `\\n` in a string literal.

    A value after one, as in `"\\nalice@..."`, starts one character later than its letters suggest.
    """
    backslashes = 0
    while position > backslashes and text[position - backslashes - 1] == "\\":
        backslashes += 1
    return backslashes % 2 == 1 and text[position] in "abfnrtv"


def longest_wins(spans: Iterable[Span]) -> list[Span]:
    """Drop spans that overlap a longer one; of two as long, the earlier stays. Sorted by start."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span)):
        place = bisect(kept, span)
        free_before = place == 0 or kept[place - 1].end <= span.start
        free_after = place == len(kept) or span.end <= kept[place].start
        if free_before and free_after:
            kept.insert(place, span)
    return kept
