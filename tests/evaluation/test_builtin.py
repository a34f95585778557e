"""Our own problems: every reference passes, wrong programs fail, and none is a benchmark's."""

import ast
import copy
import doctest
import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from derailleur.cli import main
from derailleur.corpus.decontamination import DecontaminationConfig, Decontaminator
from derailleur.evaluation.builtin import builtin_infilling, builtin_problems, builtin_rows
from derailleur.evaluation.problems import Problem
from derailleur.evaluation.programs import Language
from derailleur.evaluation.programs.judging import SandboxJudge
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.sandbox import RefusedError
from derailleur.evaluation.translate import parse_problem
from derailleur.evaluation.verdicts import Verdict

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[3] / "shared/data/eval"))
"""Benchmark files are not part of the project: they lie beside it, or where the variable says."""

PYTHON = builtin_problems(Language.PYTHON)
NAMES = [problem.id for problem in PYTHON]


TOOLS = {Language.JAVASCRIPT: ("node", "nodejs"), Language.JAVA: ("javac", "default-jdk-headless")}


@pytest.fixture(scope="module")
def judge() -> Iterator[SandboxJudge]:
    try:
        opened = SandboxJudge(LanguageLimits())
    except RefusedError as refusal:
        pytest.skip(f"needs a sandbox: {refusal}")
    yield opened
    opened.close()


def test_the_same_problems_in_every_language() -> None:
    assert len(NAMES) >= 36
    for language in Language:
        assert [problem.id for problem in builtin_problems(language)] == NAMES


def doctests(problem: Problem) -> list[doctest.Example]:
    docstring = parse_problem(problem.id, problem.prompt, problem.tests).docstring
    return doctest.DocTestParser().get_examples(docstring)


@pytest.mark.parametrize("problem", PYTHON, ids=NAMES)
def test_a_problem_has_doctests_and_tests(problem: Problem) -> None:
    examples = doctests(problem)
    assert 1 <= len(examples) <= 2
    tests = [example.arguments for example in parse_problem(problem.id, problem.prompt, problem.tests).tests]
    assert len(tests) >= 6
    assert all(tests.count(arguments) == 1 for arguments in tests)


@pytest.mark.parametrize("problem", PYTHON, ids=NAMES)
def test_doctests_show_what_the_reference_returns(problem: Problem) -> None:
    scope: dict[str, Any] = {}
    exec(problem.prompt + (problem.reference or ""), scope)
    for example in doctests(problem):
        assert eval(example.source, scope) == ast.literal_eval(example.want)


@pytest.mark.parametrize(
    ("language", "step"),
    [
        (Language.PYTHON, 1),
        (Language.JAVASCRIPT, 1),
        (Language.JAVA, 9),
        pytest.param(Language.JAVA, 1, marks=pytest.mark.slow),
    ],
)
def test_references_pass(language: Language, step: int, judge: SandboxJudge) -> None:
    tool, package = TOOLS.get(language, ("", ""))
    if tool and shutil.which(tool) is None:
        pytest.skip(f"needs {tool}: apt-get install {package}")
    for problem in builtin_problems(language)[::step]:
        judgement = judge.judge(problem.program(problem.reference or ""))
        assert judgement.verdict is Verdict.PASSED, (problem.id, judgement)


@pytest.mark.parametrize("language", list(Language))
def test_no_stop_cuts_a_reference(language: Language) -> None:
    for problem in builtin_problems(language):
        assert problem.stop
        assert not any(stop in (problem.reference or "") for stop in problem.stop), problem.id


@pytest.mark.parametrize("language", list(Language))
def test_holes_are_filled_by_their_lines(language: Language) -> None:
    whole = {problem.id: problem.program(problem.reference or "") for problem in builtin_problems(language)}
    holes = builtin_infilling(language)
    assert len({hole.id for hole in holes}) == len(holes) > 200
    for hole in holes:
        row = hole.program(hole.reference or "")
        assert row.joined().split() == whole[hole.id.rpartition("-")[0]].joined().split()


class EndlessError(BaseException):
    """A mutant that runs for ever, or too long to wait for."""


SWAPPED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
OTHER = {"min": "max", "max": "min"}


def mutation(node: ast.AST) -> Callable[[Any], None] | None:
    """What makes a node of this kind a wrong one."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPPED:
            return lambda made: setattr(made, "ops", [SWAPPED[type(made.ops[0])]()])
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) | ast.BoolOp(op=operator):
            return lambda made: setattr(made, "op", SWAPPED[type(made.op)]())
        case ast.Constant(value=bool()):
            return lambda made: setattr(made, "value", not made.value)
        case ast.Constant(value=int() | float()):
            return lambda made: setattr(made, "value", made.value + 1)
        case ast.Constant(value=str()):
            return lambda made: setattr(made, "value", made.value + "?")
        case ast.Name(id="min" | "max"):
            return lambda made: setattr(made, "id", OTHER[made.id])
    return None


def mutants(source: str) -> Iterator[CodeType]:
    """The program with one operator, constant or call changed, for each of them."""
    tree = ast.parse(source)
    function = tree.body[-1]
    assert isinstance(function, ast.FunctionDef)
    function.body = function.body[1:]
    for number, node in enumerate(ast.walk(function)):
        if mutate := mutation(node):
            copied = copy.deepcopy(tree)
            mutate(list(ast.walk(copied.body[-1]))[number])
            yield compile(ast.fix_missing_locations(copied), "mutant", "exec")


def fails(program: CodeType, tests: str, *, max_events: int = 5000) -> bool:
    left = max_events

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise EndlessError
        return trace

    scope: dict[str, Any] = {}
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        exec(program, scope)
        exec(tests, scope)
    except (Exception, EndlessError):
        return True
    finally:
        sys.settrace(previous)
    return False


def test_wrong_programs_fail() -> None:
    killed: list[bool] = []
    for problem in PYTHON:
        found = [
            fails(mutant, problem.tests) for mutant in mutants(problem.prompt + (problem.reference or ""))
        ]
        killed += found
        assert sum(found) >= len(found) - 2, problem.id  # most of what is left computes the same
    assert len(killed) > 400
    assert sum(killed) >= 0.96 * len(killed)


def test_written_files_are_kept_out_of_training_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "builtin", "--out", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts == {str(tmp_path / f"builtin-{language}.jsonl"): len(NAMES) for language in Language}
    columns = ("prompt", "canonical_solution", "tests")
    benchmarks = [{"path": path, "columns": columns} for path in counts]
    decontaminator = Decontaminator.load(DecontaminationConfig(benchmarks=benchmarks))
    for language in Language:
        for problem, row in zip(builtin_problems(language), builtin_rows(language), strict=True):
            document = f"x = 1\n{row['prompt']}{row['canonical_solution']}\ny = 2\n"
            match = decontaminator.check(document.encode())
            assert match is not None
            assert match.row == problem.id


def test_none_is_a_problem_of_human_eval() -> None:
    path = EVALUATION / "human-eval/HumanEval.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"benchmark files are not part of the project; none at {path}")
    with gzip.open(path, "rt") as stream:
        published = {json.loads(line)["entry_point"] for line in stream}
    assert not published & set(NAMES)
    benchmark = {"path": path, "columns": ("prompt", "canonical_solution")}
    config = DecontaminationConfig(benchmarks=[benchmark], min_ngram_share=0.2, ngram_words=4)
    decontaminator = Decontaminator.load(config)
    for problem in PYTHON:
        assert decontaminator.check((problem.prompt + (problem.reference or "")).encode()) is None, problem.id
