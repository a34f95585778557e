"""Training documents that hold passages of benchmarks: what is looked for, and how it is found."""

from derailleur.corpus.decontamination.benchmarks import BenchmarkConfig, Passage, read_passages
from derailleur.corpus.decontamination.decontaminate import (
    DecontaminationConfig,
    Decontaminator,
    Match,
)

__all__ = [
    "BenchmarkConfig",
    "DecontaminationConfig",
    "Decontaminator",
    "Match",
    "Passage",
    "read_passages",
]
