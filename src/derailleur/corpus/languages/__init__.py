"""The languages and formats that are known, and which of them a file is written in."""

from derailleur.corpus.languages.detect import language_of
from derailleur.corpus.languages.table import (
    DEFAULT_LANGUAGES,
    KNOWN_LANGUAGES,
    LANGUAGES,
    Kind,
    Language,
    kind_of,
)

__all__ = [
    "DEFAULT_LANGUAGES",
    "KNOWN_LANGUAGES",
    "LANGUAGES",
    "Kind",
    "Language",
    "kind_of",
    "language_of",
]
