"""Drops documents that a tokenizer cuts into many short tokens: data, minified code, other languages."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import Filterable, Rule, register
from derailleur.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class FertilityConfig(Config):
    """Whose tokens are counted, and how many characters one must hold."""

    tokenizer: Path | None = Field(None, description="tokenizer.json; needed if the filter is on")
    min_characters_per_token: float = Field(0, ge=0, description="fewest characters a token")
    max_bytes: int | None = Field(
        None, ge=4, description="measure only the start of a text, bytes; null: all"
    )


@register("fertility")
class FertilityFilter:
    """Keeps a document whose tokens hold enough characters (SantaCoder, section 4.1)."""

    percentiles: ClassVar[tuple[int, ...]] = (3, 5, 10, 95, 99)

    def __init__(self, config: FertilityConfig) -> None:
        if config.tokenizer is None:
            raise ConfigError("filters.fertility.tokenizer: the fertility filter needs a tokenizer.json")
        self._tokenizer = _load(config.tokenizer)
        self._max_bytes = config.max_bytes
        self.rules = (Rule("characters_per_token", "fertility", minimum=config.min_characters_per_token),)

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Characters a token; nothing of a text without tokens."""
        text = document.content[: self._max_bytes].decode(
            errors="ignore"
        )  # a character cut in two is left out
        tokens = len(self._tokenizer.encode(text, add_special_tokens=False))
        return {"characters_per_token": len(text) / tokens} if tokens else {}


@cache
def _load(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer  # only where the filter is on

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise DataError(f"{path}: not a tokenizer.json: {str(error).splitlines()[0]}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
