"""From annotated Python problems to other languages in MultiPL-E's conventions (Cassano et al. 2022).

Nothing is executed: signatures, docstrings and tests are read as text.
"""

from derailleur.evaluation.translate.problem import Example, Parameter, PythonProblem, parse_problem
from derailleur.evaluation.translate.translate import TARGETS, Translation, translate, translate_file
from derailleur.evaluation.translate.types import UntranslatableError

__all__ = [
    "TARGETS",
    "Example",
    "Parameter",
    "PythonProblem",
    "Translation",
    "UntranslatableError",
    "parse_problem",
    "translate",
    "translate_file",
]
