"""Drops documents by how much there is of them and by what kinds of characters they are made of.

Bounds of OpenCoder (Huang et al. 2024, arXiv:2411.04905, appendix A).
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from derailleur.compiled import compiled
from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_IS_SPACE = np.array([byte in b" \t\n\r\f\v" for byte in range(256)])
_IS_DIGIT = np.array([byte in b"0123456789" for byte in range(256)])
_IS_LETTER = np.array([(chr(byte).isalpha() and byte < 0x80) or byte >= 0x80 for byte in range(256)])
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_NEWLINE = ord("\n")


class CharactersConfig(Config):
    """Bounds of the characters filter; a document at a bound is kept."""

    min_words: int = Field(30, ge=0, description="runs of letters, digits and _")
    min_characters: int = Field(50, ge=0, description="characters")
    min_lines: int = Field(10, ge=0, description="lines")
    max_lines: int = Field(100_000, ge=1, description="lines")
    max_bytes: int = Field(3_000_000, ge=1, description="size, bytes")
    min_mean_line_length: float = Field(5, ge=0, description="characters / lines, line ends included")
    min_letter_share: float = Field(0.5, ge=0, le=1, description="letters / visible characters")
    max_digit_share: float = Field(0.2, ge=0, le=1, description="digits / characters")
    max_space_share: float = Field(0.5, ge=0, le=1, description="white space / characters")
    max_replacement_share: float = Field(0.01, ge=0, le=1, description="U+FFFD / characters")


@register("characters")
class CharactersFilter:
    """Keeps documents of a middling size that are mostly letters."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: CharactersConfig) -> None:
        self.rules = (
            _count_rule("num_words", "few_words", "words", minimum=config.min_words),
            _count_rule("num_characters", "few_characters", "characters", minimum=config.min_characters),
            _count_rule("num_lines", "few_lines", "lines", minimum=config.min_lines),
            _count_rule("num_lines", "many_lines", "lines", maximum=config.max_lines),
            _count_rule("num_bytes", "many_bytes", "bytes", maximum=config.max_bytes),
            Rule("characters_per_line", "short_lines", minimum=config.min_mean_line_length),
            Rule("letter_share", "letter_share", minimum=config.min_letter_share),
            Rule("digit_share", "digit_share", maximum=config.max_digit_share),
            Rule("space_share", "space_share", maximum=config.max_space_share),
            Rule("replacement_share", "replacement_share", maximum=config.max_replacement_share),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Counts and shares."""
        content = document.content
        words, characters, lines, letters, digits, spaces = _count(np.frombuffer(content, np.uint8))
        return {
            "num_words": words,
            "num_characters": characters,
            "num_lines": lines,
            "num_bytes": len(content),
            "characters_per_line": characters / max(lines, 1),
            "letter_share": letters / max(characters - spaces, 1),
            "digit_share": digits / max(characters, 1),
            "space_share": spaces / max(characters, 1),
            "replacement_share": content.count(_REPLACEMENT) / max(characters, 1),
        }


def _count_rule(
    measure: str, reason: str, unit: str, *, minimum: float = -math.inf, maximum: float = math.inf
) -> Rule:
    return Rule(measure, reason, minimum=minimum, maximum=maximum, detail=f"{{:.0f}} {unit}")


@compiled
def _count(data: NDArray[np.uint8]) -> tuple[int, int, int, int, int, int]:
    """Words, characters, lines, letters (all that is not ASCII counts as one), digits, white space."""
    words = characters = lines = letters = digits = spaces = 0
    in_word = False
    for byte in data:
        is_letter, is_digit = _IS_LETTER[byte], _IS_DIGIT[byte]
        is_word = is_letter or is_digit or byte == ord("_")
        words += is_word and not in_word
        in_word = is_word
        if byte & 0xC0 != 0x80:
            characters += 1
            letters += is_letter
            digits += is_digit
            spaces += _IS_SPACE[byte]
            lines += byte == _NEWLINE
    if len(data) and data[-1] != _NEWLINE:
        lines += 1
    return words, characters, lines, letters, digits, spaces
