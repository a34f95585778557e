"""Java's comparisons over plain data, against Java itself."""

import itertools
import json
import shutil

import pytest

from derailleur.evaluation.sandbox import Limits, Outcome, Sandbox
from derailleur.evaluation.verdicts import java_values as values
from derailleur.evaluation.verdicts.java import judge_java, run_java
from derailleur.evaluation.verdicts.java_tests import ends_in_code, read_tests, with_explicit_assertions
from derailleur.evaluation.verdicts.plain import PlainError, check

needs_jdk = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK, which is not installed")

PRIMITIVES = [
    *(
        "true",
        "false",
        "'a'",
        "'\\u0001'",
        "97",
        "1",
        "1l",
        "0",
        "0.0",
        "-0.0",
        "0.0f",
        "0.1",
        "0.1f",
        "(short) 1",
    ),
    *(
        "(byte) 1",
        "1.0",
        "1.0f",
        "16777217",
        "16777216f",
        "16777217.0",
        "0.0/0",
        "0.0f/0",
        "1/0.0",
        "1/0.0f",
        "1e40",
    ),
    *("9007199254740993l", "9007199254740992.0", "Long.MAX_VALUE", "1.4E-45f", "3.4028235E38f"),
]
OBJECTS = [
    *(
        "1",
        "1l",
        "1.0",
        "1.0f",
        "'a'",
        '"a"',
        '"\\"\\u00e9\\ud800"',
        "true",
        "(short) 1",
        "(byte) 1",
        "0.0",
        "-0.0",
    ),
    *(
        "0.0/0",
        "new ArrayList<Object>()",
        "List.of(1l)",
        "Arrays.asList(1l)",
        "new LinkedList<>(List.of(1l))",
    ),
    *(
        "List.of(1)",
        "Collections.unmodifiableList(Arrays.asList(1l))",
        "Stream.of(1l).collect(Collectors.toList())",
    ),
    *("Arrays.asList(1l, null)", "List.of(List.of(1l))", "List.of(1l, 2l)", "List.of(2l, 1l)", "Set.of(1l)"),
    *(
        "new TreeSet<>(Set.of(1l, 2l))",
        "new LinkedHashSet<>(List.of(2l, 1l))",
        "Map.of(1, 2l)",
        "Map.of(1, 2)",
    ),
    *("new TreeMap<>(Map.of(1, 2l))", "new HashMap<>(Map.of(1, 2l))", "new HashMap<Object, Object>()"),
    *('Map.of("a", List.of(1), "b", Set.of())', 'new TreeMap<>(Map.of("b", Set.of(), "a", List.of(1)))'),
    *("Optional.empty()", "Optional.of(1l)", "Optional.of(1)", "Optional.of(Optional.empty())"),
    *('new java.math.BigInteger("5")', 'new java.math.BigDecimal("5.0")', 'new java.math.BigDecimal("5")'),
    *("new int[]{1}", "new long[0]", "List.of(new int[]{1})", "new ArrayDeque<>(List.of(1))", "new Object()"),
]
LIMITS = Limits(cpu_seconds=10)


def reported(sandbox: Sandbox, calls: list[str]) -> list[list[object]]:
    """What the guest makes of values, read from a program's box."""
    lines = "".join(f"derailleur.Report.{call};\n" for call in calls)
    source = (
        "import java.util.*;\nimport java.util.stream.*;\nclass A { public static void main(String[] a) {\n"
    )
    body = f"derailleur.Report.begin();\n{lines}derailleur.Report.end();\n"
    outcome = run_java(f"{source}{body}}} }}", b"", sandbox, LIMITS)
    assert isinstance(outcome, Outcome), outcome
    messages = [json.loads(line) for line in outcome.report]
    assert messages.pop() == ["end"]
    return [check(message[1]) for message in messages]


def table(sandbox: Sandbox, texts: list[str], comparison: str) -> list[list[bool]]:
    """What Java itself says, row by row."""
    rows = "".join(
        "".join(f"try {{ p({comparison.format(a=a, b=b)}); }} catch (Error e) {{}}\n" for b in texts)
        + "n();\n"
        for a in texts
    )
    methods = "".join(f"static void r{n}() {{ {row} }}\n" for n, row in enumerate(rows.split("n();\n")[:-1]))
    calls = "".join(f"r{n}(); System.out.println();\n" for n in range(len(texts)))
    source = (
        "import java.util.*;\nimport java.util.stream.*;\nclass A {\n"
        "static void p(boolean b) { System.out.print(b ? 1 : 0); }\n"
        f"{methods}public static void main(String[] a) {{ {calls} }} }}"
    )
    outcome = run_java(source, b"", sandbox, LIMITS)
    assert isinstance(outcome, Outcome), outcome
    return [[digit == "1" for digit in line] for line in outcome.stdout.decode().split()]


@needs_jdk
def test_equality_of_primitives_is_javas_own(sandbox: Sandbox) -> None:
    numbers = [text for text in PRIMITIVES if text not in ("true", "false")]
    plain = reported(sandbox, [f"same({text})" for text in numbers])
    oracle = table(sandbox, numbers, "({a}) == ({b})")
    for (i, a), (j, b) in itertools.product(enumerate(plain), repeat=2):
        assert values.same(a, b) is oracle[i][j], (numbers[i], numbers[j])


