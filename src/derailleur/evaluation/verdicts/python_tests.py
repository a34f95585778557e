"""How Python tests look decides how a program is judged by them: the safest way that their shape allows.

    values   every test is `assert f(1, [2]) == 3` or the like: the program's box gets the calls alone
    judged   the tests run in a box of their own, and call the program's functions in another
    joined   the tests need the program in their own process

Only the tests are looked at, never the program.
"""

import ast
import builtins
import math
import symtable
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from derailleur.evaluation.verdicts.plain import Plain, equal, is_scalar, scalar, truth


@dataclass(frozen=True, slots=True)
class Check:
    """One test on the value of one call.

    Attributes:
        call: source of the call, free of names other than the function's and builtins.
        source: source of the test, for people.
        holds: whether a value passes; PlainError and ArithmeticError are failures too.
    """

    call: str
    source: str
    holds: Callable[[Plain], bool]


@dataclass(frozen=True, slots=True)
class Values:
    """Tests that are checks of values, in their order."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """Tests that can run apart from the program.

    Attributes:
        names: what they use of the program.
        modules: modules that they use without importing them, as the program's own imports let them.
    """

    names: tuple[str, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Tests that need the program's own process, and why."""

    reason: str


@lru_cache(maxsize=1024)
def plan(tests: str) -> Values | Judged | Joined:
    """How to judge a program by `tests`.

    Raises:
        SyntaxError, ValueError, RecursionError: if they are no Python, or if they assert something, but
            nothing of the program: a function of theirs that nobody calls, for example, passes any program.
    """
    tree = ast.parse(tests)
    try:
        return Values(_checks(tree))
    except _OtherShapeError:
        return _apart(tests, tree)


class _OtherShapeError(Exception):
    """Tests that are more than checks of values."""


# Values


def _checks(tree: ast.Module) -> tuple[Check, ...]:
    used = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    checks = tuple(
        check for test, names in _asserts(tree.body, {}, {}, used) for check in _checks_of(test, names)
    )
    if not checks:
        raise _OtherShapeError
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
                raise _OtherShapeError


def _bound(function: ast.FunctionDef, arguments: list[ast.expr], names: dict[str, str]) -> dict[str, str]:
    """What the parameters of a test's function stand for."""
    match function.args:
        case ast.arguments(posonlyargs=[], vararg=None, kwonlyargs=[], kwarg=None, defaults=[]):
            given = [names.get(node.id, node.id) for node in arguments if isinstance(node, ast.Name)]
            parameters = [parameter.arg for parameter in function.args.args]
            if len(given) == len(arguments) == len(parameters):
                return dict(zip(parameters, given, strict=True))
    raise _OtherShapeError


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
    raise _OtherShapeError


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
    raise _OtherShapeError


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
    raise _OtherShapeError


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _literal(node: ast.expr) -> Any:
    if not _is_literal(node):
        raise _OtherShapeError
    return ast.literal_eval(node)


def _number(node: ast.expr) -> float:
    value = _literal(node)
    if not isinstance(value, int | float):
        raise _OtherShapeError
    return value


def _real(value: Plain) -> Any:
    """A number that a test calculates with; NaN for values with which that would have raised TypeError."""
    number = scalar(value) if is_scalar(value) else None
    return math.nan if number is None or isinstance(number, str | bytes | complex) else number


def _is_near(value: Plain, expected: float, tolerance: float, *, closed: bool) -> bool:
    number = scalar(value) if value[0] == "c" else _real(value)
    difference = abs(number - expected)
    return bool(difference < tolerance or (closed and difference == tolerance))


# Tests apart from the program

_MODULES = frozenset((
    "bisect", "cmath", "collections", "copy", "decimal", "fractions", "functools", "heapq", "itertools",
    "json", "math", "operator", "random", "re", "statistics", "string", "typing"
))  # fmt: skip
"""What tests may import without being suspected of looking at the program from within."""

_FROM_WITHIN = frozenset((
    "__import__", "compile", "delattr", "dir", "eval", "exec", "globals", "id", "input", "locals", "open",
    "super", "vars"
))  # fmt: skip
_TAKE_FUNCTIONS = frozenset((
    "all", "any", "callable", "enumerate", "filter", "list", "map", "max", "min", "next", "reversed",
    "sorted", "sum", "tuple", "zip"
))  # fmt: skip
_DUNDERS = ("__name__", "__file__", "__doc__")


class _NotApartError(Exception):
    """Why tests cannot run apart from the program."""


def _apart(tests: str, tree: ast.Module) -> Judged | Joined:
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    free = _free_names(symtable.symtable(tests, "<tests>", "exec"))
    bases = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    modules = free & bases & _MODULES
    try:
        if unusual := sorted(imported - _MODULES):
            raise _NotApartError(f"they import {unusual[0]}")
        _Apart(free - modules).visit(tree)
    except _NotApartError as reason:
        return Joined(str(reason))
    if asserts and not free:
        raise ValueError("they use nothing of the program")
    return Judged(tuple(sorted(free - modules)), tuple(sorted(modules)))


def _free_names(top: symtable.SymbolTable) -> set[str]:
    """Names that the tests use and neither they nor Python define."""
    defined = {
        symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    used: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_global() or table is top:
                (defined if symbol.is_assigned() and symbol.is_declared_global() else used).add(
                    symbol.get_name()
                )
    return used - defined - set(dir(builtins)) - set(_DUNDERS)


class _Apart(ast.NodeVisitor):
    """Raises `_NotApartError` at the first use of the program that does not work from another box."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._functions: set[str] = set()  # of the tests

    def visit_Module(self, node: ast.Module) -> None:
        definitions = (part for part in ast.walk(node) if isinstance(part, ast.FunctionDef))
        self._functions = {part.name for part in definitions}
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        raise _NotApartError(f"they define the class {node.name}")

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        raise _NotApartError(f"they define the coroutine {node.name}")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        caught = (
            set() if node.type is None else {p.id for p in ast.walk(node.type) if isinstance(p, ast.Name)}
        )
        if own := sorted(caught & self._names):
            raise _NotApartError(f"they catch the exception {own[0]}")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in _FROM_WITHIN:
            raise _NotApartError(f"they use {node.id}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr.startswith("__") or node.attr == "seed":
            raise _NotApartError(f"they use {node.attr}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Functions of the tests cannot be handed to the program."""
        handed = [part for part in (*node.args, *(keyword.value for keyword in node.keywords))]
        own = isinstance(node.func, ast.Name) and (node.func.id in self._functions | _TAKE_FUNCTIONS)
        for part in handed if not own else ():
            if isinstance(part, ast.Lambda) or (isinstance(part, ast.Name) and part.id in self._functions):
                raise _NotApartError("they hand a function to the program")
        self.generic_visit(node)
