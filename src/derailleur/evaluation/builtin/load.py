"""Reads the problems of the folder `problems`.

`NAME.py` has the annotated function with its docstring and its reference, and the tests: what the prompts and
the tests of all languages are made from. `NAME.js` and `NAME.java` have the whole reference in the language,
whose first line is that of the prompt.
"""

import ast
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from derailleur.evaluation.problems import Gap, Problem
from derailleur.evaluation.programs import Language
from derailleur.evaluation.translate import parse_problem, translate

_SUFFIXES = {Language.PYTHON: ".py", Language.JAVASCRIPT: ".js", Language.JAVA: ".java"}
_FOLDER = resources.files(__package__) / "problems"
_TESTS = "\n\n\ndef check(candidate):\n"
_JAVA_CLOSING = "\n    }\n}\n"


@cache
def builtin_problems(language: Language) -> tuple[Problem, ...]:
    """Every problem, by name; the completion is the rest of the function."""
    return tuple(_problem(row, language) for row in builtin_rows(language))


@cache
def builtin_infilling(language: Language) -> tuple[Problem, ...]:
    """Every line of the references that is not blank, to be filled in between the lines around it."""
    return tuple(hole for problem in builtin_problems(language) for hole in _holes(problem))


def builtin_rows(language: Language) -> tuple[dict[str, Any], ...]:
    """The problems in MultiPL-E's layout, with `canonical_solution`."""
    return tuple(_row(name, language) for name in _names())


@cache
def _names() -> tuple[str, ...]:
    files = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".py") for name in files if name.endswith(".py")))


def _row(name: str, language: Language) -> dict[str, Any]:
    function, _, tests = _read(name, Language.PYTHON).partition(_TESTS)
    row = translate(parse_problem(name, function, _TESTS + tests), language)
    return {**row, "canonical_solution": _reference(name, language, row["prompt"])}


def _reference(name: str, language: Language, prompt: str) -> str:
    """The reference as a completion of the prompt; Java's closing brace is part of the tests."""
    source = _read(name, language)
    if language is Language.PYTHON:
        return _python_body(source.partition(_TESTS)[0] + "\n")
    if language is Language.JAVA:
        source = textwrap.indent(source, "    ").rstrip().removesuffix("    }")
    first, _, body = source.partition("\n")
    signature = prompt.rstrip("\n").rpartition("\n")[2]
    assert first == signature, f"{name}: expected '{signature}' as the first line of the {language} reference"
    return body


def _python_body(source: str) -> str:
    """What follows the docstring of the function."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    lines = source.splitlines(keepends=True)
    return "".join(lines[function.body[0].end_lineno : function.end_lineno])


def _problem(row: dict[str, Any], language: Language) -> Problem:
    return Problem(
        id=row["name"],
        language=language,
        prompt=row["prompt"],
        tests=row["tests"],
        stop=tuple(row["stop_tokens"]),
        reference=row["canonical_solution"],
    )


def _holes(problem: Problem) -> Iterator[Problem]:
    assert problem.reference is not None
    lines = problem.reference.rstrip("\n").split("\n")
    closing = _JAVA_CLOSING if problem.language is Language.JAVA else "\n"
    for number, line in enumerate(lines):
        if line.strip():
            yield Problem(
                id=f"{problem.id}-L{number}",
                language=problem.language,
                prompt=problem.prompt + "\n".join(lines[:number]),
                suffix="\n".join(lines[number + 1 :]) + closing,
                tests=problem.tests,
                gap=Gap.LINE,
                reference=line,
            )


def _read(name: str, language: Language) -> str:
    return (_FOLDER / f"{name}{_SUFFIXES[language]}").read_text(encoding="utf-8")
