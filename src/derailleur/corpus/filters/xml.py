"""Drops XML under another language's name."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_LANGUAGES = frozenset({"XML", "XSLT", "SVG"})


class XmlConfig(Config):
    """Where the XML filter looks (StarCoder: Li et al. 2023, arXiv:2305.06161, section 3.1)."""

    within_characters: int = Field(100, ge=1, description="start of a text that is looked at, characters")


@register("xml")
class XmlFilter:
    """Drops a document of another language than XML that begins with an XML declaration."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: XmlConfig) -> None:
        self._within = config.within_characters
        self.rules = (Rule("xml_declaration", "xml", maximum=0, detail="<?xml at the start"),)

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """1 if there is a declaration."""
        if document.language in _LANGUAGES:
            return {}
        start = document.content[: 4 * self._within].decode(errors="ignore")[: self._within]
        return {"xml_declaration": "<?xml" in start}
