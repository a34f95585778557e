"""Where files come from: folders, git repositories, archives, tables; each read in units of its own."""

from derailleur.corpus.sources.config import ArchiveLimits, SourceConfig
from derailleur.corpus.sources.entry import Entry, Source, Unit
from derailleur.corpus.sources.opening import PYTHON_STDLIB, open_sources, read_unit
from derailleur.corpus.sources.splits import HELDOUT, TRAIN, is_heldout

__all__ = [
    "HELDOUT",
    "PYTHON_STDLIB",
    "TRAIN",
    "ArchiveLimits",
    "Entry",
    "Source",
    "SourceConfig",
    "Unit",
    "is_heldout",
    "open_sources",
    "read_unit",
]
