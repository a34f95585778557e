"""The basic filters drop files that are data, minified or generated rather than written.

Longest line, mean line and alphanumeric share, as in SantaCoder (Ben Allal et al. 2023, arXiv:2301.03988).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from derailleur.compiled import compiled
from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_NEWLINE, _RETURN = ord("\n"), ord("\r")


class BasicConfig(Config):
    """Bounds of the basic filters; a file at a bound is kept."""

    max_line_length: int = Field(1000, ge=1, description="longest line, characters")
    max_mean_line_length: float = Field(100, gt=0, description="mean line, characters")
    min_alphanumeric_share: float = Field(0.25, ge=0, le=1, description="letters and digits / characters")


@dataclass(frozen=True)
class LineStatistics:
    """What the filters look at.

    Attributes:
        num_lines: ended by `\\n`, `\\r\\n` or `\\r`; a last line without an end counts.
        num_characters: Unicode characters, line ends included.
        longest_line, mean_line: characters, line ends not included.
        alphanumeric_share: of all characters; every non-ASCII character counts as a letter.
    """

    num_lines: int
    num_characters: int
    longest_line: int
    mean_line: float
    alphanumeric_share: float


def line_statistics(content: bytes) -> LineStatistics:
    """Measure one UTF-8 text."""
    lines, characters, longest, in_lines, alphanumeric = _count(np.frombuffer(content, np.uint8))
    return LineStatistics(
        num_lines=lines,
        num_characters=characters,
        longest_line=longest,
        mean_line=in_lines / max(lines, 1),
        alphanumeric_share=alphanumeric / max(characters, 1),
    )


@register("basic")
class BasicFilter:
    """Drops data, minified and generated files by the look of their lines."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: BasicConfig) -> None:
        self.rules = (
            Rule("longest_line", "long_line", maximum=config.max_line_length, detail="{:.0f} characters"),
            Rule(
                "mean_line",
                "mean_line_length",
                maximum=config.max_mean_line_length,
                detail="{:.1f} characters",
            ),
            Rule("alphanumeric_share", "alphanumeric_share", minimum=config.min_alphanumeric_share),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Longest line, mean line, alphanumeric share."""
        measured = line_statistics(document.content)
        return {
            "longest_line": measured.longest_line,
            "mean_line": measured.mean_line,
            "alphanumeric_share": measured.alphanumeric_share,
        }


@compiled
def _count(data: NDArray[np.uint8]) -> tuple[int, int, int, int, int]:
    lines = characters = longest = in_lines = alphanumeric = current = 0
    last = 0
    for byte in data:
        if byte & 0xC0 == 0x80:  # a continuation byte: its character was counted at the first byte
            continue
        characters += 1
        if byte in (_NEWLINE, _RETURN):
            if not (byte == _NEWLINE and last == _RETURN):
                lines += 1
                in_lines += current
                longest = max(longest, current)
                current = 0
        else:
            current += 1
            letter = (byte | 0x20) - ord("a")
            if 0 <= letter < 26 or ord("0") <= byte <= ord("9") or byte >= 0x80:
                alphanumeric += 1
        last = byte
    if current:
        lines += 1
        in_lines += current
        longest = max(longest, current)
    return lines, characters, longest, in_lines, alphanumeric
