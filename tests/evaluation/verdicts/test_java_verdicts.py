"""Java programs judged for real: cheats fail in both modes, their honest twins pass."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from derailleur.errors import UserError
from derailleur.evaluation.sandbox import Limits, Outcome, Sandbox
from derailleur.evaluation.verdicts import Verdict, java
from derailleur.evaluation.verdicts.java import Workshop, judge_java, judge_joined, run_java
from derailleur.evaluation.verdicts.java_tests import read_tests

pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK, which is not installed")

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[4] / "shared/data/eval"))
LIMITS = Limits(cpu_seconds=3, wall_seconds=30)
IMPORTS = "import java.util.*;\nimport java.util.stream.*;\n"
TESTS = """    }
    public static void main(String[] args) {
    assert(add((1l), (2l)).equals((new ArrayList<Long>(Arrays.asList((long)3l)))));
    assert(add((5l), (-7l)).equals((new ArrayList<Long>(Arrays.asList((long)-2l)))));
    }

}
"""
HEAD = "    public static ArrayList<Long> add(long a, long b) {\n"
RIGHT = "        return new ArrayList<Long>(Arrays.asList(a + b));\n"
WRONG = "        return new ArrayList<Long>(Arrays.asList(a - b));\n"


def program(body: str = WRONG, members: str = "", before: str = "") -> str:
    return f"{IMPORTS}{before}class Problem {{\n{members}\n{HEAD}{body}"


CHANNEL = """
    static void say(String line) {
        try {
            var taken = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
            taken.setAccessible(true);
            var unsafe = (sun.misc.Unsafe) taken.get(null);
            var channel = new java.io.FileDescriptor();
            var number = java.io.FileDescriptor.class.getDeclaredField("fd");
            unsafe.putInt(channel, unsafe.objectFieldOffset(number), 3);
            new java.io.FileOutputStream(channel).write(line.getBytes());
        } catch (Exception error) {}
    }
"""
SUBCLASS = "new ArrayList<Long>() { public boolean equals(Object other) { return true; } }"
CHEATS = {
    "exit": program("        System.exit(0); return null;\n"),
    "halt": program("        Runtime.getRuntime().halt(0); return null;\n"),
    "a static initialiser that exits": program(members="static { System.exit(0); }"),
    "a static initialiser that halts": program(members="static { Runtime.getRuntime().halt(0); }"),
    "assertions off": program(
        members="static { ClassLoader.getSystemClassLoader().setDefaultAssertionStatus(false); "
        "ClassLoader.getSystemClassLoader().clearAssertionStatus(); }"
    ),
    "assertions off in a superclass": program(
        before="class Base { static { ClassLoader.getSystemClassLoader().clearAssertionStatus(); } }\n"
    ).replace("class Problem", "class Problem extends Base"),
    "assertions off by reflection": program(
        members='static { try { var f = Problem.class.getDeclaredField("$assertionsDisabled"); '
        "f.setAccessible(true); f.set(null, true); } catch (Throwable error) {} }"
    ),
    "exceptions swallowed": program(
        "        throw new IllegalStateException();\n",
        members="static { Thread.setDefaultUncaughtExceptionHandler((t, e) -> "
        "Runtime.getRuntime().halt(0)); }",
    ),
    "a shutdown hook": program(
        members="static { Runtime.getRuntime().addShutdownHook(new Thread(() -> "
        "Runtime.getRuntime().halt(0))); }"
    ),
    "another thread": program(
        "        for (;;) {}\n",
        members='static { new Thread(() -> { System.out.println("passed"); '
        "Runtime.getRuntime().halt(0); }).start(); }",
    ),
    "the marker printed": program(
        members='static { System.out.println("[\\"passed\\"]"); System.err.println("OK"); }'
    ),
    "System.out replaced": program(members="static { System.setOut(null); System.setErr(null); }"),
    "the channel written to": program(
        members=CHANNEL + 'static { say("[\\"end\\"]\\n"); say("[\\"passed\\",\\"\\"]\\n"); }'
    ),
    "the channel written to, then an exit": program(
        '        say("[\\"passed\\",\\"x\\"]\\n"); Runtime.getRuntime().halt(0); return null;\n',
        members=CHANNEL,
    ),
    "another main": program(before="class Main { public static void main(String[] args) {} }\n"),
    "a main of its own": program(members="public static void main(String[] args) {}"),
    "its own reporter": program(
        before="class derailleur { static class Report { static void equal(Object o) {} "
        "static void begin() {} "
        "static void end() {} } }\n"
    ),
    "its own AssertionError": program(
        members="static class AssertionError extends Error { AssertionError() { System.exit(0); } }"
    ),
    "its own guest": (
        "package derailleur;\n"
        + program(
            before="final class Joined { public static void main(String[] a) {\n"
            'Channel c = new Channel(); c.say("[\\"ready\\"]"); '
            'c.say("[\\"passed\\"," + c.hear() + "]"); } }\n'
            "final class Channel { void say(String s) { System.exit(0); } String hear() { return null; } }\n"
        )
    ),
    "a comment without an end": program("        return null;\n/*"),
    "a comment without an end, escaped": program("        return null;\n\\u002f\\u002a"),
    "a class that takes the tests": program(RIGHT.replace("+", "-") + "    }\n}\nclass Other { void f() {\n"),
    "null": program("        return null;\n"),
    "an endless loop": program("        for (;;) {}\n"),
    "a child process": program(
        members='static { try { new ProcessBuilder("sh", "-c", "echo passed; kill -9 $PPID").inheritIO()'
        ".start().waitFor(); } catch (Exception error) {} }"
    ),
}
CHEATS_BY_VALUES = {
    "equals overridden": program(f"        return {SUBCLASS};\n"),
    "a class with equals": program(
        "        return new Mine();\n",
        before="class Mine extends ArrayList<Long> { public boolean equals(Object o) { return true; } }\n",
    ),
    "equals that exits": program(
        f"        return {SUBCLASS.replace('return true', 'System.exit(0); return true')};\n"
    ),
    "an iterator that exits": program(
        "        return new ArrayList<Long>() {\n"
        "public Iterator<Long> iterator() { System.exit(0); return null; } };\n"
    ),
}
"""What only values stand up to: joined tests ask the program's own object whether it is equal."""

