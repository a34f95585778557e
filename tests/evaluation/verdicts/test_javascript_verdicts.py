"""JavaScript programs judged for real: cheats fail in both modes, their honest twins pass."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from derailleur.evaluation.sandbox import Limits, Sandbox
from derailleur.evaluation.verdicts import Verdict
from derailleur.evaluation.verdicts.javascript import judge_javascript, judge_joined, run_javascript
from derailleur.evaluation.verdicts.javascript_tests import read_tests

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which is not installed")

EVALUATION = Path(os.environ.get("DERAILLEUR_EVALUATION", Path(__file__).parents[4] / "shared/data/eval"))

LIMITS = Limits(cpu_seconds=2, wall_seconds=30)
HONEST = "function add(a, b) {\n  return [a + b];\n}\n"
WRONG = "function add(a, b) {\n  return [a - b];\n}\n"
TESTS = """const assert = require('node:assert');


function test() {
  let candidate = add;
  assert.deepEqual(candidate(1, 2),[3]);
  assert.deepEqual(candidate(5, -7),[-2]);
}

test();"""

CHEATS = {
    "exit in the function": "function add() { process.exit(0); }",
    "exit at once": "process.exit(0);\nfunction add() {}",
    "reallyExit": "function add() { process.reallyExit(0); }",
    "abort": "function add() { process.abort(); }",
    "kill": "function add() { process.kill(process.pid, 'SIGTERM'); }",
    "return at the top": "return;\nfunction add() {}",
    "assert replaced": "const a = require('assert'); a.deepEqual = () => {}; a.strict.deepEqual = () => {};\n"
    + WRONG,
    "assert replaced in the cache": (
        "const { Module } = require('module'); const load = Module._load;\n"
        "Module._load = (name, ...rest) => /assert/.test(name) ? { deepEqual() {} } : load(name, ...rest);\n"
        "Module.prototype.require = () => ({ deepEqual() {} });\n" + WRONG
    ),
    "require replaced": "var require = () => ({ deepEqual() {} });\n" + WRONG,
    "Object.is and keys replaced": "Object.is = () => true; Object.keys = () => [];\n" + WRONG,
    "JSON replaced": 'JSON.stringify = () => \'["value",["l",[["f","3"]]]]\';\n' + WRONG,
    "Array.prototype replaced": "Array.prototype.every = () => true; Array.isArray = () => true;\n" + WRONG,
    "array iterators replaced": (
        "const iterator = Object.getPrototypeOf([][Symbol.iterator]()); const next = iterator.next;\n"
        "const fake = () => ({ deepEqual() {} }); iterator.next = function () {\n"
        "  const step = next.call(this);\n"
        "  return typeof step.value === 'function' ? { value: fake, done: false } : step;\n"
        "};\n" + WRONG
    ),
    "toJSON": "Object.prototype.toJSON = Array.prototype.toJSON = () => ['l', [['f', '3']]];\n" + WRONG,
    "valueOf": "function add() { return { valueOf: () => [3], toString: () => '3' }; }",
    "toPrimitive": (
        "function add() { return { [Symbol.toPrimitive]: () => true, [Symbol.toStringTag]: 'Array' }; }"
    ),
    "a throwing getter": "function add() { return { get 0() { process.exit(0); }, length: 1 }; }",
    "a proxy": (
        "function add() { return new Proxy([0], { get: (o, k) => k === 'length' ? 1 : k === '0' ? "
        "{ valueOf: () => NaN } : o[k] }); }"
    ),
    "the marker printed": (
        "console.log('passed'); console.log('[\"passed\"]'); console.error('OK'); process.exitCode = 0;\n"
        + WRONG
    ),
    "the channel written to": (
        'const fs = require(\'fs\');\nfor (const line of [\'["end"]\', \'["passed",""]\', \'["ran",""]\'])\n'
        "  fs.writeSync(3, line + '\\n');\n" + WRONG
    ),
    "the channel read": (
        "const fs = require('fs'); require('net');\nprocess.nextTick(() => 0);\n"
        'function add() { fs.writeSync(3, \'["passed","x"]\\n\'); for (;;) {} }'
    ),
    "the channel taken by the binding": (
        "const binding = process.binding('fs'); binding.writeBuffer = binding.writeString = () => 0;\n"
        "process.exit(0);\nfunction add() {}"
    ),
    "exceptions swallowed": (
        "process.on('uncaughtException', () => process.exit(0));\n"
        "process.setUncaughtExceptionCaptureCallback?.(() => process.exit(0));\n"
        "function add() { throw new Error('no'); }"
    ),
    "exit handlers": "process.on('exit', () => { process.exitCode = 0; process.reallyExit(0); });\n" + WRONG,
    "a worker thread": (
        "const { Worker } = require('worker_threads');\n"
        "new Worker(`require('fs').writeSync(3, '[\"end\"]\\\\n'); process.exit(0)`, { eval: true });\n"
        + WRONG
    ),
    "a child process": (
        "require('child_process').spawn('sh', ['-c', 'echo [\\\"end\\\"] >&3; kill -9 '\n"
        "  + process.pid], { stdio: 'inherit' });\n" + WRONG
    ),
    "a promise": "async function add(a, b) { return [a + b]; }",
    "a thenable": "function add() { return { then(done) { done([3]); } }; }",
    "a comment without an end": "function add() { return [3]; }\n/*",
    "a template without an end": "function add() { return [3]; }\nconst text = `",
    "the test function shadowed": "const test = () => {};\n" + WRONG,
    "the reporter shadowed": "const derailleurReport = () => {};\n" + WRONG,
    "the caller's source": (
        "function add(a, b) {\n  const text = String(add.caller) + String(arguments.callee.caller);\n"
        "  const found = text.match(new RegExp('\\\\(' + a + ', ' + b + '\\\\),(\\\\[[^\\\\]]*\\\\])'));\n"
        "  return found ? JSON.parse(found[1]) : 0;\n}"
    ),
}
TWINS = {
    "plain": HONEST,
    "exit when not used": "if (process.argv.includes('x')) process.exit(0);\n" + HONEST,
    "an assertion of its own": "function add(a, b) { require('assert').ok(true); return [a + b]; }",
    "polyfills": "Array.prototype.last = function () { return this[this.length - 1]; };\n" + HONEST,
    "toString of a class": (
        "class Pair { constructor(a) { this.a = a; } }\n"
        "Pair.prototype.toString = function () { return 'x'; };\n"
        "function add(a, b) { return [new Pair(a).a + b]; }"
    ),
    "printing": "console.log('passed', [1]);\n" + HONEST,
    "handlers": "process.on('uncaughtException', (e) => { throw e; });\nprocess.on('exit', () => {});\n"
    + HONEST,
    "a proxy inside": "const add = (a, b) => [new Proxy({ v: a + b }, {}).v];",
    "getters inside": "const add = (a, b) => { const o = { get v() { return a + b; } }; return [o.v]; };",
    "a timer": "setInterval(() => {}, 1000);\n" + HONEST,
    "a promise aside": "Promise.resolve(1).then(() => {});\n" + HONEST,
    "modules": "const { sum = (a, b) => a + b } = require('util');\nconst add = (a, b) => [sum(a, b)];",
    "main": "if (require.main === module) console.log(module.id !== undefined);\n" + HONEST,
    "eval": "const add = new Function('a', 'b', 'return [a + b]');",
    "thrown and caught": "function add(a, b) { try { throw [a + b]; } catch (sum) { return sum; } }",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_by_values(sandbox: Sandbox, name: str) -> None:
    judgement = judge_javascript(CHEATS[name], TESTS, sandbox, LIMITS)
    assert judgement.verdict in (Verdict.WRONG, Verdict.RUNTIME, Verdict.COMPILE, Verdict.TIMEOUT), judgement


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails_joined_with_its_tests(sandbox: Sandbox, name: str) -> None:
    judgement = judge_joined(CHEATS[name], TESTS, sandbox, LIMITS)
    assert judgement.verdict in (Verdict.WRONG, Verdict.RUNTIME, Verdict.COMPILE, Verdict.TIMEOUT), judgement


@pytest.mark.parametrize("name", TWINS)
def test_an_honest_program_passes_in_both_modes(sandbox: Sandbox, name: str) -> None:
    for judge in (judge_javascript, judge_joined):
        judgement = judge(TWINS[name], TESTS, sandbox, LIMITS)
        assert judgement.passed, judgement
        assert judgement.seconds > 0


@pytest.mark.parametrize(
    ("program", "verdict", "detail"),
    [
        (WRONG, Verdict.WRONG, "candidate(1, 2) gave [-1], expected [3]"),
        ("function add(", Verdict.COMPILE, "SyntaxError"),
        ("", Verdict.RUNTIME, "ReferenceError: add is not defined"),
        ("function add(a, b) { return add(a, b); }", Verdict.RUNTIME, "Maximum call stack size exceeded"),
        ("function add(a, b) { for (;;) {} }", Verdict.TIMEOUT, ""),
        ("function add() { for (const all = [];;) all.push(new Array(1e6).fill(0.5)); }", Verdict.MEMORY, ""),
        ("for (;;) require('fs').writeSync(1, 'x'.repeat(1e5));", Verdict.OUTPUT, ""),
        ("function add() { throw new Error('no'); }", Verdict.RUNTIME, "Error: no"),
    ],
)
def test_classes_of_verdicts(sandbox: Sandbox, program: str, verdict: Verdict, detail: str) -> None:
    judgement = judge_javascript(program, TESTS, sandbox, Limits(cpu_seconds=2, memory_bytes=256 << 20))
    assert judgement.verdict is verdict, judgement
    assert detail in judgement.detail


def test_asynchronous_tests_wait(sandbox: Sandbox) -> None:
    tests = "const assert = require('assert');\n(async () => { assert.deepEqual(await add(1, 2), [3]); })();"
    assert read_tests(tests) is None
    assert judge_javascript("const add = async (a, b) => [a + b];", tests, sandbox, LIMITS).passed
    wrong = judge_javascript("const add = async (a, b) => [a - b];", tests, sandbox, LIMITS)
    assert wrong.verdict is Verdict.WRONG


def test_expected_values_that_need_the_program_are_judged_joined(sandbox: Sandbox) -> None:
    tests = "const assert = require('assert');\nassert.deepEqual(new Point(1).twice(), new Point(2));"
    program = "class Point { constructor(x) { this.x = x; } twice() { return new Point(2 * this.x); } }"
    assert read_tests(tests) is not None
    assert judge_javascript(program, tests, sandbox, LIMITS).passed
    assert not judge_javascript(program.replace("2 *", "3 *"), tests, sandbox, LIMITS).passed


def test_a_program_as_a_command(sandbox: Sandbox) -> None:
    program = "process.stdout.write(require('fs').readFileSync(0, 'utf8').toUpperCase())"
    assert run_javascript(program, b"abc", sandbox, LIMITS).stdout == b"ABC"


@pytest.fixture(scope="module")
def published() -> Path:
    if not EVALUATION.is_dir():
        pytest.skip("no benchmark files here")
    return EVALUATION


@pytest.mark.slow
def test_every_published_reference_passes(sandbox: Sandbox, published: Path) -> None:
    first: dict[str, tuple[str, str]] = {}
    with gzip.open(published / "santacoder-fim/santacoder_fim_js.jsonl.gz", "rt") as stream:
        for row in map(json.loads, stream):
            program = f"{row['prompt']}\n{row['canonical_solution']}\n{row['suffix']}"
            first.setdefault(row["name"].rpartition("-L")[0], (program, row["tests"]))
    failed = [name for name, (p, t) in first.items() if not judge_javascript(p, t, sandbox, LIMITS).passed]
    assert len(first) == 154
    assert failed == []


@pytest.mark.slow
def test_both_modes_agree_on_published_solutions(sandbox: Sandbox, published: Path) -> None:
    path, passed = published / "multipl-e-sandboxfusion-copy/humaneval-js.jsonl", 0
    for row in map(json.loads, path.read_text().splitlines()):
        fenced = re.search(r"```\w*\n(.*?)```", row["gpt_solution"], re.DOTALL)
        program = fenced[1] if fenced else row["gpt_solution"]
        by_values = judge_javascript(program, row["tests"], sandbox, LIMITS)
        assert by_values.verdict is judge_joined(program, row["tests"], sandbox, LIMITS).verdict
        passed += by_values.passed
    assert passed == 138
