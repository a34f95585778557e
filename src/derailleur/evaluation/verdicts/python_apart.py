"""Whether Python tests can run in a box of their own, away from the program's process."""

import ast
import builtins
import symtable
from dataclasses import dataclass

from derailleur.evaluation.verdicts.python_classes import compared_classes


@dataclass(frozen=True, slots=True)
class Apart:
    """Tests that can run apart from the program.

    Attributes:
        names: what they use of the program.
        modules: modules that they use without importing them, as the program's own imports let them.
        classes: see `compared_classes`.
    """

    names: tuple[str, ...]
    modules: tuple[str, ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """Tests that need the program's own process, and why."""

    reason: str


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
_CHANGING = frozenset((
    "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem",
    "popleft", "remove", "reverse", "setdefault", "sort", "update",
))  # fmt: skip
_DUNDERS = ("__name__", "__file__", "__doc__")


class _NotApartError(Exception):
    """Why tests cannot run apart from the program."""


def find_way(tests: str, tree: ast.Module) -> Apart | Joined:
    """How to run tests that are more than checks of values.

    Raises:
        ValueError: if they assert something, but nothing of the program.
    """
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
        _ApartVisitor(free - modules).visit(tree)
    except _NotApartError as reason:
        return Joined(str(reason))
    if asserts and not free:
        raise ValueError("they use nothing of the program")
    return Apart(tuple(sorted(free - modules)), tuple(sorted(modules)), compared_classes(tree))


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


class _ApartVisitor(ast.NodeVisitor):
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

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        raise _NotApartError("they match a class")

    def visit_Compare(self, node: ast.Compare) -> None:
        """Containers travel as copies, and all objects of the program have one type there."""
        sides = [node.left, *node.comparators]
        identity = any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops)
        if identity and not any(isinstance(side, ast.Constant) for side in sides):
            raise _NotApartError("they compare identities")
        names = {side.id for side in sides if isinstance(side, ast.Name)} & self._names
        if names and any(_is_call_of(side, "type") for side in sides):
            raise _NotApartError("they compare a type")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Functions of the tests cannot be handed to the program."""
        match node.func:
            case ast.Attribute(ast.Attribute(), method) if method in _CHANGING:
                raise _NotApartError("they change a part of an object")
        handed = [part for part in (*node.args, *(keyword.value for keyword in node.keywords))]
        own = isinstance(node.func, ast.Name) and (node.func.id in self._functions | _TAKE_FUNCTIONS)
        for part in handed if not own else ():
            if isinstance(part, ast.Lambda) or (isinstance(part, ast.Name) and part.id in self._functions):
                raise _NotApartError("they hand a function to the program")
        self.generic_visit(node)


def _is_call_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