TWINS = {
    "plain": program(RIGHT),
    "printing": program(RIGHT, members='static { System.out.println("passed"); }'),
    "a class of its own": program(
        RIGHT, before="class Pair { public boolean equals(Object o) { return true; } }\n"
    ),
    "its own assertions": program("        assert a < 100;\n" + RIGHT),
    "a stream": program(
        "        return Stream.of(a, b).reduce(Long::sum).map(List::of).map(ArrayList::new).get();\n"
    ),
    "an exception caught": program("        try { throw new Error(); } catch (Error error) {}\n" + RIGHT),
    "a thread": program(
        "        long[] sum = new long[1]; Thread t = new Thread(() -> sum[0] = a + b); t.start();\n"
        "        try { t.join(); } catch (InterruptedException error) {}\n"
        "        return new ArrayList<>(List.of(sum[0]));\n"
    ),
    "a thread that stays": program(
        RIGHT,
        members="static { new Thread(() -> { try { Thread.sleep(1000000); } "
        "catch (Exception e) {} }).start(); }",
    ),
    "a shutdown hook": program(
        RIGHT, members="static { Runtime.getRuntime().addShutdownHook(new Thread(() -> {})); }"
    ),
    "a public class": program(RIGHT).replace("class Problem", "public class Problem"),
    "a package": "package some.where;\n" + program(RIGHT),
    "a nested main": program(RIGHT, before="class Main { public static void main(String[] args) {} }\n"),
    "comments": program('        // it\'s "here\n        /* " */\n' + RIGHT),
    "text blocks": program(
        '        String text = """\n            it\'s /* a "text"\n            """;\n' + RIGHT
    ),
    "no value kept": program("        Object none = null;\n" + RIGHT),
}


@pytest.mark.parametrize("name", CHEATS | CHEATS_BY_VALUES)
def test_a_cheat_fails_by_values(sandbox: Sandbox, name: str) -> None:
    judgement = judge_java((CHEATS | CHEATS_BY_VALUES)[name], TESTS, sandbox, LIMITS)
    assert judgement.verdict in (Verdict.WRONG, Verdict.RUNTIME, Verdict.COMPILE, Verdict.TIMEOUT), judgement


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_joined_with_its_tests(sandbox: Sandbox, name: str) -> None:
    judgement = judge_joined(CHEATS[name], TESTS, sandbox, LIMITS)
    assert judgement.verdict in (Verdict.WRONG, Verdict.RUNTIME, Verdict.COMPILE, Verdict.TIMEOUT), judgement


@pytest.mark.parametrize("name", TWINS)
def test_an_honest_program_passes_in_both_modes(sandbox: Sandbox, name: str) -> None:
    for judge in (judge_java, judge_joined):
        judgement = judge(TWINS[name], TESTS, sandbox, LIMITS)
        assert judgement.passed, judgement
        assert judgement.seconds > 0


@pytest.mark.parametrize(
    ("source", "verdict", "detail"),
    [
        (program(), Verdict.WRONG, "add((1l), (2l)) gave [-1], expected [3]"),
        (program("        return 1;\n"), Verdict.COMPILE, "line 6: incompatible types"),
        (program("        return add(a, b);\n"), Verdict.RUNTIME, "java.lang.StackOverflowError"),
        (program("        for (;;) {}\n"), Verdict.TIMEOUT, ""),
        (
            program("        for (var all = new ArrayList<>();;) all.add(new long[1 << 20]);\n"),
            Verdict.MEMORY,
            "",
        ),
        (program('        for (;;) System.out.println("x".repeat(10000));\n'), Verdict.OUTPUT, ""),
        (
            program("        throw new Error();\n"),
            Verdict.RUNTIME,
            'Exception in thread "main" java.lang.Error',
        ),
    ],
)
def test_classes_of_verdicts(sandbox: Sandbox, source: str, verdict: Verdict, detail: str) -> None:
    judgement = judge_java(source, TESTS, sandbox, LIMITS)
    assert judgement.verdict is verdict, judgement
    assert detail in judgement.detail


