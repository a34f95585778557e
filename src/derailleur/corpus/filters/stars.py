"""Drops documents of repositories that few people marked with a star."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register


class StarsConfig(Config):
    """The bound of the stars filter."""

    min_stars: int = Field(5, ge=0, description="fewest stars of a repository; unknown is 0")


@register("stars")
class StarsFilter:
    """Keeps a document whose repository has at least `min_stars` stars (SantaCoder, section 4.1)."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: StarsConfig) -> None:
        self.rules = (Rule("stars", "stars", minimum=config.min_stars, detail="{:.0f}"),)

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The stars."""
        return {"stars": document.stars or 0}
