"""What the kept documents repeat of each other, byte for byte: a report, nothing is removed.

Winnowing (Schleimer et al. 2003, "Winnowing: local algorithms for document fingerprinting") finds the
passages without comparing documents pair by pair. Tasks that meet in files: `fingerprint_shard` for every
shard, `join_fingerprints` for every range of fingerprints, `find_passages` for every shard again, and one
`summarise`.
"""

from derailleur.corpus.substrings.config import SubstringConfig
from derailleur.corpus.substrings.fingerprints import fingerprint_shard
from derailleur.corpus.substrings.join import join_fingerprints, num_partitions
from derailleur.corpus.substrings.passages import Labels, find_passages
from derailleur.corpus.substrings.summary import TOP_PASSAGES, summarise

__all__ = [
    "TOP_PASSAGES",
    "Labels",
    "SubstringConfig",
    "find_passages",
    "fingerprint_shard",
    "join_fingerprints",
    "num_partitions",
    "summarise",
]