@needs_jdk
def test_a_boxed_operand_is_unboxed(sandbox: Sandbox) -> None:
    boxed, primitive, null, text, yes = reported(
        sandbox, ["same(Long.valueOf(5))", "same(5)", "same((Object) null)", 'same("5")', "same(true)"]
    )
    assert values.same(boxed, primitive)
    assert not values.same(null, primitive)
    assert not values.same(text, primitive)
    assert not values.same(primitive, yes)
    assert values.same(null, null)
    assert not values.same(boxed, null)


@needs_jdk
def test_equals_is_javas_own(sandbox: Sandbox) -> None:
    plain = reported(sandbox, [f"equal((Object) ({text}))" for text in OBJECTS])
    oracle = table(sandbox, OBJECTS, "((Object) ({a})).equals({b})")
    opaque = [value[0] == "?" for value in plain]
    assert opaque == [text.startswith(("new ArrayDeque", "new Object")) for text in OBJECTS]
    for (i, a), (j, b) in itertools.product(enumerate(plain), repeat=2):
        if not opaque[j]:  # which is never expected
            assert values.equal(a, b) is oracle[i][j], (OBJECTS[i], OBJECTS[j])


def test_a_number_that_no_guest_writes_is_refused() -> None:
    with pytest.raises(PlainError):
        values.same(["p", "long", ["L", "five"]], ["p", "long", ["L", "5"]])


MAIN = "    }\n    public static void main(String[] args) {\n"
END = "\n    }\n\n}\n"


@pytest.mark.parametrize(
    ("statement", "reporter", "actual", "expected"),
    [
        ("assert(f((1l)) == (2l));", "same", "f((1l))", "(2l)"),
        ('assert f("==") == 2 : "no";', "same", 'f("==")', "2"),
        ('assert(f(")").equals((List.of("a;b"))));', "equal", 'f(")")', '(List.of("a;b"))'),
        ("assert(f(x.equals(y)).equals(z)); // why", "equal", "f(x.equals(y))", "z"),
        ("assert f(2);", "same", "f(2)", "true"),
    ],
)
def test_statements_that_can_be_judged_by_values(
    statement: str, reporter: str, actual: str, expected: str
) -> None:
    tests = read_tests(MAIN + statement + END)
    assert tests is not None
    (assertion,) = tests.assertions
    assert (assertion.reporter, assertion.actual, assertion.expected) == (reporter, actual, expected)
    assert f"derailleur.Report.{reporter}({actual}\n)" in tests.source
    assert f"derailleur.Report.{reporter}({expected}\n)" in tests.expected
    assert "assert" not in tests.source


@pytest.mark.parametrize(
    "tests",
    [
        MAIN + END,
        MAIN + "long x = f(1); assert(x == 2);" + END,
        MAIN + "for (int i = 0; i < 2; i++) assert(f(i) == 2);" + END,
        MAIN + "assert(f(1) == 2 && f(2) == 3);" + END,
        MAIN + "assert(f(1) > 2);" + END,
        MAIN + "assert(List.of(1, 2).contains(f(1)));" + END,
        MAIN + "assert(!f(1).equals(2));" + END,
        MAIN + "assert(f(1) == 2);" + END + "class Other { int x; }",
        "    }\n    static long g() { return 1; }\n"
        + MAIN.removeprefix("    }\n")
        + "assert(f(1) == 2);"
        + END,
        MAIN + 'assert(f("1) == 2);' + END,
    ],
)
def test_other_tests_are_not_read(tests: str) -> None:
    assert read_tests(tests) is None


def test_assertions_become_statements_that_cannot_be_switched_off() -> None:
    written = 'if (x) assert f(";") == (a ? b : c) : "a" + b; String s = "assert x;"; assert y;'
    explicit = with_explicit_assertions(written)
    assert explicit == (
        'if (x) if (!(f(";") == (a ? b : c))) throw new AssertionError(String.valueOf("a" + b)); '
        'String s = "assert x;"; if (!(y)) throw new AssertionError();'
    )
    assert with_explicit_assertions('assert "') == 'assert "'


@pytest.mark.parametrize(
    ("program", "ends"),
    [
        ("int x = 1; // it's\n", True),
        ("/* a */ char c = '\\''; String s = \"/*\";", True),
        ('String s = """\n  "a" \'\n  """;', True),
        ("int x; /* a", False),
        ("int x; \\u002f\\u002a a", False),
        ('String s = "\\\\u002f";', True),
        ('String s = """\n  a', False),
        ('String s = "a', False),
    ],
)
def test_a_program_that_swallows_its_tests_is_known(program: str, ends: bool) -> None:
    assert ends_in_code(program) is ends


@needs_jdk
def test_chance_is_the_same_in_every_run(sandbox: Sandbox) -> None:
    source = (
        "class P {\nstatic long f() {\n"
        "return java.util.concurrent.ThreadLocalRandom.current().nextLong(1_000_000_000_000l);\n"
    )
    details = {judge_java(source, f"{MAIN}assert(f() == 1);{END}", sandbox, LIMITS).detail for _ in range(3)}
    assert len(details) == 1
