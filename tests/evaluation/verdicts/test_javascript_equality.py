"""Node's comparisons over plain data, against Node itself."""

import itertools
import json
import shutil
import subprocess

import pytest

from derailleur.evaluation.sandbox import Sandbox
from derailleur.evaluation.verdicts import javascript_values as values
from derailleur.evaluation.verdicts.javascript import Evaluator
from derailleur.evaluation.verdicts.javascript_tests import Assertion, ReadTests, read_tests
from derailleur.evaluation.verdicts.plain import PlainError

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which is not installed")

EXPRESSIONS = [
    *("undefined", "null", "true", "false", "0", "-0", "1", "2", "0.1", "0.1+0.2", "NaN", "Infinity", "1e21"),
    *(
        "''",
        "' '",
        "'0'",
        "'1'",
        "' 1\\n'",
        "'1n'",
        "'0x10'",
        "16",
        "'1e3'",
        "1000",
        "'1_0'",
        "'NaN'",
        "'Infinity'",
    ),
    *("'a'", "'\\ud800'", "'true'", "'null'", "'-0x1'", "'+1'", "'.5'", "0.5", "'5.'", "5", "'٣'", "3"),
    *("1n", "0n", "16n", "2n**70n", "2**70", "9007199254740993n", "9007199254740992", "'9007199254740993'"),
    *(
        "[]",
        "[1]",
        "['1']",
        "[1,2]",
        "[2,1]",
        "[undefined]",
        "[null]",
        "[[]]",
        "[[1],[2]]",
        "[NaN]",
        "[-0]",
        "[0]",
    ),
    *(
        "{}",
        "{a:1}",
        "{a:'1'}",
        "{a:1,b:2}",
        "{b:2,a:1}",
        "{a:undefined}",
        "{b:undefined}",
        "{0:1}",
        "{a:{b:[1]}}",
    ),
    *("Object.create(null)", "Object.assign(Object.create(null),{a:1})"),
    *("new Map()", "new Map([[1,2]])", "new Map([['1',2]])", "new Map([[1,'2']])", "new Map([[{a:1},2]])"),
    *("new Map([[1,2],[3,4]])", "new Map([[3,4],[1,2]])", "new Map([[null,1]])", "new Map([[undefined,1]])"),
    *("new Set()", "new Set([1])", "new Set(['1'])", "new Set([1,2])", "new Set([2,1])", "new Set([{a:1}])"),
    *("new Set([[1],[2]])", "new Set([[2],[1]])", "new Set([NaN])", "new Set([1,'1'])", "new Set([1,2,'1'])"),
    *("new Date(5)", "new Date(6)"),
]
COMPARISONS = {
    "equal": values.equal,
    "strictEqual": values.same_value,
    "deepEqual": values.deep_equal,
    "deepStrictEqual": values.deep_strict_equal,
}
ORACLE = """
const assert = require('assert');
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const make = texts.map((text) => new Function(`return (${text});`));
const holds = (name, a, b) => { try { assert[name](a(), b()); return true; } catch { return false; } };
const names = %s;
const table = names.map((name) => make.map((a) => make.map((b) => holds(name, a, b))));
const loosely = (a, b) => { try { return a == b; } catch { return false; } };
for (const operator of [loosely, (a, b) => a === b])
  table.push(make.map((a) => make.map((b) => operator(a(), b()))));
console.log(JSON.stringify({ table, truth: make.map((a) => !!a()) }));
"""


@pytest.fixture(scope="module")
def plain(sandbox: Sandbox) -> list[list[object]]:
    asked = tuple(Assertion("", text, values.equal) for text in EXPRESSIONS)
    found = sandbox.companion(Evaluator).expected(ReadTests("", asked))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def oracle() -> dict[str, list[object]]:
    script = ORACLE % json.dumps(list(COMPARISONS))
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(EXPRESSIONS), capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))


