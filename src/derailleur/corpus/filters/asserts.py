"""Drops documents that are little else than assertions: generated tests."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register


class AssertsConfig(Config):
    """The bound of the asserts filter."""

    max_share: float = Field(
        0.4, ge=0, le=1, description="lines with an assertion / lines that are not blank"
    )


@register("asserts")
class AssertsFilter:
    """Keeps documents with fewer assertions (OpenCoder, arXiv:2411.04905, appendix A)."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: AssertsConfig) -> None:
        self.rules = (Rule("assert_share", "asserts", maximum=config.max_share),)

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The share of lines with `assert` in them."""
        lines = [line for line in document.content.lower().split(b"\n") if line.strip()]
        return {"assert_share": sum(b"assert" in line for line in lines) / max(len(lines), 1)}
