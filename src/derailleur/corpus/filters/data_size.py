"""Drops configuration and data files that are next to nothing, or dumps."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_LANGUAGES = frozenset({"JSON", "YAML"})


class DataSizeConfig(Config):
    """Bounds of the size of JSON and YAML (DeepSeek-Coder, arXiv:2401.14196, section 2.1)."""

    min_characters: int = Field(50, ge=0, description="shortest JSON or YAML, characters")
    max_characters: int = Field(5000, ge=1, description="longest JSON or YAML, characters")


@register("data_size")
class DataSizeFilter:
    """Keeps JSON and YAML of a middling size."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: DataSizeConfig) -> None:
        self.rules = (
            Rule(
                "data_characters",
                "data_size",
                minimum=config.min_characters,
                maximum=config.max_characters,
                detail="{:.0f} characters",
            ),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The length, of JSON and YAML alone."""
        if document.language not in _LANGUAGES:
            return {}
        data = np.frombuffer(document.content, np.uint8)
        return {"data_characters": float(np.count_nonzero(data & 0xC0 != 0x80))}
