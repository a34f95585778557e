"""Training documents that hold passages of benchmarks: what is looked for, and how it is found."""

from derailleur.corpus.decontamination.benchmarks import BenchmarkConfig, Passage, read_passages
from derailleur.corpus.decontamination.decontaminate import (
    BenchmarkSummary,
    DecontaminationConfig,
    Decontaminator,
    Match,
)
from derailleur.corpus.decontamination.report import Contamination, count_matches, write_matches

__all__ = [
    "BenchmarkConfig",
    "BenchmarkSummary",
    "Contamination",
    "DecontaminationConfig",
    "Decontaminator",
    "Match",
    "Passage",
    "count_matches",
    "read_passages",
    "write_matches",
]
