"""Python problems in other languages, by hand-written pairs and beside MultiPL-E's published files."""

import ast
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.cli import main
from derailleur.evaluation.translate import (
    UntranslatableError,
    java,
    javascript,
    parse_problem,
    translate,
    translate_file,
)
from derailleur.evaluation.translate.docstring import parse_docstring, reword
from derailleur.evaluation.translate.problem import Example, parse_value
from derailleur.evaluation.translate.types import Type, infer_type, parse_type

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[3] / "shared/data/eval"))
"""Benchmark files are not part of the project: they lie beside it, or where the variable says."""

PROMPT = '''from typing import Dict, List, Optional, Tuple

def best_scores(all_games: List[Tuple[str, int]], default: float) -> Dict[str, Optional[float]]:
    """Take a list of tuples and return a dictionary of best scores.
      None stands for a player without score, `list` for itself.

    >>> best_scores([('ann', 3)], 1)
    {'ann': 3.0}
    Either way, True is not a score.
    """
'''
TESTS = """def check(candidate):
    assert candidate([('a"b', 3), ('z', -2)], 0.5) == {'a"b': 3, 'z': None}
    assert candidate([], 2) == {}
"""


def translated(prompt: str, tests: str, language: str) -> dict[str, Any]:
    return translate(parse_problem("problem", prompt, tests), language)


def one_test(annotations: str, test: str) -> tuple[str, str]:
    return f"def f{annotations}:\n    pass\n", f"def check(candidate):\n    {test}\n"


def test_javascript() -> None:
    row = translated(PROMPT, TESTS, "javascript")
    assert row["prompt"] == (
        "//Take an array of arrays and return an object of best scores.\n"
        "// undefined stands for a player without score, `array` for itself.\n"
        '// >>> best_scores([["ann", 3]], 1)\n'
        '// {"ann": 3.0}\n'
        "// Either way, true is not a score.\n"
        "function best_scores(all_games, default_){\n"
    )
    assert row["tests"] == (
        "const assert = require('node:assert');\n\n\n"
        "function test() {\n"
        "  let candidate = best_scores;\n"
        '  assert.deepEqual(candidate([["a\\"b", 3], ["z", -2]], 0.5),{"a\\"b": 3, "z": undefined});\n'
        "  assert.deepEqual(candidate([], 2),{});\n"
        "}\n\n"
        "test();"
    )
    assert (row["name"], row["language"]) == ("problem", "js")
    assert row["stop_tokens"] == ["\nfunction ", "\n/*", "\n//", "\nconsole.log"]


def test_java() -> None:
    row = translated(PROMPT, TESTS, "java")
    pairs = "ArrayList<Pair<String, Long>>"
    scores = "HashMap<String,Optional<Float>>"
    one_game = '(Pair<String, Long>)Pair.with("ann", 3l)'
    assert row["prompt"].partition("class Problem {\n")[2] == (
        "    // Take an array list of pairs and return a hash map of best scores.\n"
        "    // null stands for a player without score, `array list` for itself.\n"
        f"    // >>> bestScores((new {pairs}(Arrays.asList({one_game}))), (float)1l)\n"
        f'    // (new {scores}(Map.of("ann", Optional.of(3.0f))))\n'
        "    // Either way, true is not a score.\n"
        f"    public static {scores} bestScores({pairs} all_games, float default_) {{\n"
    )
    games = '(Pair<String, Long>)Pair.with("a\\"b", 3l), (Pair<String, Long>)Pair.with("z", -2l)'
    expected = 'Map.of("a\\"b", Optional.of((float)3l), "z", Optional.empty())'
    assert row["tests"] == (
        "    }\n"
        "    public static void main(String[] args) {\n"
        f"    assert(bestScores((new {pairs}(Arrays.asList({games}))), (0.5f))"
        f".equals((new {scores}({expected}))));\n"
        f"    assert(bestScores((new {pairs}(Arrays.asList())), (float)2l).equals((new {scores}())));\n"
        "    }\n\n"
        "}\n"
    )
    assert row["stop_tokens"] == ["\n    }\n"]


def test_python_is_kept() -> None:
    row = translated(PROMPT, TESTS, "python")
    again = parse_problem("problem", row["prompt"], row["tests"])
    assert again == parse_problem("problem", PROMPT, TESTS)
    assert row["prompt"].startswith("from typing import Dict, List, Optional, Tuple\n\ndef best_scores(")