def test_other_tests_are_judged_joined(sandbox: Sandbox) -> None:
    tests = (
        "    }\n    public static void main(String[] args) {\n"
        '    for (long n = 0; n < 5; n++) assert add(n, n).get(0) == 2 * n : "n: " + n;\n    }\n}\n'
    )
    assert read_tests(tests) is None
    assert judge_java(program(RIGHT), tests, sandbox, LIMITS).passed
    wrong = judge_java(program(), tests, sandbox, LIMITS)
    assert wrong.verdict is Verdict.WRONG
    assert "n: 1" in wrong.detail


def test_a_source_that_keeps_the_compiler_busy_leaves_the_next_one_alone(sandbox: Sandbox) -> None:
    deep = f"class A {{ int f() {{ return {'(' * 20_000}1{')' * 20_000}; }} }}"
    assert judge_java(deep, TESTS, sandbox, LIMITS).verdict is Verdict.COMPILE
    assert judge_java(program(RIGHT), TESTS, sandbox, LIMITS).passed


def test_a_program_as_a_command(sandbox: Sandbox) -> None:
    source = (
        "public class Echo { public static void main(String[] args) throws Exception {\n"
        'System.out.print(new String(System.in.readAllBytes()) + "!"); } }'
    )
    outcome = run_java(source, b"abc", sandbox, LIMITS)
    assert isinstance(outcome, Outcome)
    assert outcome.stdout == b"abc!"


def test_missing_javatuples_are_named_where_they_are_needed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "_javatuples", lambda: None)
    workshop = Workshop(sandbox)
    source = "import org.javatuples.*;\nclass A { public static void main(String[] a) {} }"
    assert workshop.job(source, LIMITS).command[-1] == "A"
    with pytest.raises(UserError, match="libjavatuples-java"):
        workshop.job(source.replace("{}", "{ Pair.with(1, 2); }"), LIMITS)
    workshop.close()


def test_tuples(sandbox: Sandbox) -> None:
    if java._javatuples() is None:
        pytest.skip("needs javatuples, which is not installed")
    main = "    }\n    public static void main(String[] args) {\n"
    tests = f"{main}    assert(f((2l)).equals((Pair.with(2l, 4l))));\n    }}\n}}"
    source = "import org.javatuples.*;\nclass Problem {\npublic static Pair<Long, Long> f(long n) {\n"
    for judge in (judge_java, judge_joined):
        assert judge(source + "return Pair.with(n, n + n);\n", tests, sandbox, LIMITS).passed
        assert judge(source + "return Pair.with(n, n);\n", tests, sandbox, LIMITS).verdict is Verdict.WRONG


@pytest.fixture(scope="module")
def published() -> Path:
    if not EVALUATION.is_dir():
        pytest.skip("no benchmark files here")
    return EVALUATION


@pytest.mark.slow
def test_every_published_reference_passes(sandbox: Sandbox, published: Path) -> None:
    first: dict[str, tuple[str, str]] = {}
    with gzip.open(published / "santacoder-fim/santacoder_fim_java.jsonl.gz", "rt") as stream:
        for row in map(json.loads, stream):
            source = f"{row['prompt']}\n{row['canonical_solution']}\n{row['suffix']}".rstrip()
            opened = source.removesuffix("}").rstrip().removesuffix("}")
            first.setdefault(row["name"].rpartition("-L")[0], (opened, row["tests"]))
    failed = [name for name, (p, t) in first.items() if not judge_java(p, t, sandbox, LIMITS).passed]
    assert len(first) == 137
    assert failed == []


@pytest.mark.slow
def test_both_modes_agree_on_published_solutions(sandbox: Sandbox, published: Path) -> None:
    path, passed = published / "multipl-e-sandboxfusion-copy/humaneval-java.jsonl", set()
    for row in map(json.loads, path.read_text().splitlines()):
        fenced = re.search(r"```\w*\n(.*?)```", row["gpt_solution"], re.DOTALL)
        source = fenced[1] if fenced else row["gpt_solution"]
        own_main = re.search(r"\n[ \t]*(?://[^\n]*\n[ \t]*)*public static void main", source)
        source = source[: own_main.start()] if own_main else source.rstrip().removesuffix("}")
        source = source.rstrip().removesuffix("}")
        by_values = judge_java(source, row["tests"], sandbox, LIMITS)
        assert by_values.verdict is judge_joined(source, row["tests"], sandbox, LIMITS).verdict
        if by_values.passed:
            passed.add(row["name"].split("_")[1])
    assert len(passed) == 130
    assert passed >= {"8", "20", "107", "112", "155"}  # of the eight with tuples those that are right
