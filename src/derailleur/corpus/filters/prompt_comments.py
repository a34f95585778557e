"""Drops documents whose comments say that something is still to be written."""

import re
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.lexer import COMMENT, classify
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_PROMPT = re.compile(rb"your code here|fixme|todo", re.IGNORECASE)


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
        lines = {content.count(b"\n", 0, place) for place in found if classes[place] == COMMENT}
        return {"prompt_comment_share": len(lines) / (content.count(b"\n") + 1)}
