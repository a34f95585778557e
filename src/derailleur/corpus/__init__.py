"""Sources -> training documents: read, deduplicate, redact, filter; with a reason for every file.

Names are looked up when they are used, so that a part of the stage does not import all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derailleur.corpus.curate import VERSION, CurateConfig, curate
    from derailleur.corpus.documents import Document, read_documents
    from derailleur.corpus.sources import PYTHON_STDLIB, fingerprint, resolve_sources

__all__ = [
    "PYTHON_STDLIB",
    "VERSION",
    "CurateConfig",
    "Document",
    "curate",
    "fingerprint",
    "read_documents",
    "resolve_sources",
]

_MODULES = {
    "PYTHON_STDLIB": "sources",
    "fingerprint": "sources",
    "resolve_sources": "sources",
    "VERSION": "curate",
    "CurateConfig": "curate",
    "curate": "curate",
    "Document": "documents",
    "read_documents": "documents",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"derailleur.corpus.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
