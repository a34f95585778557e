"""Drops documents that carry data: long strings, long words in strings, hexadecimal numbers, encoded bytes.

Rules of OpenCoder (arXiv:2411.04905, appendix A). Strings are those that the lexer finds; docstrings are
comments.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.lexer import STRING, classify
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_LONG_LINE_WORDS, _LONG_WORD_BYTES, _LONG_RUN_BYTES = 20, 20, 1024
_WORD = re.compile(rb"\w+")
_HEX_WORD = re.compile(rb"\b0[xX][0-9a-fA-F]+\b")
# Possessive, so that each is linear in the text.
_ENCODED = (
    re.compile(rb"[A-Za-z0-9+/\n=]{64,}+"),
    re.compile(rb"(?:(?:0x|\\x)?[0-9a-fA-F]{2}(?:,\s*+|\b\s*+|(?=\\x))){8,}+"),
    re.compile(rb"(?:\\u[0-9a-fA-F]{4}){8,}+"),
)


class LiteralsConfig(Config):
    """Bounds of the literals filter; a document at a bound is kept."""

    max_string_share: float = Field(0.6, ge=0, le=1, description="strings / all, bytes")
    max_long_string_lines: float = Field(
        0.2, ge=0, description="lines of strings with more than 20 words / lines"
    )
    max_long_word_share: float = Field(
        0.4, ge=0, le=1, description="words of over 20 bytes in strings, addresses aside / all, bytes"
    )
    max_hex_word_share: float = Field(0.4, ge=0, le=1, description="hexadecimal numbers / all, bytes")
    max_encoded_share: float = Field(0.5, ge=0, description="encoded data / all, bytes")
    max_encoded_run: int = Field(1024, ge=64, description="longest stretch of encoded data, bytes")


@register("literals")
class LiteralsFilter:
    """Keeps documents that are more than the data they carry."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: LiteralsConfig) -> None:
        self.rules = (
            Rule("string_share", "strings", maximum=config.max_string_share),
            Rule("long_string_lines", "long_strings", maximum=config.max_long_string_lines),
            Rule("long_word_share", "long_words", maximum=config.max_long_word_share),
            Rule("hex_word_share", "hex_words", maximum=config.max_hex_word_share),
            Rule("encoded_share", "encoded_data", maximum=config.max_encoded_share),
            Rule(
                "encoded_run", "encoded_data", maximum=config.max_encoded_run, detail="{:.0f} bytes in a run"
            ),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Shares of strings where the lexer knows the language, and of encoded data in any."""
        content = document.content
        num_bytes, num_lines = max(len(content), 1), max(content.count(b"\n"), 1)
        encoded = [match.end() - match.start() for form in _ENCODED for match in form.finditer(content)]
        measures: dict[str, float] = {
            "hex_word_share": sum(map(len, _HEX_WORD.findall(content))) / num_bytes,
            "encoded_share": sum(encoded) / num_bytes,
            "encoded_run": max(encoded, default=0),
        }
        strings = _strings(content, document.language)
        if strings is not None:
            lines = (line for string in strings for line in string.split(b"\n"))
            words = (word for string in strings for word in string.split())
            long_words = (len(word) for word in words if len(word) > _LONG_WORD_BYTES and b"://" not in word)
            measures["string_share"] = sum(map(len, strings)) / num_bytes
            measures["long_string_lines"] = sum(map(_is_long, lines)) / num_lines
            measures["long_word_share"] = sum(long_words) / num_bytes
        return measures


def _is_long(line: bytes) -> bool:
    return len(line) > _LONG_LINE_WORDS and len(_WORD.findall(line)) > _LONG_LINE_WORDS


def _strings(content: bytes, language: str) -> list[bytes] | None:
    """The string literals, neighbours without a gap as one; None if the lexer lacks the language."""
    classes = classify(content, language)
    if classes is None:
        return None
    is_string = classes == STRING
    edges = np.flatnonzero(is_string[1:] != is_string[:-1]) + 1
    bounds = [0, *edges.tolist(), len(content)]
    first = 0 if is_string[:1].any() else 1
    return [content[bounds[i] : bounds[i + 1]] for i in range(first, len(bounds) - 1, 2)]
