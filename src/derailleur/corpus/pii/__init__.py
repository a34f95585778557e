"""Personal data and secrets in source code: e-mail and IP addresses, keys, passwords, private keys."""

from derailleur.corpus.pii.redact import PiiConfig, Redaction, find, redact
from derailleur.corpus.pii.scan import scan
from derailleur.corpus.pii.spans import TAGS, Span, Tag

__all__ = ["TAGS", "PiiConfig", "Redaction", "Span", "Tag", "find", "redact", "scan"]
