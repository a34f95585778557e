"""How Python tests look decides how a program is judged by them: the safest way that their shape allows.

    values   every test is `assert f(1, [2]) == 3` or the like: the program's box gets the calls alone
    apart    the tests run in a box of their own, and call the program's functions in another
    joined   the tests need the program in their own process

Only the tests are looked at, never the program.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache

from derailleur.evaluation.verdicts.python_apart import Apart, Joined, find_way
from derailleur.evaluation.verdicts.python_values import Check, OtherShapeError, find_checks

__all__ = ["Apart", "Check", "Joined", "Values", "plan"]


@dataclass(frozen=True, slots=True)
class Values:
    """Tests that are checks of values, in their order."""

    checks: tuple[Check, ...]


@lru_cache(maxsize=1024)
def plan(tests: str) -> Values | Apart | Joined:
    """How to judge a program by `tests`.

    Raises:
        SyntaxError, ValueError, RecursionError: if they are no Python, or if they assert something, but
            nothing of the program: a function of theirs that nobody calls, for example, passes any program.
    """
    tree = ast.parse(tests)
    try:
        return Values(find_checks(tree))
    except OtherShapeError:
        return find_way(tests, tree)
