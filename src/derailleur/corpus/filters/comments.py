"""Drops documents with next to no comments, and those that are little else.

The share is that of the characters of comments and docstrings, delimiters included, in all characters. A text
that does not parse is measured all the same: the lexer needs no syntax tree.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.lexer import COMMENT, classify
from derailleur.corpus.filters.rules import Filterable, Rule, register


class CommentsConfig(Config):
    """Bounds of the comments filter."""

    min_share: float | None = Field(0.01, ge=0, le=1, description="too little comment, share; null: none is")
    max_share: float | None = Field(0.8, ge=0, le=1, description="too much comment, share; null: none is")


@register("comments")
class CommentsFilter:
    """Keeps shares between the bounds, not at them (SantaCoder, section 4.1)."""

    percentiles: ClassVar[tuple[int, ...]] = (20, 22, 25, 80, 95, 99)

    def __init__(self, config: CommentsConfig) -> None:
        self.rules = (
            Rule(
                "comment_share",
                "comments",
                minimum=-math.inf if config.min_share is None else config.min_share,
                maximum=math.inf if config.max_share is None else config.max_share,
                exclusive=True,
            ),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The share, of the languages that the lexer knows."""
        share = comment_share(document.content, document.language)
        return {} if share is None else {"comment_share": share}


def comment_share(content: bytes, language: str) -> float | None:
    """Characters of comments and docstrings over all characters; None if the lexer lacks the language."""
    classes = classify(content, language)
    if classes is None or not content:
        return None
    is_character = np.frombuffer(content, np.uint8) & 0xC0 != 0x80
    return float(np.count_nonzero(is_character & (classes == COMMENT)) / np.count_nonzero(is_character))
