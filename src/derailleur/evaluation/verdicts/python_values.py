"""Python tests that are checks of values, `assert f(1, [2]) == 3` and the like, taken apart."""

import ast
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from derailleur.evaluation.verdicts.plain import Plain, equal, is_scalar, scalar, truth


@dataclass(frozen=True, slots=True)
class Check:
    """One test on the value of one call.

    Attributes:
        call: source of the call, free of names other than the function's and builtins.
        source: source of the test, for people.
        holds: whether a value passes; ValueError, TypeError and ArithmeticError are failures too, as they are
            where the test itself runs.
    """

    call: str
    source: str
    holds: Callable[[Plain], bool]


class OtherShapeError(Exception):
    """Tests that are more than checks of values."""


def find_checks(tree: ast.Module) -> tuple[Check, ...]:
    """The checks that tests consist of, in their order.

    Raises:
        OtherShapeError: if they are more than that, or nothing.
    """
    used = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    checks = tuple(
        check for test, names in _asserts(tree.body, {}, {}, used) for check in _checks_of(test, names)
    )
    if not checks:
        raise OtherShapeError
    return checks


def _asserts(
    body: Sequence[ast.stmt], functions: dict[str, ast.FunctionDef], names: dict[str, str], used: set[str]
) -> Iterator[tuple[ast.expr, dict[str, str]]]:
    """The conditions asserted and what their parameters stand for; the tests' own functions are inlined.

    Args:
        functions: those that the tests have defined so far; added to.
        names: the program's function by parameter.
        used: names that are read anywhere.
    """
    for statement in body:
        match statement:
            case ast.Pass() | ast.Expr(ast.Constant()) | ast.Import([ast.alias("math", None)]):
                pass
            case ast.Assert(test):
                yield test, dict.fromkeys(functions, "") | names
            case ast.FunctionDef(name, decorator_list=[]) if not names:
                functions[name] = statement
            case ast.Assign([ast.Name(name)], value) if name not in used and _is_literal(value):
                pass
            case ast.If(ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]), _, []):
                yield from _asserts(statement.body, functions, names, used)
            case ast.Expr(ast.Call(ast.Name(name), arguments, [])) if name in functions:
                function = functions[name]
                others = {key: value for key, value in functions.items() if key != name}
                yield from _asserts(function.body, others, _bound(function, arguments, names), used)
            case _:
                raise OtherShapeError


def _bound(function: ast.FunctionDef, arguments: list[ast.expr], names: dict[str, str]) -> dict[str, str]:
    """What the parameters of a test's function stand for."""
    match function.args:
        case ast.arguments(posonlyargs=[], vararg=None, kwonlyargs=[], kwarg=None, defaults=[]):
            given = [names.get(node.id, node.id) for node in arguments if isinstance(node, ast.Name)]
            parameters = [parameter.arg for parameter in function.args.args]
            if len(given) == len(arguments) == len(parameters):
                return dict(zip(parameters, given, strict=True))
    raise OtherShapeError


def _checks_of(test: ast.expr, names: dict[str, str]) -> Iterator[Check]:
    """The checks that a condition is made of."""
    source = ast.unparse(test)
    match test:
        case ast.Constant(value) if value:
            return
        case ast.BoolOp(ast.And(), parts):
            for part in parts:
                yield from _checks_of(part, names)
            return
        case ast.UnaryOp(ast.Not(), operand):
            yield Check(_call(operand, names), source, lambda value: not truth(value))
            return
        case ast.Call(ast.Attribute(ast.Name("math"), "isclose"), [left, right], keywords):
            call, other = _sides(left, right, names)
            options = {str(keyword.arg): _number(keyword.value) for keyword in keywords}
            expected = _number(other)
            yield Check(call, source, lambda value: math.isclose(_real(value), expected, **options))
            return
        case ast.Call():
            yield Check(_call(test, names), source, truth)
            return
        case ast.Compare(left, [operator], [right]):
            yield _comparison(left, operator, right, names, source)
            return
    raise OtherShapeError


def _comparison(
    left: ast.expr, operator: ast.cmpop, right: ast.expr, names: dict[str, str], source: str
) -> Check:
    match operator, left, right:
        case ast.Lt() | ast.LtE(), ast.Call(ast.Name("abs"), [ast.BinOp(first, ast.Sub(), second)], []), _:
            (call, other), tolerance = _sides(first, second, names), _number(right)
            expected, closed = _number(other), isinstance(operator, ast.LtE)
            return Check(call, source, lambda value: _is_near(value, expected, tolerance, closed=closed))
        case ast.Is() | ast.IsNot(), _, ast.Constant(None | True | False as constant):
            wanted, same = ["n"] if constant is None else ["b", constant], isinstance(operator, ast.Is)
            return Check(_call(left, names), source, lambda value: (value == wanted) is same)
        case ast.Eq(), _, _:
            call, other = _sides(left, right, names)
            literal = _literal(other)
            return Check(call, source, lambda value: equal(value, literal))
        case ast.NotEq(), _, _:
            call, other = _sides(left, right, names)
            literal = _literal(other)
            return Check(call, source, lambda value: value[0] != "?" and not equal(value, literal))
    raise OtherShapeError


def _sides(left: ast.expr, right: ast.expr, names: dict[str, str]) -> tuple[str, ast.expr]:
    """The call and the literal beside it, whichever way round."""
    if _is_literal(right):
        return _call(left, names), right
    return _call(right, names), left


_PURE = frozenset((
    "abs", "bin", "bool", "bytes", "chr", "complex", "dict", "float", "frozenset", "hex", "int", "len",
    "list", "max", "min", "oct", "ord", "pow", "range", "reversed", "round", "set", "sorted", "str", "sum",
    "tuple", "zip"
))  # fmt: skip
_EXPRESSIONS = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Starred, ast.Call,
    ast.keyword, ast.Name, ast.expr_context, ast.operator, ast.unaryop,
)  # fmt: skip


def _call(node: ast.expr, names: dict[str, str]) -> str:
    """The source of a call of the program whose arguments need nothing but builtins."""
    match node:
        case ast.Call(ast.Name(name), arguments, keywords):
            function = names.get(name, name)
            parts = [part for argument in (*arguments, *keywords) for part in ast.walk(argument)]
            free = {part.id for part in parts if isinstance(part, ast.Name)}
            if (
                function
                and free <= _PURE - {function}
                and all(isinstance(part, _EXPRESSIONS) for part in parts)
            ):
                return ast.unparse(ast.Call(ast.Name(function), arguments, keywords))
    raise OtherShapeError


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _literal(node: ast.expr) -> Any:
    if not _is_literal(node):
        raise OtherShapeError
    return ast.literal_eval(node)


def _number(node: ast.expr) -> float:
    value = _literal(node)
    if not isinstance(value, int | float):
        raise OtherShapeError
    return value


def _real(value: Plain) -> Any:
    """A number that a test calculates with; NaN for values with which that would have raised TypeError."""
    number = scalar(value) if is_scalar(value) else None
    return math.nan if number is None or isinstance(number, str | bytes | complex) else number


def _is_near(value: Plain, expected: float, tolerance: float, *, closed: bool) -> bool:
    number = scalar(value) if value[0] == "c" else _real(value)
    difference = abs(number - expected)
    return bool(difference < tolerance or (closed and difference == tolerance))
