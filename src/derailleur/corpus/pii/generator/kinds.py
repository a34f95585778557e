"""A kind of planted value: the templates that make it, and where it is at home.

A template is text with slots such as `{hex:40}` or `{alnum:20-40}`, random letters of an alphabet, or
`{maker}`, a function of makers.py. What stands between ⟦ and ⟧ is the value; the rest is around it in
any file. The kinds themselves are in values.yaml and look_alikes.yaml, in groups.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from derailleur.corpus.pii.generator.makers import ALPHABETS, MAKERS

_SLOT = re.compile(r"\{(\w+)(?::(\d+)(?:-(\d+))?)?\}")
_OPEN, _CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Kind:
    """One kind of value, or of look-alike.

    Attributes:
        tag: what it is annotated as; empty for a look-alike.
        templates: one is drawn each time.
        names: of settings that hold one; empty if none does.
        sentences: lines of a comment or of prose that hold one, with `{value}` in them.
        raw: True if a template is a whole line already, which is written as it is.
        languages: where it is at home; empty means everywhere.
    """

    name: str
    tag: str
    templates: tuple[str, ...]
    names: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    raw: bool = False
    languages: tuple[str, ...] = ()


def kinds(file: str) -> dict[str, tuple[Kind, ...]]:
    """The groups of one of the files beside this one."""
    groups = yaml.safe_load((files(__package__) / file).read_text(encoding="utf-8"))
    return {name: tuple(_kinds(group)) for name, group in groups.items()}


def _kinds(group: dict[str, Any]) -> Iterator[Kind]:
    """A kind's own keys, else those of its group."""
    shared = {key: value for key, value in group.items() if key != "kinds"}
    for name, own in group["kinds"].items():
        keys = {"tag": "", **shared, **own}
        listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in keys.items()}
        yield Kind(name, **listed)


@dataclass(frozen=True)
class Piece:
    """A text and the place of the value in it."""

    text: str
    start: int
    end: int

    def inside(self, template: str) -> "Piece":
        """The same value where `{value}` is in a longer text."""
        before, _, after = template.partition("{value}")
        return Piece(before + self.text + after, len(before) + self.start, len(before) + self.end)

    def indented(self, blanks: str) -> "Piece":
        """With `blanks` before each line."""
        start, end = (
            place + len(blanks) * (1 + self.text.count("\n", 0, place)) for place in (self.start, self.end)
        )
        return Piece(blanks + self.text.replace("\n", "\n" + blanks), start, end)


def spell(template: str, random: Random) -> Piece:
    """Fill a template's slots; without ⟦⟧ the value is the whole text."""
    text = _SLOT.sub(partial(_fill, random), template)
    if _OPEN not in text:
        return Piece(text, 0, len(text))
    before, _, rest = text.partition(_OPEN)
    value, _, after = rest.partition(_CLOSE)
    return Piece(before + value + after, len(before), len(before) + len(value))


def _fill(random: Random, slot: re.Match[str]) -> str:
    name, shortest, longest = slot.groups()
    if shortest is None:
        return MAKERS[name](random) if name in MAKERS else slot[0]
    length = random.randint(int(shortest), int(longest or shortest))
    return "".join(random.choices(ALPHABETS[name], k=length))
