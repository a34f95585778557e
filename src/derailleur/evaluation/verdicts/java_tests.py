"""Reading Java tests: which of them can be judged by values, and what they then ask and expect."""

import functools
import re
from dataclasses import dataclass

from derailleur.evaluation.verdicts import java_values as values
from derailleur.evaluation.verdicts.conversation import Complaint
from derailleur.evaluation.verdicts.plain import Plain, show
from derailleur.evaluation.verdicts.source import Code, Syntax, UnreadableError

_KNOWN_TESTS = 4096
_MAIN = re.compile(
    r"[\s}]*public\s+static\s+void\s+main\s*\(\s*String\s*(?:\[\s*\]\s*\w+|\.\.\.\s*\w+)\s*\)\s*(?:throws\s+\w+\s*)?\{"
)
_CALL = re.compile(r"(!?)\w+\s*\(")
_EQUALS = re.compile(r"\.\s*equals\s*\(")
_EQUATION = r"(?<![=!<>])==(?!=)"
_DECISION = r"[=!]=|&&|\|\||\?|[<>]|!|\binstanceof\b"
_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u+([0-9a-fA-F]{4})")
_IMPORTS = "".join(
    f"import {name}.*;\n" for name in ("java.util", "java.util.stream", "java.math", "org.javatuples")
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """One statement of the tests.

    Attributes:
        actual: the expression that the program's box evaluates.
        expected: the expression that it is compared with.
        reporter: the method of the guest `Report` that is given either.
        negated: the two must differ.
    """

    actual: str
    expected: str
    reporter: str
    negated: bool = False

    def complaint(self, expected: Plain) -> Complaint:
        """The test of a value against what `expected` was found to be."""
        equal = values.same if self.reporter == "same" else values.equal

        def complain(value: Plain) -> str | None:
            if equal(value, expected) is not self.negated:
                return None
            return f"{self.actual} gave {show(value)}, expected {show(expected)}"

        return complain


@dataclass(frozen=True, slots=True)
class ReadTests:
    """Tests that can be judged by values.

    Attributes:
        source: the tests with a call that hands out the value in the place of each assertion.
        expected: a class `Expected` whose `report` hands out what is expected.
        assertions: in the order in which they are reached.
    """

    source: str
    expected: str
    assertions: tuple[Assertion, ...]


@functools.lru_cache(_KNOWN_TESTS)
def read_tests(tests: str) -> ReadTests | None:
    """Take apart tests of MultiPL-E's shape, which begin inside the class of the program:

            }
            public static void main(String[] args) {
            assert(name(1l) == (2l));
            assert(name("x").equals(List.of(1l)));
            }
        }

    Returns:
        None for tests of another shape.
    """
    try:
        return _read(Code.read(tests, Syntax.JAVA))
    except UnreadableError:
        return None


def _read(code: Code) -> ReadTests:
    main = _MAIN.match(code.mask)
    if not main:
        raise UnreadableError("something before main")
    closing = code.closing(main.end() - 1)
    if re.search(r"[^\s}]", code.mask[closing:]):
        raise UnreadableError("something after main")
    statements = code[main.end() : closing].split(";")
    assertions = [_assertion(statement) for statement in statements if statement.mask]
    if not assertions:
        raise UnreadableError("no assertion")
    asked = "".join(_report(assertion, assertion.actual) for assertion in assertions)
    expected = "".join(_report(assertion, assertion.expected) for assertion in assertions)
    before, after = code.text[: main.end()], code.text[closing:]
    return ReadTests(
        f"{before}\nderailleur.Report.begin();\n{asked}derailleur.Report.end();\n{after}",
        f"{_IMPORTS}class Expected {{\nstatic void report() throws Exception {{\n{expected}}}\n}}\n",
        tuple(assertions),
    )


def _report(assertion: Assertion, expression: str) -> str:
    return f"derailleur.Report.{assertion.reporter}({expression}\n);\n"


def _assertion(statement: Code) -> Assertion:
    if not re.match(r"assert\b", statement.mask):
        raise UnreadableError("a statement that is no assertion")
    condition = statement[len("assert") :].split(":")[0].unwrapped()
    sides = condition.split(_EQUATION)
    if len(sides) == 2 and all(len(side.split(_DECISION)) == 1 for side in sides):
        return Assertion(sides[0].text, sides[1].text, "same")
    for match in _EQUALS.finditer(condition.mask):
        receiver = condition[: match.start()]
        if (
            condition.closing(match.end() - 1) == len(condition.mask) - 1
            and len(receiver.split(_DECISION)) == 1
        ):
            return Assertion(receiver.text, condition.text[match.end() : -1], "equal")
    call = _CALL.match(condition.mask)
    if not call or condition.closing(call.end() - 1) != len(condition.mask) - 1:
        raise UnreadableError("a condition that the program could guess")
    return Assertion(condition.text[len(call[1]) :], "true", "same", negated=bool(call[1]))


def with_explicit_assertions(tests: str) -> str:
    """The tests with every `assert` as an `if` that throws, which no program can switch off.

    Tests that cannot be read stay as they are.
    """
    try:
        code = Code.read(tests, Syntax.JAVA)
        parts, position = [], 0
        for match in re.finditer(r"\bassert\b", code.mask):
            end = code.end_of_statement(match.end())
            condition, *message = code[match.end() : end].split(r":(?!:)")
            text = f"String.valueOf({message[0].text})" if message else ""
            parts.append(code.text[position : match.start()])
            parts.append(f"if (!({condition.text})) throw new AssertionError({text})")
            position = end
    except UnreadableError:
        return tests
    return "".join([*parts, code.text[position:]])


def ends_in_code(program: str) -> bool:
    """Whether what follows the program is code, and not the end of a comment or a string of the program."""
    text = _ESCAPE.sub(lambda match: match[1] + chr(int(match[2], 16)), program)
    try:
        Code.read(text, Syntax.JAVA)
    except UnreadableError:
        return False
    return True
