"""Files of Python problems to rows of MultiPL-E."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from derailleur.evaluation.json_lines import Record, read_records
from derailleur.evaluation.translate import java, javascript, python
from derailleur.evaluation.translate.problem import PythonProblem, parse_problem
from derailleur.evaluation.translate.types import UntranslatableError


class Target(Protocol):
    """A module that writes one language."""

    LANGUAGE: str
    STOP: tuple[str, ...]
    prompt: Callable[[PythonProblem], str]
    tests: Callable[[PythonProblem], str]


TARGETS: Mapping[str, Target] = {
    "python": cast(Target, python),
    "javascript": cast(Target, javascript),
    "java": cast(Target, java),
}
"""The module that writes each language."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What became of a file.

    Attributes:
        rows: as MultiPL-E has them, in the order of the file.
        untranslatable: why the other problems have no translation, by name.
    """

    rows: tuple[dict[str, Any], ...]
    untranslatable: Mapping[str, str]


def translate_file(path: Path, language: str, *, infer_types: bool = False) -> Translation:
    """Translate every problem of a file.

    Args:
        path: JSON lines, `.gz` or not: HumanEval's `task_id`, `entry_point`, `prompt`, `test`, or `name`,
            `prompt`, `tests`.
        infer_types: take types that are not annotated from the tests' values.

    Raises:
        DataError: naming the file, the line and the key.
    """
    rows, untranslatable = [], {}
    for record in read_records(path):
        name, prompt, tests = _problem_of(record)
        try:
            problem = parse_problem(name, prompt, tests)
            rows.append(translate(problem.with_inferred_types() if infer_types else problem, language))
        except UntranslatableError as error:
            untranslatable[name] = str(error)
    return Translation(tuple(rows), untranslatable)


def translate(problem: PythonProblem, language: str) -> dict[str, Any]:
    """One problem as a row of MultiPL-E.

    Raises:
        UntranslatableError: naming what has no counterpart.
    """
    target = TARGETS[language]
    prompt, tests = target.prompt(problem), target.tests(problem)
    if any("\ud800" <= character <= "\udfff" for character in prompt + tests):
        raise UntranslatableError("half a surrogate pair in a text")
    return {
        "name": problem.name,
        "language": target.LANGUAGE,
        "prompt": prompt,
        "doctests": "transform",
        "prompt_terminology": "reworded",
        "tests": tests,
        "stop_tokens": list(target.STOP),
    }


def _problem_of(record: Record) -> tuple[str, str, str]:
    """The problem's name, prompt and tests; HumanEval/23 is HumanEval_23_strlen in MultiPL-E."""
    name, tests = record.optional_text("name"), record.optional_text("tests")
    if name is None:
        name = f"{record.text('task_id').replace('/', '_')}_{record.text('entry_point')}"
    return name, record.text("prompt"), record.text("test") if tests is None else tests