@pytest.mark.parametrize(
    ("annotation", "java_type"),
    [
        ("int", "long"),
        ("float", "float"),
        ("str", "String"),
        ("bool", "boolean"),
        ("List[int]", "ArrayList<Long>"),
        ("list[list[bool]]", "ArrayList<ArrayList<Boolean>>"),
        ("typing.Dict[str, List[float]]", "HashMap<String,ArrayList<Float>>"),
        ("Tuple[int]", "Unit<Long>"),
        ("tuple[int, str, bool]", "Triplet<Long, String, Boolean>"),
        ("Tuple[int, int, int, int]", "Quartet<Long, Long, Long, Long>"),
        ("Tuple[str, ...]", "ArrayList<String>"),
        ("Optional[int]", "Optional<Long>"),
        ("Union[None, str]", "Optional<String>"),
        ("'str | None'", "Optional<String>"),
        ("List[Any]", "ArrayList<Object>"),
    ],
)
def test_types_of_java(annotation: str, java_type: str) -> None:
    assert java.java_type(parse_type(ast.parse(annotation, mode="eval").body)) == java_type


@pytest.mark.parametrize(
    ("annotations", "test", "reason"),
    [
        ("(x: Union[int, str]) -> int", "assert candidate(1) == 1", "type 'Union[int, str]'"),
        ("(x: Any) -> int", "assert candidate(1) == 1", "type 'Any'"),
        ("(x: Set[int]) -> int", "assert candidate(1) == 1", "type 'Set[int]'"),
        ("(x) -> int", "assert candidate(1) == 1", "no type of x"),
        ("(x: list) -> int", "assert candidate([1]) == 1", "no type of x"),
        ("(x: int)", "assert candidate(1) == 1", "no type of what is returned"),
        ("(x: int) -> int", "assert candidate(1) == True", "value True as 'int'"),
        ("(x: int) -> int", f"assert candidate(1) == {2**63}", f"value {2**63} as 'int'"),
        ("(x: int) -> int", "assert candidate(1)", "test 'assert candidate(1)'"),
        (
            "(x: float) -> int",
            "assert abs(candidate(1.0) - 1) < 0.1",
            "test 'assert abs(candidate(1.0) - 1) < 0.1'",
        ),
        ("(x: int) -> int", "assert candidate(1) == g(1)", "value 'g(1)' is not a literal"),
        ("(x: int) -> int", "for x in range(3): pass", "test 'for x in range(3):'"),
        (
            "(x: int) -> int",
            "assert candidate(1, 2) == 1",
            "a test whose arguments are not those of the function",
        ),
        ("(x: int) -> int", "assert True", "no tests"),
        ("(*x: int) -> int", "assert candidate(1) == 1", "a parameter with a default, a star or a keyword"),
    ],
)
def test_untranslatable_to_java(annotations: str, test: str, reason: str) -> None:
    with pytest.raises(UntranslatableError) as error:
        translated(*one_test(annotations, test), "java")
    assert str(error.value) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2**53", "value 9007199254740992 of type 'int'"),
        ("{1, 2}", "value {1, 2} of type 'set'"),
        ("b'x'", "value b'x' of type 'bytes'"),
        ("{(1, 2): 3}", "key (1, 2): an object's keys are strings"),
        ("1e999", "value inf of type 'float'"),
    ],
)
def test_untranslatable_to_javascript(value: str, reason: str) -> None:
    with pytest.raises(UntranslatableError) as error:
        translated(*one_test("(x)", f"assert candidate({value}) == 1"), "javascript")
    assert str(error.value) == reason


def test_prompts_with_helpers_are_not_translated() -> None:
    with pytest.raises(UntranslatableError, match="the prompt has 2 functions"):
        parse_problem("problem", "def g():\n    pass\n" + PROMPT, TESTS)


def test_arithmetic_of_literals_is_folded() -> None:
    prompt, tests = one_test("(x: int) -> int", "assert candidate(3 * 5 - 2**3 + -1) == 6")
    (test,) = parse_problem("problem", prompt, tests).tests
    assert test == Example("candidate", (6,), 6)


def test_tests_of_truth() -> None:
    statements = "assert candidate(1)\n    assert not candidate(2)\n    assert candidate(3) is True, 'three'"
    prompt, tests = one_test("(x: int) -> bool", statements)
    assert [test.expected for test in parse_problem("problem", prompt, tests).tests] == [True, False, True]


def test_maps_of_many_entries() -> None:
    values = {number: number for number in range(11)}
    text = java.literal(values, infer_type([values]))
    assert text.startswith("new HashMap<Long,Long>(Map.ofEntries(Map.entry(0l, 0l), Map.entry(1l, 1l), ")


