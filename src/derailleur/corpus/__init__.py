"""Sources -> training documents: read, deduplicate, redact, filter; with a reason for every file.

Names are looked up when they are used, so that a part of the stage does not import all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derailleur.corpus.documents import Document, read_documents
    from derailleur.corpus.sources import PYTHON_STDLIB, open_sources
    from derailleur.corpus.stage import VERSION, curate, stage_inputs
    from derailleur.corpus.workspace import CurateConfig

__all__ = [
    "PYTHON_STDLIB",
    "VERSION",
    "CurateConfig",
    "Document",
    "curate",
    "open_sources",
    "read_documents",
    "stage_inputs",
]

_MODULES = {
    "PYTHON_STDLIB": "sources",
    "open_sources": "sources",
    "stage_inputs": "stage",
    "VERSION": "stage",
    "CurateConfig": "workspace",
    "curate": "stage",
    "Document": "documents",
    "read_documents": "documents",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"derailleur.corpus.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
