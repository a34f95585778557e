"""A problem written in Python: one annotated function with a docstring, and tests of its values."""

import ast
from dataclasses import dataclass, replace
from typing import Any

from derailleur.evaluation.translate.types import (
    BARE,
    BOOL,
    Type,
    UntranslatableError,
    infer_type,
    parse_type,
)

_MAX_BITS = 4096  # of a folded integer
_PREFIX_OF_MESSAGE = 60


@dataclass(frozen=True, slots=True)
class Example:
    """A call and its value; `function` is the name that a doctest calls."""

    function: str
    arguments: tuple[Any, ...]
    expected: Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name and its type; None where it is not annotated."""

    name: str
    type: Type | None


@dataclass(frozen=True, slots=True)
class PythonProblem:
    """What a translation starts from.

    Attributes:
        name: of the problem, e.g. HumanEval_23_strlen.
        signature: the line with `def`, as Python writes it.
        docstring: without its quotes.
    """

    name: str
    function: str
    signature: str
    parameters: tuple[Parameter, ...]
    returns: Type | None
    docstring: str
    tests: tuple[Example, ...]

    def with_inferred_types(self) -> "PythonProblem":
        """Parameters and returned values without annotation get the types of the tests' values."""
        columns = zip(*(test.arguments for test in self.tests), strict=True)
        parameters = tuple(
            parameter if parameter.type else replace(parameter, type=infer_type(values))
            for parameter, values in zip(self.parameters, columns, strict=True)
        )
        returns = self.returns or infer_type(test.expected for test in self.tests)
        return replace(self, parameters=parameters, returns=returns)


def parse_problem(name: str, prompt: str, tests: str) -> PythonProblem:
    """Read a problem.

    Args:
        prompt: one function; what it imports is left out.
        tests: a function `check(candidate)` of assertions.

    Raises:
        UntranslatableError: naming what has no counterpart.
    """
    function = _only_function(prompt)
    parameters = tuple(
        Parameter(argument.arg, _annotated(argument.annotation)) for argument in function.args.args
    )
    returns = _annotated(function.returns)
    examples = _parse_tests(tests, len(parameters), returns)
    docstring = ast.get_docstring(function, clean=False) or ""
    function.body, function.decorator_list = [], []
    return PythonProblem(name, function.name, ast.unparse(function), parameters, returns, docstring, examples)


def parse_call(source: str) -> tuple[str, tuple[Any, ...]]:
    """The name and the arguments of a call with plain values.

    Raises:
        UntranslatableError: it is none.
    """
    match _parse_expression(source):
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return name, tuple(map(constant, arguments))
    raise UntranslatableError(f"'{source}' is not a call with plain values")


def parse_value(source: str) -> Any:
    """The value of a text that is one literal.

    Raises:
        UntranslatableError: it is none.
    """
    return constant(_parse_expression(source))


def _parse_expression(source: str) -> ast.expr:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UntranslatableError(f"'{source}' is not an expression") from None


def constant(expression: ast.expr) -> Any:
    """The value of a literal; arithmetic of literals is folded.

    Raises:
        UntranslatableError: it is something else.
    """
    try:
        return ast.literal_eval(_Folded().visit(expression))
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        raise UntranslatableError(f"value '{_shown(expression)}' is not a literal") from None


class _Folded(ast.NodeTransformer):
    """Sums, differences, products and small powers of numbers, and texts that are joined."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = constant(node.left), constant(node.right)
        match node.op:
            case ast.Add():
                value = left + right
            case ast.Sub():
                value = left - right
            case ast.Mult() if isinstance(left, int | float) and isinstance(right, int | float):
                value = left * right
            case ast.Pow() if isinstance(left, int) and 0 <= right * left.bit_length() <= _MAX_BITS:
                value = left**right
            case _:
                raise ValueError
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise ValueError
        return ast.Constant(value)


def _parse(source: str, what: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UntranslatableError(f"{what} are not Python: {getattr(error, 'msg', error)}") from None


def _only_function(prompt: str) -> ast.FunctionDef:
    module = _parse(prompt, "the prompt's lines")
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    if len(functions) != 1:
        raise UntranslatableError(f"the prompt has {len(functions)} functions")
    arguments = functions[0].args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
        raise UntranslatableError("a parameter with a default, a star or a keyword")
    return functions[0]


def _annotated(annotation: ast.expr | None) -> Type | None:
    """The annotated type; a bare `list` does not say enough to be one."""
    if annotation is None or (isinstance(annotation, ast.Name) and annotation.id.lower() in BARE):
        return None
    return parse_type(annotation)


def _parse_tests(source: str, num_parameters: int, returns: Type | None) -> tuple[Example, ...]:
    module = _parse(source, "the tests")
    checks = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if not checks or not checks[-1].args.args:
        raise UntranslatableError("the tests have no function 'check(candidate)'")
    candidate = checks[-1].args.args[0].arg
    statements = [node for node in checks[-1].body if not _says_nothing(node)]
    tests = tuple(_parse_test(statement, candidate, returns in (None, BOOL)) for statement in statements)
    if not tests:
        raise UntranslatableError("no tests")
    if any(len(test.arguments) != num_parameters for test in tests):
        raise UntranslatableError("a test whose arguments are not those of the function")
    return tests


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether it cannot fail: `pass`, a text, `assert True`, `print()`."""
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Assert(test=ast.Constant(value=True)):
            return True
        case ast.Expr(value=ast.Name(id="print") | ast.Call(func=ast.Name(id="print"))):
            return True
    return False


def _parse_test(statement: ast.stmt, candidate: str, returns_bool: bool) -> Example:
    """A test; only of a function that returns bool does `assert f(x)` say which value is expected."""
    match statement:
        case ast.Assert(test=ast.Compare(left=call, ops=[ast.Eq()], comparators=[value])):
            expected = constant(value)
        case ast.Assert(
            test=ast.Compare(
                left=call, ops=[ast.Is()], comparators=[ast.Constant(None | True | False as value)]
            )
        ):
            expected = value
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=call)) if returns_bool:
            expected = False
        case ast.Assert(test=call) if returns_bool:
            expected = True
        case _:
            raise UntranslatableError(f"test '{_shown(statement)}'")
    match call:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name == candidate:
            return Example(candidate, tuple(map(constant, arguments)), expected)
    raise UntranslatableError(f"test '{_shown(statement)}'")


def _shown(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0][:_PREFIX_OF_MESSAGE]