def test_names() -> None:
    prompt, tests = "def is_a__b(new, in_): pass", "def check(candidate):\n    assert candidate(1, 2) == 3"
    problem = parse_problem("problem", prompt, tests).with_inferred_types()
    assert "public static long isAB(long new_, long in_) {" in translate(problem, "java")["prompt"]
    assert "function is_a__b(new_, in_){" in translate(problem, "javascript")["prompt"]


@pytest.mark.parametrize(
    ("line", "reworded"),
    [
        ("a list, A list of lists; an empty list", "an array, An array of arrays; an empty array"),
        ("an array of a dictionary", "an array of an object"),
        ("a listed copy of 'list' or \"list\"", "a listed copy of 'list' or \"list\""),
        ("call list(x) and None.", "call list(x) and undefined."),
    ],
)
def test_rewording(line: str, reworded: str) -> None:
    words = {"list": "array", "lists": "arrays", "dictionary": "object", "None": "undefined"}
    assert reword(line, words) == reworded


def test_articles_fit_in_both_directions() -> None:
    assert reword("An array and a tuple", {"array": "list", "tuple": "object"}) == "A list and an object"


def test_doctests_end_with_their_value() -> None:
    text = """
    Text.
    >>> f('a',
    ...   2)
    [1,
     2]
    more text
    >>> f(x)
    3
    >>> f(1)
    >>> f(2)
    'two'
    """
    assert list(parse_docstring(text)) == [
        "Text.",
        Example("f", ("a", 2), [1, 2]),
        "more text",
        ">>> f(x)",
        "3",
        ">>> f(1)",
        Example("f", (2,), "two"),
    ]


@pytest.mark.parametrize(
    ("values", "inferred"),
    [
        ([1, 2.5], "float"),
        ([1, None], "Optional[int]"),
        ([[], [1], [2.0]], "list[float]"),
        ([[], []], "list[int]"),
        ([(1, "a"), (2, "b")], "tuple[int, str]"),
        ([(1, 2), (1, 2, 3)], "list[int]"),
        ([{"a": [1]}, {}], "dict[str, list[int]]"),
        ([True, 1], "Any"),
        ([[1, "a"]], "list[Any]"),
        ([(None, 1), (2.0, None)], "tuple[Optional[float], Optional[int]]"),
    ],
)
def test_inferred_types(values: list[Any], inferred: str) -> None:
    assert str(infer_type(values)) == inferred


plain = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(plain, min_size=1, max_size=3))
def test_every_value_is_of_its_inferred_type(values: list[Any]) -> None:
    inferred = infer_type(values)
    for value in values:
        java.literal(value, inferred)


@given(value=plain)
def test_javascript_of_json_is_json(value: Any) -> None:
    assert json.loads(javascript.literal(value)) == value


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "problems.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"task_id": "Mine/0", "entry_point": "best_scores", "prompt": PROMPT, "test": TESTS},
        {"name": "half", "prompt": "def half(x):\n    pass\n", "tests": TESTS.replace("([], 2)", "(1)")},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["evaluate", "translate", str(source), "--to", "java", "--out", str(out), "--json"]
    assert main(arguments) == 0
    reason = "a test whose arguments are not those of the function"
    assert json.loads(capsys.readouterr().out) == {"translated": 1, "untranslatable": {"half": reason}}
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["name"] == "Mine_0_best_scores"


def published(language: str) -> dict[str, dict[str, Any]]:
    path = EVALUATION / f"multipl-e-deepseek-copy/humaneval-{language}.jsonl"
    if not path.is_file():
        pytest.skip(f"benchmark files are not part of the project; none at {path}")
    return {row["name"]: row for row in map(json.loads, path.read_text().splitlines())}


def annotated(tmp_path: Path) -> Path:
    """MultiPL-E's own annotated Python, out of SantaCoder's infilling rows, cut behind the docstring."""
    rows = {}
    with gzip.open(EVALUATION / "santacoder-fim/santacoder_fim_py.jsonl.gz", "rt") as stream:
        for row in map(json.loads, stream):
            if found := re.search(r"(HumanEval_\d+_\w+)\.json", row["name"]):
                code, quotes, rest = row["prompt"].partition('"""')
                prompt = code + quotes + rest.partition('"""')[0] + quotes + "\n"
                rows.setdefault(found[1], {"name": found[1], "prompt": prompt, "tests": row["tests"]})
    path = tmp_path / "annotated.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    return path


