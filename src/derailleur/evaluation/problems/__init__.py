"""Problems of benchmarks, read from the files in which they are published."""

from derailleur.evaluation.problems.files import read_problems
from derailleur.evaluation.problems.problem import STOPS, Gap, Problem

__all__ = ["STOPS", "Gap", "Problem", "read_problems"]
