"""Types of annotated Python: read from an annotation, or inferred from values."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

SCALARS = ("int", "float", "str", "bool", "None", "Any")
BARE = ("list", "dict", "tuple")
_CONTAINERS = {"list": 1, "dict": 2, "optional": 1}


class UntranslatableError(Exception):
    """What has no counterpart in the other language; the message says which."""


@dataclass(frozen=True, slots=True)
class Type:
    """`Type("dict", (Type("str"), Type("int")))`.

    Attributes:
        name: int, float, str, bool, None, Any, list, tuple, dict, Optional or Union; `Tuple[T, ...]`, whose
            length is open, is a list.
    """

    name: str
    arguments: tuple["Type", ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.arguments))
        return f"{self.name}[{inside}]" if inside else self.name


INT, FLOAT, BOOL, NONE, ANY = map(Type, ("int", "float", "bool", "None", "Any"))
_UNKNOWN = Type("unknown")  # the element of an empty container


def parse_type(annotation: ast.expr) -> Type:
    """The type that an annotation names, as `typing` or as the builtin classes write it.

    Raises:
        UntranslatableError: naming the annotation.
    """
    match annotation:
        case ast.Constant(value=None):
            return NONE
        case ast.Constant(value=str(text)):
            return parse_type(_parsed(text))
        case ast.Name(id=name) if name in SCALARS:
            return Type(name)
        case ast.Attribute(attr=name):
            return parse_type(ast.Name(name))
        case ast.BinOp(op=ast.BitOr()):
            return _union([parse_type(annotation.left), parse_type(annotation.right)])
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            inside = annotation.slice
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            return _generic(annotation, name.lower(), parts)
    raise UntranslatableError(f"type '{ast.unparse(annotation)}'")


def _parsed(annotation: str) -> ast.expr:
    """An annotation that is written as a text."""
    try:
        return ast.parse(annotation, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UntranslatableError(f"type '{annotation}'") from None


def _generic(annotation: ast.expr, name: str, inside: list[ast.expr]) -> Type:
    if name == "tuple":
        if len(inside) == 2 and isinstance(inside[1], ast.Constant) and inside[1].value is ...:
            return Type("list", (parse_type(inside[0]),))
        return Type("tuple", tuple(map(parse_type, inside)))
    if name == "union":
        return _union(map(parse_type, inside))
    if _CONTAINERS.get(name) != len(inside):
        raise UntranslatableError(f"type '{ast.unparse(annotation)}'")
    arguments = tuple(map(parse_type, inside))
    return _union([*arguments, NONE]) if name == "optional" else Type(name, arguments)


def _union(types: Iterable[Type]) -> Type:
    """`Union[T, None]` is `Optional[T]`, of more it stays a union."""
    flat = [part for made in types for part in _alternatives(made)]
    others = tuple(dict.fromkeys(part for part in flat if part != NONE))
    if len(others) == 1:
        return others[0] if NONE not in flat else Type("Optional", others)
    return Type("Union", tuple(dict.fromkeys(flat)))


def _alternatives(made: Type) -> tuple[Type, ...]:
    if made.name == "Optional":
        return (*made.arguments, NONE)
    return made.arguments if made.name == "Union" else (made,)


def infer_type(values: Iterable[Any]) -> Type:
    """The narrowest type that holds all of the values; `Any` where they have nothing in common.

    An element that no value shows, of lists that are all empty, is taken for an int.
    """
    return _settled(_join(map(_type_of, values)))


def _type_of(value: Any) -> Type:
    name = type(value).__name__
    if value is None:
        return NONE
    if isinstance(value, list):
        return Type("list", (_join(map(_type_of, value)),))
    if isinstance(value, tuple):
        return Type("tuple", tuple(map(_type_of, value)))
    if isinstance(value, dict):
        return Type("dict", (_join(map(_type_of, value)), _join(map(_type_of, value.values()))))
    if name not in SCALARS:
        raise UntranslatableError(f"a value of type '{name}'")
    return Type(name)


def _join(types: Iterable[Type]) -> Type:
    return reduce(_wider, types, _UNKNOWN)


def _wider(one: Type, other: Type) -> Type:
    if one == other or other == _UNKNOWN:
        return one
    if one == _UNKNOWN:
        return other
    if NONE in (one, other) or "Optional" in (one.name, other.name):
        bare = _join(part for made in (one, other) for part in _without_none(made))
        return bare if bare == ANY else Type("Optional", (bare,))
    if {one, other} == {INT, FLOAT}:
        return FLOAT
    if one.name == other.name and len(one.arguments) == len(other.arguments):
        return Type(one.name, tuple(map(_wider, one.arguments, other.arguments)))
    if {one.name, other.name} <= {"list", "tuple"}:
        return Type("list", (_join(one.arguments + other.arguments),))
    return ANY


def _without_none(made: Type) -> tuple[Type, ...]:
    return made.arguments if made.name == "Optional" else () if made == NONE else (made,)


def _settled(made: Type) -> Type:
    return INT if made == _UNKNOWN else Type(made.name, tuple(map(_settled, made.arguments)))
