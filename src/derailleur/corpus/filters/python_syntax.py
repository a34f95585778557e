"""Drops Python that does not parse, and Python of which too much is imports, stubs or print statements.

Bounds of OpenCoder (arXiv:2411.04905, appendix A). Needs the syntax tree, so it is the
slowest filter.
"""

import ast
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register


class PythonSyntaxConfig(Config):
    """Bounds of the Python filter, statements / lines that are not blank; a document at a bound is kept."""

    max_functions: float = Field(0.2, ge=0, le=1, description="functions / lines")
    max_passes: float = Field(0.05, ge=0, le=1, description="pass statements / lines")
    max_imports: float = Field(0.3, ge=0, le=1, description="import statements / lines")
    max_simple_functions: float = Field(0.1, ge=0, le=1, description="functions of one statement / lines")
    max_prints: float = Field(0.4, ge=0, le=1, description="calls of print as a statement / lines")


@register("python_syntax")
class PythonSyntaxFilter:
    """Keeps Python that parses and does something."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: PythonSyntaxConfig) -> None:
        self.rules = (
            Rule("python_parses", "python_syntax", minimum=1, detail="does not parse"),
            Rule("python_functions", "python_functions", maximum=config.max_functions),
            Rule("python_passes", "python_passes", maximum=config.max_passes),
            Rule("python_imports", "python_imports", maximum=config.max_imports),
            Rule("python_simple_functions", "python_simple_functions", maximum=config.max_simple_functions),
            Rule("python_prints", "python_prints", maximum=config.max_prints),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """Whether it parses, and shares of kinds of statements; of Python alone."""
        if document.language != "Python":
            return {}
        tree = _parse(document.content)
        if tree is None:
            return {"python_parses": 0}
        lines = max(sum(bool(line.strip()) for line in document.content.splitlines()), 1)
        counts = Counter(kind for node in ast.walk(tree) for kind in _kinds(node))
        return {"python_parses": 1} | {
            f"python_{kind}": counts[kind] / lines
            for kind in ("functions", "passes", "imports", "simple_functions", "prints")
        }


def _parse(content: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes and comparisons that Python now dislikes
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also of NUL and of endless nesting
        return None


def _kinds(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield "functions"
            if len(node.body) - (ast.get_docstring(node, clean=False) is not None) <= 1:
                yield "simple_functions"
        case ast.Pass():
            yield "passes"
        case ast.Import() | ast.ImportFrom():
            yield "imports"
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            yield "prints"
