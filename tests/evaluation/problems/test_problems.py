"""Problems of benchmarks: their files, and completions in their place."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import DataError
from derailleur.evaluation.problems import STOPS, Gap, Problem, read_problems
from derailleur.evaluation.programs import Language

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[4] / "shared/data/eval"))
needs_evaluation_data = pytest.mark.skipif(not EVALUATION.is_dir(), reason="no folder of evaluation data")

PYTHON: dict[str, Any] = {
    "task_id": "Own/0",
    "prompt": "def double(x):\n",
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
JAVA: dict[str, Any] = {
    "name": "Own_1",
    "language": "java",
    "prompt": "class Problem {\n    // Twice x.\n    public static long twice(long x) {\n",
    "tests": "    }\n    public static void main(String[] a) {\n    assert(twice(2l) == 4l);\n    }\n\n}\n",
    "stop_tokens": ["\n    }\n"],
}
LINE: dict[str, Any] = {
    "name": "own-L1",
    "language": "js",
    "prompt": "function double(x){\n  let y = x;",
    "suffix": "  return y;\n}\n",
    "canonical_solution": "  y *= 2;",
    "tests": "const assert = require('node:assert');\nassert.deepEqual(double(2), 4);\n",
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Problem]]:
    return lambda *rows: read_problems(write(tmp_path / "problems.jsonl", *rows))


def test_human_eval_ends_with_a_call_of_its_check(read: Callable[..., list[Problem]]) -> None:
    (problem,) = read(PYTHON)
    assert (problem.id, problem.language, problem.gap) == ("Own/0", Language.PYTHON, Gap.END)
    assert problem.stop == STOPS[Language.PYTHON]
    assert problem.reference == "    return 2 * x\n"
    row = problem.program("    return x + x", row_id="Own/0-3")
    assert row.id == "Own/0-3"
    assert row.program == "def double(x):\n    return x + x\n"
    assert row.tests == "def check(candidate):\n    assert candidate(2) == 4\n\ncheck(double)\n"


def test_human_eval_whose_tests_call_their_check_gets_no_second_call(
    read: Callable[..., list[Problem]],
) -> None:
    row = {key: value for key, value in PYTHON.items() if key != "entry_point"}
    tests = PYTHON["test"] + "check(double)"
    (problem,) = read(row | {"declaration": "def double(x):\n", "test": tests, "stop_tokens": []})
    assert problem.program("").tests == tests
    assert problem.entry_point is None


def test_infilling_of_a_span_joins_exactly(read: Callable[..., list[Problem]]) -> None:
    (problem,) = read(PYTHON | {"prompt": "def double(x):\n    ret", "suffix": " x\n"})
    assert problem.program("urn 2 *").program == "def double(x):\n    return 2 * x\n"
    assert (problem.gap, problem.stop) == (Gap.SPAN, ())


def test_multipl_e_as_published(read: Callable[..., list[Problem]]) -> None:
    (problem,) = read(JAVA)
    assert problem.stop == ("\n    }\n",)
    assert problem.reference is None
    row = problem.program("        return 2l * x;")
    assert row.joined() == JAVA["prompt"] + "        return 2l * x;\n" + JAVA["tests"]


@given(before=st.booleans(), after=st.booleans())
def test_a_line_stands_on_a_line_of_its_own(before: bool, after: bool) -> None:
    problem = Problem("a", Language.JAVASCRIPT, LINE["prompt"], "", LINE["suffix"], Gap.LINE)
    row = problem.program("\n" * before + "  y *= 2;" + "\n" * after)
    assert row.program == "function double(x){\n  let y = x;\n  y *= 2;\n  return y;\n}\n"


def test_the_line_of_a_java_class_leaves_its_closing_braces_to_the_tests() -> None:
    function = JAVA["prompt"] + "        long y = x;\n        return 2l * y;\n"
    prompt, line, suffix = (
        JAVA["prompt"].rstrip("\n"),
        "        long y = x;",
        "        return 2l * y;\n    }\n}",
    )
    problem = Problem("a", Language.JAVA, prompt, JAVA["tests"], suffix, Gap.LINE, reference=line)
    assert problem.program(line).joined() == function + JAVA["tests"]
    brace = Problem(
        "a", Language.JAVA, function.rstrip("\n"), JAVA["tests"], "}", Gap.LINE, reference="    }"
    )
    assert brace.program("    }").joined() == function + JAVA["tests"]
    assert brace.program("").program.count("}") == 1  # one brace is missing in the class, then


def test_exact_match_is_of_stripped_lines_and_brackets_alone_are_told_apart(
    read: Callable[..., list[Problem]],
) -> None:
    line, brace = read(LINE, LINE | {"name": "own-L2", "canonical_solution": "  });"})
    assert line.exact_match("\n  y *= 2; ")
    assert not line.exact_match("y *= 3;")
    assert (line.is_brace_only, brace.is_brace_only) == (False, True)
    assert not read(JAVA)[0].exact_match("")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            JAVA | {"language": "cpp"},
            "language: 'cpp' cannot be run here; known: py, python, js, javascript, java",
        ),
        (
            JAVA | {"prompt": "class Problem {\n    Twice x.\n    long f() {\n"},
            "prompt: the description is no comment",
        ),
        (JAVA | {"stop_tokens": "x"}, "stop_tokens: expected a list of strings"),
        (JAVA | {"prompt": 3}, "prompt: expected a string, got int"),
        (JAVA | {"name": "Own_0"}, "'Own_0' is already the name of .*problems.jsonl:1"),
        ({"id": "x"}, "its keys are those of no known problem file; known: MultiPL-E"),
    ],
)
def test_a_bad_problem_is_named(
    read: Callable[..., list[Problem]], row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"problems.jsonl:2: {message}"):
        read(JAVA | {"name": "Own_0"}, row)


@needs_evaluation_data
@pytest.mark.parametrize(
    ("name", "number", "distinct"),
    [
        ("human-eval/HumanEval.jsonl.gz", 164, 164),
        ("human-eval-infilling/HumanEval-SingleLineInfilling.jsonl.gz", 1033, 164),
        ("human-eval-infilling/HumanEval-MultiLineInfilling.jsonl.gz", 5815, 164),
        ("human-eval-infilling/HumanEval-RandomSpanInfilling.jsonl.gz", 1640, 164),
        ("multipl-e-deepseek-copy/humaneval-python.jsonl", 164, 164),
        ("santacoder-fim/santacoder_fim_java.jsonl.gz", 1780, 137),
        ("santacoder-fim/santacoder_fim_js.jsonl.gz", 1969, 154),
        ("santacoder-fim/santacoder_fim_py.jsonl.gz", 1043, 153),
    ],
)
def test_references_of_published_files_make_their_functions_whole(
    name: str, number: int, distinct: int
) -> None:
    """However a function was cut, filling in the reference gives the same program, but for blank lines."""
    problems = read_problems(EVALUATION / name)
    references = [problem.program(problem.reference or "").joined() for problem in problems]
    assert len(references) == number
    assert len({"".join(text.split()) for text in references}) == distinct


@needs_evaluation_data
@pytest.mark.parametrize(("language", "number"), [("java", 158), ("js", 161)])
def test_published_files_without_references(language: str, number: int) -> None:
    for folder in ("multipl-e-deepseek-copy", "multipl-e-sandboxfusion-copy"):
        assert len(read_problems(EVALUATION / folder / f"humaneval-{language}.jsonl")) == number


@needs_evaluation_data
@pytest.mark.parametrize("language", ["cpp", "go", "rs", "ts"])
def test_published_files_of_other_languages_are_refused(language: str) -> None:
    with pytest.raises(
        DataError, match=f"humaneval-{language}.jsonl:1: language: '{language}.* cannot be run here"
    ):
        read_problems(EVALUATION / f"multipl-e-deepseek-copy/humaneval-{language}.jsonl")
