"""SPDX licence expressions: `(MIT OR Apache-2.0) AND GPL-2.0-only WITH Classpath-exception-2.0`.

Identifiers are written as SPDX writes them, deprecated ones as their successors; unknown ones are kept as
they are. WITH binds tighter than AND, AND tighter than OR (SPDX 3, annex B).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

from derailleur.corpus.licences.catalogue import canonical_exception, canonical_id

Value = TypeVar("Value")

_TOKEN = re.compile(r"\s*([()]|[A-Za-z0-9][A-Za-z0-9.:_-]*\+?)")
_MAX_CHARACTERS = 1000
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Leaf:
    """One licence, perhaps with an exception."""

    licence: str
    exception: str = ""

    def __str__(self) -> str:
        return f"{self.licence} WITH {self.exception}" if self.exception else self.licence


@dataclass(frozen=True, slots=True)
class All:
    """Every part applies."""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return " AND ".join(f"({part})" if isinstance(part, AnyOf) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Whoever takes the file chooses one part."""

    parts: tuple["Expression", ...]

    def __str__(self) -> str:
        return " OR ".join(map(str, self.parts))


Expression: TypeAlias = Leaf | All | AnyOf


def all_of(parts: Sequence[Expression]) -> Expression:
    """The conjunction; parts of parts are lifted, repeated ones dropped."""
    return _join(All, parts)


def any_of(parts: Sequence[Expression]) -> Expression:
    """The disjunction; parts of parts are lifted, repeated ones dropped."""
    return _join(AnyOf, parts)


def leaves(expression: Expression) -> Iterator[Leaf]:
    """Every licence of an expression, from left to right."""
    if isinstance(expression, Leaf):
        yield expression
    else:
        for part in expression.parts:
            yield from leaves(part)


def evaluate(
    expression: Expression,
    value: Callable[[Leaf], Value],
    *,
    every: Callable[[list[Value]], Value],
    some: Callable[[list[Value]], Value],
) -> Value:
    """Fold an expression: `value` of each licence, `every` over AND, `some` over OR."""
    if isinstance(expression, Leaf):
        return value(expression)
    parts = [evaluate(part, value, every=every, some=some) for part in expression.parts]
    return every(parts) if isinstance(expression, All) else some(parts)


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression | None:
    """Parse an expression; None where the text is none. Operators may be in lower case."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        expression = _either(tokens, depth=0)
    except _NotAnExpressionError:
        return None
    return None if tokens else expression


class _NotAnExpressionError(Exception):
    """The tokens are no expression."""


def _tokens(text: str) -> list[str] | None:
    """The tokens, the first one last, as the parser takes them from the end."""
    text = text.strip()
    if not 0 < len(text) <= _MAX_CHARACTERS:
        return None
    tokens, position = [], 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            return None
        tokens.append(found[1])
        position = found.end()
    return tokens[::-1]


def _either(tokens: list[str], *, depth: int) -> Expression:
    parts = [_both(tokens, depth=depth)]
    while _take(tokens, "OR"):
        parts.append(_both(tokens, depth=depth))
    return any_of(parts)


def _both(tokens: list[str], *, depth: int) -> Expression:
    parts = [_one(tokens, depth=depth)]
    while _take(tokens, "AND"):
        parts.append(_one(tokens, depth=depth))
    return all_of(parts)


def _one(tokens: list[str], *, depth: int) -> Expression:
    if _take(tokens, "("):
        if depth == _MAX_DEPTH:
            raise _NotAnExpressionError
        inside = _either(tokens, depth=depth + 1)
        if not _take(tokens, ")"):
            raise _NotAnExpressionError
        return inside
    licence, implied = canonical_id(_name(tokens))
    exception = canonical_exception(_name(tokens)) if _take(tokens, "WITH") else implied
    return Leaf(licence, exception)


def _name(tokens: list[str]) -> str:
    if not tokens or tokens[-1].upper() in ("(", ")", "AND", "OR", "WITH"):
        raise _NotAnExpressionError
    return tokens.pop()


def _take(tokens: list[str], wanted: str) -> bool:
    if tokens and tokens[-1].upper() == wanted:
        tokens.pop()
        return True
    return False


def _join(kind: type[All] | type[AnyOf], parts: Sequence[Expression]) -> Expression:
    flat: dict[Expression, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, kind) else (part,)))
    return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))
