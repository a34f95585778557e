"""Drops tables of comma- or tab-separated values that are dumps of numbers, or no tables."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_DELIMITERS = {"CSV": ",", "TSV": "\t"}


class TablesConfig(Config):
    """Bounds of the tables filter."""

    min_characters: int = Field(50, ge=0, description="shortest table, characters")
    max_characters: int = Field(5000, ge=1, description="longest table, characters")
    min_regular_share: float = Field(0.9, ge=0, le=1, description="rows of the most frequent width / rows")
    min_letter_share: float = Field(0.25, ge=0, le=1, description="letters / characters")


@register("tables")
class TablesFilter:
    """Keeps small tables of words in which nearly all rows have the same number of cells."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: TablesConfig) -> None:
        self._max_characters = config.max_characters
        self.rules = (
            Rule(
                "table_characters",
                "table_size",
                minimum=config.min_characters,
                maximum=config.max_characters,
                detail="{:.0f} characters",
            ),
            Rule("table_regular_share", "table_irregular", minimum=config.min_regular_share),
            Rule("table_letter_share", "table_of_numbers", minimum=config.min_letter_share),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The length, and for a table that is not too long how regular and how wordy it is."""
        delimiter = _DELIMITERS.get(document.language)
        if delimiter is None:
            return {}
        text = document.content.decode()
        measures: dict[str, float] = {"table_characters": len(text)}
        if 0 < len(text) <= self._max_characters:
            measures["table_regular_share"] = _regular_share(text, delimiter)
            measures["table_letter_share"] = sum(map(str.isalpha, text)) / len(text)
        return measures


def _regular_share(text: str, delimiter: str) -> float:
    try:
        widths = Counter(
            len(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        )
    except csv.Error:
        return 0.0
    return max(widths.values(), default=0) / max(widths.total(), 1)
