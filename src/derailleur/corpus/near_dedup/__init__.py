"""Near-duplicates: LSH candidates, verified by exact Jaccard, resolved in the order of rank.

With the default rule a document is dropped only if its Jaccard similarity with a *kept* document reaches
the threshold, so that nothing vanishes through a chain of documents that resemble each other pair by pair.

Three tasks that meet in files: `sketch_shard` for every shard, `join_partition` for every range of band
keys, and one `resolve`.
"""

from derailleur.corpus.near_dedup.audit import BINS, Audit, audit
from derailleur.corpus.near_dedup.config import PROFILES, NearDedupConfig
from derailleur.corpus.near_dedup.exact_join import SimilarPairs, exact_join
from derailleur.corpus.near_dedup.in_process import NearDuplicates, near_duplicates
from derailleur.corpus.near_dedup.join import join_partition, num_partitions
from derailleur.corpus.near_dedup.resolve import (
    DROPPED,
    REASONS,
    NearDedupCounts,
    find_dropped,
    read_dropped,
    resolve,
)
from derailleur.corpus.near_dedup.sketch import sketch_shard

__all__ = [
    "BINS",
    "DROPPED",
    "PROFILES",
    "REASONS",
    "Audit",
    "NearDedupConfig",
    "NearDedupCounts",
    "NearDuplicates",
    "SimilarPairs",
    "audit",
    "exact_join",
    "find_dropped",
    "join_partition",
    "near_duplicates",
    "num_partitions",
    "read_dropped",
    "resolve",
    "sketch_shard",
]
