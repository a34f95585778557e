"""JavaScript as MultiPL-E writes it."""

import json
import math
from typing import Any

from derailleur.evaluation.translate.docstring import comment_lines
from derailleur.evaluation.translate.problem import Example, PythonProblem
from derailleur.evaluation.translate.types import UntranslatableError

LANGUAGE = "js"
STOP = ("\nfunction ", "\n/*", "\n//", "\nconsole.log")

_WORDS = {
    "list": "array",
    "lists": "arrays",
    "List": "Array",
    "tuple": "array",
    "tuples": "arrays",
    "dictionary": "object",
    "dictionaries": "objects",
    "dict": "object",
    "None": "undefined",
    "True": "true",
    "False": "false",
    "Python": "JavaScript",
    "python": "JavaScript",
}
_RESERVED = """
    arguments await break case catch class const continue debugger default delete do else enum eval export
    extends false finally for function if implements import in instanceof interface let new null package
    private protected public return static super switch this throw true try typeof var void while with yield
"""
_MAX_INTEGER = 2**53 - 1  # Number.MAX_SAFE_INTEGER


def prompt(problem: PythonProblem) -> str:
    """The docstring as comment, and the function up to its opening brace."""
    lines = comment_lines(problem.docstring, _WORDS, _doctest)
    comment = "//" + "\n// ".join(lines) + "\n" if lines else ""
    parameters = ", ".join(_name(parameter.name) for parameter in problem.parameters)
    return f"{comment}function {_name(problem.function)}({parameters}){{\n"


def tests(problem: PythonProblem) -> str:
    """Each test as `assert.deepEqual`."""
    lines = (f"  assert.deepEqual({_call(test)},{literal(test.expected)});" for test in problem.tests)
    return "\n".join(
        [
            "const assert = require('node:assert');\n\n",
            "function test() {",
            f"  let candidate = {_name(problem.function)};",
            *lines,
            "}\n",
            "test();",
        ]
    )


def literal(value: Any) -> str:
    """A plain value.

    Raises:
        UntranslatableError: it has no counterpart.
    """
    match value:
        case None:
            return "undefined"
        case bool():
            return str(value).lower()
        case int() if abs(value) <= _MAX_INTEGER:
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return f"[{', '.join(map(literal, value))}]"
        case dict():
            return "{" + ", ".join(f"{_key(key)}: {literal(item)}" for key, item in value.items()) + "}"
    raise UntranslatableError(f"value {value!r:.60} of type '{type(value).__name__}'")


def _key(key: Any) -> str:
    if type(key) is str or (type(key) is int and 0 <= key <= _MAX_INTEGER):
        return literal(key)
    raise UntranslatableError(f"key {key!r:.60}: an object's keys are strings")


def _doctest(example: Example) -> tuple[str, str]:
    return _call(example), literal(example.expected)


def _call(example: Example) -> str:
    return f"{_name(example.function)}({', '.join(map(literal, example.arguments))})"


def _name(name: str) -> str:
    return f"{name}_" if name in _RESERVED.split() else name
