"""Source folders -> training documents: read, deduplicate, redact, filter; with a reason for every file."""

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