@needs_node
def test_every_comparison_is_nodes_own(plain: list[list[object]], oracle: dict[str, list[object]]) -> None:
    known = [*COMPARISONS.items(), ("==", values.loosely_equal), ("===", values.identical)]
    for (name, compare), table in zip(known, oracle["table"], strict=True):
        for (i, a), (j, b) in itertools.product(enumerate(plain), repeat=2):
            if name in ("==", "===", "equal") and not is_comparable(a, b):
                continue
            assert compare(a, b) is table[i][j], (name, EXPRESSIONS[i], EXPRESSIONS[j])


def is_comparable(a: list[object], b: list[object]) -> bool:
    """Whether neither is an object, which `==` makes a primitive of."""
    return str(a[0]) in "nubifs" and str(b[0]) in "nubifs"


@needs_node
def test_truth_is_nodes_own(plain: list[list[object]], oracle: dict[str, list[object]]) -> None:
    assert [values.is_truthy(value) for value in plain] == oracle["truth"]


def test_data_that_no_guest_writes_is_refused() -> None:
    with pytest.raises(PlainError):
        values.deep_equal(["d", [[["n"], ["n"]]]], ["d", [[["s", "a"], ["n"]]]])
    with pytest.raises(PlainError):
        values.equal(["f", "one"], ["f", "1"])
    assert not values.deep_equal(["?", "object"], ["?", "object"])


HEADER = "const assert = require('assert');\n"


@pytest.mark.parametrize(
    ("statement", "actual", "expected", "negated"),
    [
        ("assert.deepEqual(f(1, [2]), {a: ','})", "f(1, [2])", "{a: ','}", False),
        ("assert.equal(f(')'), 1, 'message')", "f(')')", "1", False),
        ("assert.notEqual(f(), 1)", "f()", "1", True),
        ("assert.ok(f(2))", "f(2)", "true", False),
        ("assert(!f(2))", "f(2)", "true", True),
        ("assert((f(2) === 3))", "f(2)", "3", False),
        ("assert.ok(f(2) == '3') // why", "f(2)", "'3'", False),
        ("assert.deepEqual(f(/[/)]/g, 4 / 2), `x`)", "f(/[/)]/g, 4 / 2)", "`x`", False),
        ("/* first */ assert.strictEqual(f(1).length, 2)", "f(1).length", "2", False),
    ],
)
def test_statements_that_can_be_judged_by_values(
    statement: str, actual: str, expected: str, negated: bool
) -> None:
    tests = read_tests(f"{HEADER}function test() {{ let g = f; {statement}\n; }}\ntest();")
    assert tests is not None
    (assertion,) = tests.assertions
    assert (assertion.actual, assertion.expected, assertion.negated) == (actual, expected, negated)
    assert f"derailleurReport({actual})" in tests.source
    assert expected not in tests.source.replace(actual, "")


@pytest.mark.parametrize(
    "tests",
    [
        "assert.deepEqual(f(1), 2)",
        HEADER,
        HEADER + "if (f(1)) assert.equal(f(1), 2);",
        HEADER + "for (const x of [1]) { assert.equal(f(x), 2); }",
        HEADER + "assert.throws(() => f(1), Error);",
        HEADER + "assert.equal(f(1) === 2, true);",
        HEADER + "assert.ok(f(1) === 2 && f(2) === 3);",
        HEADER + "assert.ok([1, 2].includes(f(1)));",
        HEADER + "assert.ok(f(1) > 2);",
        HEADER + "assert.equal(f(`${1}`), 2);",
        HEADER + "assert.equal(f(1), 2",
        HEADER + "assert.equal(f(1), '2);",
        HEADER + "assert.equal(f(1), 2); /* ",
        HEADER + "function test() { assert.equal(f(1), 2); }",
        HEADER + "function test() { assert.equal(f(1), 2); }\ntest();\ntest();",
        HEADER + "let y = f(1);\nassert.equal(y, 2);",
        "const assert = require('chai').assert;\nassert.equal(f(1), 2);",
        "const assert = require('chai');\nassert.equal(f(1), 2);",
    ],
)
def test_other_tests_are_not_read(tests: str) -> None:
    assert read_tests(tests) is None
