"""Tests that run in the program's own process, rewritten so that the program cannot answer in their place.

Strings stand for what the guest puts in their place after the program has run: the built-in functions that
the tests use, and the functions that carry out their operators and look up the program's names.
"""

import ast
import builtins
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from derailleur.evaluation.verdicts.python_classes import compared_classes

_MARKER_BYTES = 8
_PASSED_BY_UNITTEST = "lambda result: result.wasSuccessful() and result.testsRun and not result.skipped"
_NEEDED_BY_NAME = frozenset(
    {"super", "__import__", "__build_class__", "__debug__", "__name__", "__doc__", "__file__"}
)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Rewritten tests.

    Attributes:
        marker: what those strings begin with.
        modules: what the tests import.
        classes: see `compared_classes`.
    """

    source: str
    marker: str
    modules: tuple[str, ...]
    classes: tuple[str, ...]


def rewrite(tests: str) -> Rewritten:
    """Rewrite tests that are Python."""
    tree, marker = ast.parse(tests), secrets.token_hex(_MARKER_BYTES)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    classes = compared_classes(tree)
    rewritten = ast.fix_missing_locations(_Rewriter(marker, tree).visit(tree))
    return Rewritten(ast.unparse(rewritten), marker, tuple(sorted(modules)), classes)


class _Rewriter(ast.NodeTransformer):
    def __init__(self, marker: str, tree: ast.Module) -> None:
        self._marker = marker
        self._bound = set(_bound_names(tree)) | _NEEDED_BY_NAME

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A name of the program's is looked up by a function, since no dictionary that does so is safe."""
        if node.id in self._bound or not isinstance(node.ctx, ast.Load):
            return node
        if hasattr(builtins, node.id):
            return self._stand_in(node.id)
        return ast.Call(self._stand_in("look up"), [ast.Constant(node.id)], [])

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        names = ast.Tuple([ast.Constant(type(operator).__name__) for operator in node.ops], ast.Load())
        return ast.Call(self._stand_in("compare"), [names, node.left, *node.comparators], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        name = ast.Constant(type(node.op).__name__)
        return ast.Call(self._stand_in("calculate"), [name, node.left, node.right], [])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """`self.assertEqual(a, b)` becomes `self.assertTrue(a == b)`."""
        match node:
            case ast.Call(ast.Attribute(_, "assertEqual" | "assertEquals") as method, [left, right, *rest]):
                method.attr = "assertTrue"
                node.args = [ast.Compare(left, [ast.Eq()], [right]), *rest]
        self.generic_visit(node)
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        """A module that the program cannot change while the tests run."""
        return [
            ast.Import([alias])
            if "." in alias.name
            else ast.Assign(
                [ast.Name(alias.asname or alias.name, ast.Store())], self._stand_in(f"import {alias.name}")
            )
            for alias in node.names
        ]

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        """`unittest.main()` would exit, and takes no tests and skipped tests for success."""
        match node.value:
            case ast.Call(ast.Attribute(ast.Name("unittest"), "main")):
                names = ast.Call(self._stand_in("globals"), [], [])
                module = ast.Call(self._stand_in("namespace"), [], [ast.keyword(None, names)])
                passed = ast.parse(_PASSED_BY_UNITTEST, mode="eval").body
                node.value.keywords = [
                    ast.keyword("module", module),
                    ast.keyword("exit", ast.Constant(False)),
                ]
                result = ast.Attribute(node.value, "result", ast.Load())
                return ast.Assert(ast.Call(passed, [result], []))
        self.generic_visit(node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """Left alone: it need not be possible to write a string inside one."""
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        """Patterns are no expressions."""
        node.guard = None if node.guard is None else self.visit(node.guard)
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def _stand_in(self, name: str) -> ast.expr:
        """An expression around the string, since a call of a bare string is warned of."""
        return ast.BoolOp(ast.Or(), [ast.Constant(f"{self._marker}:{name}"), ast.Constant(None)])


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """What the tests give names to, in any scope."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(name, ast.Store() | ast.Del()) | ast.arg(name) | ast.alias(_, str(name)):
                yield name
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name) | ast.alias(name):
                yield name
            case ast.ExceptHandler(_, str(name)) | ast.MatchAs(_, str(name)) | ast.MatchStar(str(name)):
                yield name
