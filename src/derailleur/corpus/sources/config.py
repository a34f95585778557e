"""Which files of the sources are wanted, and how far an archive is trusted."""

import difflib
from typing import Any

from pydantic import Field, field_validator

from derailleur.config import Config
from derailleur.corpus.decoding import EncodingConfig
from derailleur.corpus.languages import KNOWN_LANGUAGES


class ArchiveLimits(Config):
    """What an archive may unpack to; one that goes beyond is quarantined whole."""

    ratio: float = Field(100, gt=1, description="unpacked bytes over packed ones, from 1 MiB unpacked on")
    total_bytes: int = Field(16 << 30, ge=1, description="unpacked size of one archive, bytes")
    members: int = Field(1_000_000, ge=1, description="members of one archive")
    depth: int = Field(0, ge=0, le=8, description="how many archives deep a source is opened; 0: not at all")
    nested_bytes: int = Field(64 << 20, ge=1, description="packed size of an archive inside another, bytes")
    path_bytes: int = Field(4096, ge=1, description="longest path of a member, bytes")

    def unpacked_bytes(self, packed_bytes: int) -> int:
        """How many bytes an archive of this size may unpack to."""
        return min(self.total_bytes, max(_ANY_RATIO_BYTES, int(self.ratio * packed_bytes)))


_ANY_RATIO_BYTES = 1 << 20
"""A small archive harms nobody, and one long run of spaces in it would exceed every ratio."""


class SourceConfig(Config):
    """Which files of the sources are wanted, and which of them are held out."""

    languages: tuple[str, ...] = Field(
        (), description="languages to keep; empty keeps code and the markup beside it"
    )
    include: tuple[str, ...] = Field((), description="path globs, one must match; empty matches all")
    exclude_folders: tuple[str, ...] = Field(
        (".git", ".hg", ".svn", ".venv", "__pycache__", "dist-packages", "node_modules", "site-packages"),
        description="names of folders that are not entered",
    )
    max_file_bytes: int = Field(1_000_000, ge=1, description="larger files are dropped unread, bytes")
    heldout_fraction: float = Field(0.05, ge=0, lt=1, description="share of paths that is held out")
    heldout_salt: str = Field("", description="another salt holds out other files")
    limits: ArchiveLimits = ArchiveLimits()
    encodings: EncodingConfig = EncodingConfig()
    salvage: bool = Field(False, description="use what still reads of damaged archives and Parquet files")

    @field_validator("languages", "include", "exclude_folders", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for language in languages:
            if language not in KNOWN_LANGUAGES:
                near = difflib.get_close_matches(language, KNOWN_LANGUAGES, n=1, cutoff=0)
                raise ValueError(f"unknown language '{language}'; did you mean '{near[0]}'?")
        return languages