def matches(rows: Iterable[dict[str, Any]], reference: dict[str, dict[str, Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        expected = reference.get(row["name"])
        if expected:
            counts["rows"] += 1
            counts["tests"] += row["tests"] == expected["tests"]
            # The published Java says "array array list" where Python said "a list" or "array".
            counts["prompts"] += row["prompt"] == expected["prompt"].replace("array array list", "array list")
            assert row["stop_tokens"] == expected["stop_tokens"]
            assert row["language"] == expected["language"]
    return counts


@pytest.mark.parametrize(
    ("language", "name", "least"),
    [
        ("javascript", "js", {"rows": 152, "tests": 151, "prompts": 147}),
        ("java", "java", {"rows": 150, "tests": 148, "prompts": 138}),
    ],
)
def test_annotated_problems_are_the_published_ones(
    language: str, name: str, least: dict[str, int], tmp_path: Path
) -> None:
    reference = published(name)
    rows = translate_file(annotated(tmp_path), language).rows
    assert matches(rows, reference) >= Counter(least)


@pytest.mark.parametrize(
    ("language", "name", "least"),
    [
        ("javascript", "js", {"rows": 152, "tests": 146, "prompts": 61}),
        ("java", "java", {"rows": 149, "tests": 143, "prompts": 57}),
    ],
)
def test_human_eval_with_inferred_types(language: str, name: str, least: dict[str, int]) -> None:
    reference = published(name)
    path = EVALUATION / "human-eval/HumanEval.jsonl.gz"
    assert matches(translate_file(path, language, infer_types=True).rows, reference) >= Counter(least)


@pytest.mark.parametrize(
    ("source", "value"),
    [("2**13", 8192), ("'a' + 'b'", "ab"), ("[1] + [2]", [1, 2]), ("-(3 - 5)", 2), ("0.5 * 4", 2.0)],
)
def test_folded(source: str, value: Any) -> None:
    assert parse_value(source) == value


@pytest.mark.parametrize(
    "source", ["2**99999", "9**9**9", "2.5**2", "[0] * 9", "'a' * 9", "1 / 2", "1 + 'a'", "x"]
)
def test_not_folded(source: str) -> None:
    with pytest.raises(UntranslatableError, match="is not a literal"):
        parse_value(source)


def test_texts_of_docstrings_stay_in_their_comments() -> None:
    docstring = r"""'\\users', '\\\\', a carriage\rreturn, '\"\"\"'"""
    prompt = f'def f(x: int) -> int:\n    """{docstring}"""\n'
    tests = "def check(candidate):\n    assert candidate(1) == 1\n"
    problem = parse_problem("problem", prompt, tests)
    comment = translate(problem, "java")["prompt"].partition("class Problem {\n")[2].splitlines()[:-1]
    assert comment == ["    // '\\\\users', '\\\\', a carriage", '    // return, \'"""\'']
    again = parse_problem("problem", translate(problem, "python")["prompt"], tests)
    assert again.docstring == problem.docstring


def test_docstrings_that_end_with_a_quote() -> None:
    prompt = "def f(x: int) -> int:\n    'says \"x\"'\n"
    row = translated(prompt, "def check(candidate):\n    assert candidate(1) == 1\n", "python")
    assert parse_problem("problem", row["prompt"], row["tests"]).docstring == 'says "x"'


def test_doctests_that_do_not_fit_the_signature() -> None:
    prompt = 'def f(x: int) -> int:\n    """\n    >>> f(1.5, None)\n    [2]\n    """\n'
    problem = parse_problem("problem", prompt, "def check(candidate):\n    assert candidate(1) == 1\n")
    lines = translate(problem, "java")["prompt"].splitlines()
    assert lines[-3:-1] == [
        "    // >>> f((1.5f), (null))",
        "    // (new ArrayList<Long>(Arrays.asList((long)2l)))",
    ]


def test_half_a_surrogate_pair() -> None:
    with pytest.raises(UntranslatableError, match="half a surrogate pair in a text"):
        translated(*one_test("(x: str) -> int", r"assert candidate('\ud800') == 1"), "java")


@pytest.mark.parametrize(
    ("prompt", "tests", "reason"),
    [
        ("def f(:", "", "the prompt's lines are not Python: invalid syntax"),
        ("def f(x): pass", "assert", "the tests are not Python: invalid syntax"),
        ("def f(x): pass", "x = 1", r"the tests have no function 'check\(candidate\)'"),
        ("def f(x): pass", "def check(): pass", r"the tests have no function 'check\(candidate\)'"),
        ("x = 1", "", "the prompt has 0 functions"),
        ('def f(x: "List[") -> int: pass', "", r"type 'List\['"),
    ],
)
def test_what_is_no_problem(prompt: str, tests: str, reason: str) -> None:
    with pytest.raises(UntranslatableError, match=reason):
        parse_problem("problem", prompt, tests)


def test_types_print_as_python_writes_them() -> None:
    assert str(Type("dict", (Type("str"), Type("list", (Type("int"),))))) == "dict[str, list[int]]"
