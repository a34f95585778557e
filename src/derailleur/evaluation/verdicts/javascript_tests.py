"""Reading JavaScript tests: which of them can be judged by values, and what they then ask and expect."""

import functools
import re
from dataclasses import dataclass

from derailleur.evaluation.verdicts import javascript_values as values
from derailleur.evaluation.verdicts.conversation import Complaint, is_opaque
from derailleur.evaluation.verdicts.plain import Plain, show
from derailleur.evaluation.verdicts.source import Code, Syntax, UnreadableError

_KNOWN_TESTS = 4096
_REQUIRE = re.compile(r"\s*(const|let|var)\s+assert\s*=\s*require\(\s*['\"] +['\"]\s*\)\s*;?")
_MODULES = ("assert", "node:assert", "assert/strict", "node:assert/strict")
_FUNCTION = re.compile(r"\s*function\s+([\w$]+)\s*\(\s*\)\s*\{")
_DECLARATION = re.compile(r"(?:const|let|var)\s+[\w$]+\s*=\s*[\w$]+")
_ASSERTION = re.compile(r"assert(?:\.(\w+))?\s*\(")
_CALL = re.compile(r"(!?)[\w$]+\s*\(")
_EQUATION = r"(?<![=!<>])={2,3}(?![=>])"
_DECISION = r"[=!]==?|&&|\|\||\?|[<>]|!|\binstanceof\b|\bin\b"
_STRICTLY: dict[str, values.Equal] = {"equal": values.same_value, "deepEqual": values.deep_strict_equal}
_LOOSELY: dict[str, values.Equal] = {"equal": values.equal, "deepEqual": values.deep_equal}
_ALWAYS: dict[str, values.Equal] = {
    "strictEqual": values.same_value,
    "deepStrictEqual": values.deep_strict_equal,
}
_NEGATIONS = {
    "notEqual": "equal",
    "notDeepEqual": "deepEqual",
    "notStrictEqual": "strictEqual",
    "notDeepStrictEqual": "deepStrictEqual",
}


@dataclass(frozen=True, slots=True)
class Assertion:
    """One statement of the tests.

    Attributes:
        actual: the expression that the program's box evaluates.
        expected: the expression that it is compared with.
        negated: the two must differ.
    """

    actual: str
    expected: str
    equal: values.Equal
    negated: bool = False

    def complaint(self, expected: Plain) -> Complaint:
        """The test of a value against what `expected` was found to be."""

        def complain(value: Plain) -> str | None:
            hidden = self.negated and is_opaque(value)  # which is equal to nothing, and proves nothing
            if not hidden and self.equal(value, expected) is not self.negated:
                return None
            wanted = f"{'anything but ' if self.negated else ''}{show(expected)}"
            return f"{self.actual} gave {show(value)}, expected {wanted}"

        return complain


@dataclass(frozen=True, slots=True)
class ReadTests:
    """Tests that can be judged by values.

    Attributes:
        source: the tests with a call that hands out the value in the place of each assertion.
        assertions: in the order in which they are reached.
    """

    source: str
    assertions: tuple[Assertion, ...]


@functools.lru_cache(_KNOWN_TESTS)
def read_tests(tests: str) -> ReadTests | None:
    """Take apart tests of MultiPL-E's shape, which reach each assertion once and in order:

        const assert = require('node:assert');
        function test() { let candidate = name; assert.deepEqual(candidate(1), 2); }
        test();

    The function and the declarations may be missing.

    Returns:
        None for tests of another shape.
    """
    try:
        return _read(Code.read(tests, Syntax.JAVASCRIPT))
    except UnreadableError:
        return None


def _read(code: Code) -> ReadTests:
    required = _REQUIRE.match(code.mask)
    if not required:
        raise UnreadableError("no assert")
    header = code[: required.end()].strip()
    module = re.split("['\"]", header.text)[1]
    if module not in _MODULES:
        raise UnreadableError("another module in the place of assert")
    comparisons = _ALWAYS | (_STRICTLY if module.endswith("strict") else _LOOSELY)
    rest = code[required.end() :]
    function = _FUNCTION.match(rest.mask)
    before, after = f"{required[1]} assert = derailleurAssert('{module}');\n", ""
    if function:
        opening, closing = function.end() - 1, rest.closing(function.end() - 1)
        if not re.fullmatch(rf"\s*{re.escape(function[1])}\s*\(\s*\)\s*;?\s*", rest.mask[closing + 1 :]):
            raise UnreadableError("more than one call of the tests' function")
        before, after = before + rest.text[: opening + 1], rest.text[closing:]
        rest = rest[opening + 1 : closing]
    lines: list[str] = []
    assertions: list[Assertion] = []
    for statement in rest.split(";"):
        if _DECLARATION.fullmatch(statement.mask) and not assertions:
            lines.append(statement.text)
        elif statement.mask:
            assertions.append(_assertion(statement, comparisons))
            lines.append(f"derailleurReport({assertions[-1].actual})")
    if not assertions:
        raise UnreadableError("no assertion")
    return ReadTests(before + "".join(f"{line}\n;" for line in lines) + after, tuple(assertions))


def _assertion(statement: Code, comparisons: dict[str, values.Equal]) -> Assertion:
    match = _ASSERTION.match(statement.mask)
    if not match or statement.closing(match.end() - 1) != len(statement.mask) - 1:
        raise UnreadableError("a statement that is no assertion")
    method = match[1] or "ok"
    operands = statement[match.end() : -1].split(",")
    if method == "ok":
        return _decision(operands[0].unwrapped())
    equal = comparisons.get(_NEGATIONS.get(method, method))
    if equal is None or not 2 <= len(operands) <= 3 or len(operands[0].split(_DECISION)) > 1:
        raise UnreadableError("an assertion of another kind")
    return Assertion(operands[0].text, operands[1].text, equal, method in _NEGATIONS)


def _decision(condition: Code) -> Assertion:
    """The assertion that a condition holds: an equation, or what one call returns.

    Of other conditions the program's box would tell only whether they hold, which is too easily guessed.
    """
    sides = condition.split(_EQUATION)
    if len(sides) == 2 and all(len(side.split(_DECISION)) == 1 for side in sides):
        is_strict = "===" in condition.mask
        return Assertion(
            sides[0].text, sides[1].text, values.identical if is_strict else values.loosely_equal
        )
    call = _CALL.match(condition.mask)
    if not call or condition.closing(call.end() - 1) != len(condition.mask) - 1:
        raise UnreadableError("a condition that the program could guess")
    return Assertion(condition.text[len(call[1]) :], "true", values.same_truth, negated=bool(call[1]))
