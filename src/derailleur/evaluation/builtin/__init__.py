"""The project's own problems in Python, JavaScript and Java: nothing has to be downloaded."""

from derailleur.evaluation.builtin.load import builtin_infilling, builtin_problems, builtin_rows

__all__ = ["builtin_infilling", "builtin_problems", "builtin_rows"]
