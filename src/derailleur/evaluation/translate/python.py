"""Python as MultiPL-E writes it: annotations kept, tests in `check(candidate)`."""

import re

from derailleur.evaluation.translate.problem import PythonProblem

LANGUAGE = "py"
STOP = ("\ndef", "\n#", "\nif", "\nclass")
_ESCAPED = {"\\": "\\\\", '"""': '\\"\\"\\"', "\r": "\\r"}  # the backslash first
_TYPING = ("Any", "Dict", "List", "Optional", "Tuple", "Union")


def prompt(problem: PythonProblem) -> str:
    """The imports that the annotations need, the signature and the docstring."""
    needed = [name for name in _TYPING if re.search(rf"\b{name}\b", problem.signature)]
    imports = f"from typing import {', '.join(needed)}\n\n" if needed else ""
    docstring = problem.docstring
    for text, escaped in _ESCAPED.items():
        docstring = docstring.replace(text, escaped)
    if docstring.endswith('"'):
        docstring = docstring[:-1] + '\\"'
    return f'{imports}{problem.signature}\n    """{docstring}"""\n'


def tests(problem: PythonProblem) -> str:
    """Each test as `assert candidate(...) == value`."""
    lines = [
        f"    assert candidate({', '.join(map(repr, test.arguments))}) == {test.expected!r}"
        for test in problem.tests
    ]
    run = f"def test_check():\n    check({problem.function})\n\ntest_check()\n"
    return "\n".join(["def check(candidate):", *lines, "", run])
