"""A span of personal data, and what a detector is. No detector lives here."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Literal, NamedTuple, get_args

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
    """Triggers that are no literals; what a hit's `start` and `end` enclose."""

    AT_SIGN = 0
    """`a@b`: the at sign."""
    DOTTED_QUAD = 1
    """Four dotted numbers: the first digit of the last."""
    HEX_COLONS = 2
    """Hexadecimal groups, the first of four digits: the second colon."""
    USERINFO = 3
    """`://user:password@`: the password."""
    KEY_VALUE = 4
    """A value of 16 bytes or more that is assigned to a name such as `api_key`."""
    PASSWORD_VALUE = 5
    """A value that is assigned to a name such as `password`."""


class Hit(NamedTuple):
    """A trigger in a text, in characters.

    Attributes:
        position: where it begins: the literal, or the part of a name that makes it one of a secret.
        start, end: what it encloses; for a literal, the literal.
    """

    position: int
    start: int
    end: int


@dataclass(frozen=True)
class Detector:
    """Finds some kind of personal data.

    Attributes:
        triggers: UTF-8 literals of at least two bytes, or shapes.
        find: looks at the text around the places of its triggers, and nowhere else. Its time is bounded
            for each hit, so that a text's is linear.
    """

    name: str
    triggers: tuple[bytes | Shape, ...]
    find: Callable[[str, Sequence[Hit]], Iterator[Span]]


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
    cluster: list[Span] = []  # that hang together by overlaps
    end = 0
    for span in sorted(spans, key=attrgetter("start", "end", "tag")):
        if span.start >= end:
            kept += _longest_of(cluster)
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    return kept + _longest_of(cluster)


def _longest_of(cluster: list[Span]) -> list[Span]:
    if len(cluster) < 2:
        return cluster
    kept: list[Span] = []
    for span in sorted(cluster, key=lambda span: (span.start - span.end, span)):
        place = bisect(kept, span)
        free_before = place == 0 or kept[place - 1].end <= span.start
        free_after = place == len(kept) or span.end <= kept[place].start
        if free_before and free_after:
            kept.insert(place, span)
    return kept
