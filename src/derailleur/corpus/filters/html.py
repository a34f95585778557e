"""Drops HTML that shows little text: templates, widgets, pages that a script fills."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from derailleur.compiled import compiled
from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_OPEN, _CLOSE, _BANG, _DASH, _SLASH, _DOUBLE, _SINGLE = (ord(character) for character in "<>!-/\"'")
_IS_SPACE = np.array([byte in b" \t\n\r\f\v" for byte in range(256)])
_SCRIPT = np.frombuffer(b"script", np.uint8)
_STYLE = np.frombuffer(b"style", np.uint8)
_COMMENT = np.frombuffer(b"!--", np.uint8)


class HtmlConfig(Config):
    """Bounds of the HTML filter (StarCoder, arXiv:2305.06161, section 3.1)."""

    min_text_share: float = Field(0.2, ge=0, le=1, description="visible text / all, characters")
    min_text_characters: int = Field(100, ge=0, description="visible text, characters")


@register("html")
class HtmlFilter:
    """Keeps HTML with enough visible text."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: HtmlConfig) -> None:
        self.rules = (
            Rule("html_text_share", "html_text_share", minimum=config.min_text_share),
            Rule(
                "html_text_characters",
                "html_text_characters",
                minimum=config.min_text_characters,
                detail="{:.0f} characters",
            ),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Share and length of the visible text, of HTML alone."""
        if document.language != "HTML":
            return {}
        visible, characters = _count(np.frombuffer(document.content, np.uint8))
        return {"html_text_share": visible / max(characters, 1), "html_text_characters": visible}


@compiled
def _count(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Characters outside tags, comments, scripts and styles, a run of white space as one; and all."""
    visible = characters = 0
    after_space = False
    for byte in data:
        characters += byte & 0xC0 != 0x80
    position = 0
    while position < len(data):
        byte = data[position]
        if byte == _OPEN and _opens(data, position + 1):
            position = _after_markup(data, position)
            continue
        if _IS_SPACE[byte]:
            after_space = True
        elif byte & 0xC0 != 0x80:
            visible += 1 + (after_space and visible > 0)
            after_space = False
        position += 1
    return visible, characters


@compiled
def _opens(data: NDArray[np.uint8], position: int) -> bool:
    """Whether what follows a `<` makes a tag, a comment or a declaration of it."""
    if position >= len(data):
        return False
    byte = data[position]
    return 0 <= (byte | 0x20) - ord("a") < 26 or byte in (_SLASH, _BANG, ord("?"))


@compiled
def _after_markup(data: NDArray[np.uint8], start: int) -> int:
    """The place after the tag or comment at `start`, and after its content if it is a script or a style."""
    if _is_at(data, start + 1, _COMMENT):
        position = start + 4
        while position < len(data):
            if data[position] == _CLOSE and data[position - 1] == _DASH and data[position - 2] == _DASH:
                return position + 1
            position += 1
        return position
    position = _after_tag(data, start)
    for name in (_SCRIPT, _STYLE):
        if _is_at(data, start + 1, name) and not _is_letter(data, start + 1 + len(name)):
            while position < len(data):
                if data[position] == _OPEN and _is_end_of(data, position, name):
                    return _after_tag(data, position)
                position += 1
    return position


@compiled
def _after_tag(data: NDArray[np.uint8], start: int) -> int:
    """The place after the `>` that ends a tag; one in quotes does not."""
    quote = 0
    for position in range(start, len(data)):
        byte = data[position]
        if quote:
            if byte == quote:
                quote = 0
        elif byte == _CLOSE:
            return position + 1
        elif byte in (_DOUBLE, _SINGLE):
            quote = byte
    return len(data)


@compiled
def _is_at(data: NDArray[np.uint8], start: int, name: NDArray[np.uint8]) -> bool:
    """Whether a lower-case name stands at `start`, in either case."""
    if start + len(name) > len(data):
        return False
    same = 0
    while same < len(name) and data[start + same] | 0x20 == name[same] | 0x20:
        same += 1
    return same == len(name)


@compiled
def _is_end_of(data: NDArray[np.uint8], start: int, name: NDArray[np.uint8]) -> bool:
    return start + 1 < len(data) and data[start + 1] == _SLASH and _is_at(data, start + 2, name)


@compiled
def _is_letter(data: NDArray[np.uint8], position: int) -> bool:
    return position < len(data) and 0 <= (data[position] | 0x20) - ord("a") < 26
