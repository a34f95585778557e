"""Drops documents whose comments say that something is still to be written."""

import re
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.lexer import COMMENT, classify
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_PROMPT = re.compile(rb"your code here|fixme|todo", re.IGNORECASE)
_NEWLINE = ord("\n")


class PromptCommentsConfig(Config):
    """The bound of the prompt comments filter."""

    max_share: float = Field(0.01, ge=0, le=1, description="lines with such a comment / lines")


@register("prompt_comments")
class PromptCommentsFilter:
    """Keeps documents with few open ends (OpenCoder, arXiv:2411.04905, appendix A)."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: PromptCommentsConfig) -> None:
        self.rules = (Rule("prompt_comment_share", "prompt_comments", maximum=config.max_share),)

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The share of lines, of the languages that the lexer knows."""
        content = document.content
        found = [match.start() for match in _PROMPT.finditer(content)]
        classes = classify(content, document.language) if found else None
        if classes is None:
            return {} if found else {"prompt_comment_share": 0}
        line_ends = np.flatnonzero(np.frombuffer(content, np.uint8) == _NEWLINE)
        places = np.array(found)
        lines = np.unique(np.searchsorted(line_ends, places[classes[places] == COMMENT]))
        return {"prompt_comment_share": len(lines) / (len(line_ends) + 1)}
