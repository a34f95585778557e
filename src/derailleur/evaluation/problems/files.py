"""Files of problems as they are published: MultiPL-E, HumanEval, and infilling made from either.

A row's format is recognised by its keys:

    name, language, prompt, tests, stop_tokens                         MultiPL-E
    name, language, prompt, suffix, canonical_solution, tests          SantaCoder's single-line infilling
    task_id, prompt, canonical_solution, test, entry_point             HumanEval
    task_id, prompt, suffix, canonical_solution, test, entry_point     HumanEval infilling, of lines or spans
    task_id, prompt, canonical_solution, test, declaration             HumanEval whose tests call the function
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from derailleur.errors import DataError
from derailleur.evaluation.json_lines import Record, read_records
from derailleur.evaluation.problems.problem import STOPS, Gap, Problem
from derailleur.evaluation.programs import Language

_LANGUAGES = {
    "py": Language.PYTHON,
    "python": Language.PYTHON,
    "js": Language.JAVASCRIPT,
    "javascript": Language.JAVASCRIPT,
    "java": Language.JAVA,
}
_JAVA_CLASS = "class Problem {\n"


def read_problems(path: Path) -> list[Problem]:
    """The problems of a file in order, `.gz` or not.

    Raises:
        DataError: naming file, line and key; also for a language that cannot be run here, an id that comes
            twice, and an old edition of the Java file, whose descriptions are not comments.
    """
    return list(_distinct((record.where, _problem(record)) for record in read_records(path)))


def _distinct(problems: Iterator[tuple[str, Problem]]) -> Iterator[Problem]:
    first_seen: dict[str, str] = {}
    for where, problem in problems:
        if problem.id in first_seen:
            raise DataError(f"{where}: '{problem.id}' is already the name of {first_seen[problem.id]}")
        first_seen[problem.id] = where
        yield problem


def _problem(record: Record) -> Problem:
    for keys, read in _FORMATS:
        if record.values.keys() >= keys:
            return read(record)
    known = "MultiPL-E, HumanEval, HumanEval infilling, SantaCoder's single-line infilling"
    raise DataError(f"{record.where}: its keys are those of no known problem file; known: {known}")


def _human_eval(record: Record) -> Problem:
    entry_point = record.text("entry_point")
    is_infilling = "suffix" in record.values
    return Problem(
        id=record.text("task_id"),
        language=Language.PYTHON,
        prompt=record.text("prompt"),
        suffix=record.text("suffix") if is_infilling else "",
        gap=Gap.SPAN if is_infilling else Gap.END,
        tests=f"{record.text('test')}\ncheck({entry_point})\n",
        stop=() if is_infilling else STOPS[Language.PYTHON],
        reference=record.text("canonical_solution"),
        entry_point=entry_point,
    )


def _self_calling(record: Record) -> Problem:
    return Problem(
        id=record.text("task_id"),
        language=Language.PYTHON,
        prompt=record.text("prompt"),
        tests=record.text("test"),
        stop=STOPS[Language.PYTHON],
        reference=record.text("canonical_solution"),
    )


def _single_line(record: Record) -> Problem:
    return Problem(
        id=record.text("name"),
        language=_language(record),
        prompt=record.text("prompt"),
        suffix=record.text("suffix"),
        gap=Gap.LINE,
        tests=record.text("tests"),
        reference=record.text("canonical_solution"),
    )


def _multipl_e(record: Record) -> Problem:
    language, prompt = _language(record), record.text("prompt")
    if language is Language.JAVA:
        _refuse_bare_description(record.where, prompt)
    return Problem(
        id=record.text("name"),
        language=language,
        prompt=prompt,
        tests=record.text("tests"),
        stop=record.texts("stop_tokens"),
    )


def _refuse_bare_description(where: str, prompt: str) -> None:
    first = prompt.partition(_JAVA_CLASS)[2].lstrip().partition("\n")[0]
    if not first.startswith(("//", "public ")):
        raise DataError(
            f"{where}: prompt: the description is no comment and cannot compile; "
            "this is an old edition of the Java file, take a newer one"
        )


def _language(record: Record) -> Language:
    name = record.text("language")
    if name not in _LANGUAGES:
        raise DataError(
            f"{record.where}: language: '{name}' cannot be run here; known: {', '.join(_LANGUAGES)}"
        )
    return _LANGUAGES[name]


_FORMATS: tuple[tuple[frozenset[str], Callable[[Record], Problem]], ...] = (
    (frozenset({"name", "language", "prompt", "suffix", "canonical_solution", "tests"}), _single_line),
    (frozenset({"name", "language", "prompt", "tests", "stop_tokens"}), _multipl_e),
    (frozenset({"task_id", "prompt", "canonical_solution", "test", "entry_point"}), _human_eval),
    (frozenset({"task_id", "prompt", "canonical_solution", "test", "declaration"}), _self_calling),
)
