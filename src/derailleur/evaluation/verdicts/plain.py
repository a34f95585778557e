"""Plain data, the only thing that a judged program hands out: tagged, of exact types, and never trusted.

A value is `[tag, payload]`, so that JSON keeps apart what it would mix (1, 1.0 and True; list and tuple):

    ["n"] None, null            ["i", "123"] integer (from 2**8192 on in hexadecimal)   ["s", "text"]
    ["u"] undefined             ["f", "0.5"] float: repr, "nan", "inf", "-0.0"          ["y", "00ff"] bytes
    ["b", true]                 ["c", "0.5", "-1.0"] complex

    ["l", [...]] list, array    ["d", [[key, value], ...]] dict, object, map    ["S", [...]] set
    ["t", [...]] tuple                                                          ["Z", [...]] frozenset

    Java   ["L", "5"] Long  ["I", "5"] Integer  ["F", "0.5"] Float  ["D", "0.5"] Double  ["C", "x"] Character
           ["O", []] or ["O", [value]] Optional      ["P", [...]] tuple of javatuples
    Python ["p", "collections.Counter", value] a type of the standard library and what it is made of
    ["?", "type name", ...] anything else, a subclass of the types above among it

The programs in `sandbox/guests` write it; the work done here is bounded by the line's length or, in `equal`,
by the size of what is expected: a program's own containers are never hashed.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

Plain = list[Any]
"""A value as `[tag, ...]`."""

_MAX_DEPTH = 200
_MAX_FRACTION_DIGITS = 1000  # reducing a fraction takes quadratic time


class PlainError(ValueError):
    """A line that is no plain data; the program's doing, since the guests write nothing else."""


def parse(line: bytes | str) -> Plain:
    """Read one JSON line and check its form.

    Raises:
        PlainError: saying what is malformed.
    """
    try:
        value = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise PlainError(f"not JSON: {str(error)[:80]}") from None
    return check(value)


def check(value: Any, depth: int = 0) -> Plain:
    """`value` itself, if it is plain data in form; for values that come inside another message.

    Raises:
        PlainError: saying what is malformed.
    """
    match value:
        case ["n" | "u"] | ["b", bool()] | ["?", str(), *_]:
            return value
        case ["i" | "f" | "s" | "y" | "L" | "I" | "F" | "D" | "C", str()] | ["c", str(), str()]:
            return value
        case ["l" | "t" | "S" | "Z" | "O" | "P", [*items]] if depth < _MAX_DEPTH:
            for item in items:
                check(item, depth + 1)
            return value
        case ["d", [*pairs]] if depth < _MAX_DEPTH:
            for pair in pairs:
                if not isinstance(pair, list) or len(pair) != 2:
                    raise PlainError("a dictionary's entry is no pair")
                check(pair[0], depth + 1)
                check(pair[1], depth + 1)
            return value
        case ["p", str(), content] if depth < _MAX_DEPTH:
            check(content, depth + 1)
            return value
    raise PlainError("a value without a known tag, or nested too deeply")


def equal(actual: Plain, expected: object) -> bool:
    """Python's `==` between what a program returned and what a test expects.

    Args:
        actual: from `parse` or `check`.
        expected: what `ast.literal_eval` can give. 1, 1.0 and True are equal, as they are in Python.

    Raises:
        PlainError: if `actual` holds a number that is none, or a container that is none.
    """
    if is_scalar(actual):
        return bool(scalar(actual) == expected)
    tag, content = _unwrapped(actual)
    match expected:
        case list() | tuple():
            same = tag == ("l" if isinstance(expected, list) else "t") and len(content) == len(expected)
            return same and all(map(equal, content, expected))
        case dict():
            remaining = set(expected)
            same = tag == "d" and len(content) == len(expected)
            return same and all(
                (key := _match(item, remaining)) is not _NOTHING and equal(value, expected[key])
                for item, value in content
            )
        case set() | frozenset():
            remaining = set(expected)
            same = tag in ("S", "Z") and len(content) == len(expected)
            return same and all(_match(item, remaining) is not _NOTHING for item in content)
    return False


def _match(item: Plain, remaining: set[Any]) -> Any:
    """Take the key or member that equals `item` out of `remaining`."""
    if is_scalar(item):
        value = scalar(item)
        found = value if value in remaining else _NOTHING
    else:
        found = next((value for value in remaining if equal(item, value)), _NOTHING)
    remaining.discard(found)
    return found


def truth(actual: Plain) -> bool:
    """Python's `bool`; of an object that is no plain data, what the program claims."""
    if is_scalar(actual):
        return bool(scalar(actual))
    tag, content = _unwrapped(actual)
    if tag == "?":
        return len(actual) > 2 and actual[2] is True
    return bool(content)


def is_scalar(value: Plain) -> bool:
    """Whether `scalar` can read it."""
    return value[0] in _SCALARS or (value[0] == "p" and value[1] in _LIBRARY_SCALARS)


def scalar(value: Plain) -> Any:
    """The Python value of what has no parts.

    Raises:
        PlainError: if the text is no value of that type.
    """
    try:
        if value[0] == "p":
            return _LIBRARY_SCALARS[value[1]](value[2])
        return _SCALARS[value[0]](*value[1:])
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise PlainError(f"no value of its type: {str(error)[:80]}") from None


def _integer(text: str) -> int:
    return int(text, 16 if "x" in text else 10)  # decimals have a limit of their own, 4300 digits


def _fraction(content: Plain) -> Fraction:
    numerator, denominator = (text for _, text in content[1])
    if max(len(numerator), len(denominator)) > _MAX_FRACTION_DIGITS:
        raise ValueError("a fraction of too many digits")
    return Fraction(_integer(numerator), _integer(denominator))


def _decimal(content: Plain) -> Decimal:
    number = Decimal(content[1])
    if number.is_snan():
        raise ValueError("a signalling NaN")
    return number


_SCALARS: dict[str, Callable[..., Any]] = {
    "n": lambda: None,
    "b": bool,
    "i": _integer,
    "f": float,
    "s": str,
    "y": bytes.fromhex,
    "c": lambda real, imaginary: complex(float(real), float(imaginary)),
}
_LIBRARY_SCALARS: dict[str, Callable[..., Any]] = {
    "bytearray": lambda content: bytes.fromhex(content[1]),
    "fractions.Fraction": _fraction,
    "decimal.Decimal": _decimal,
}
_NOTHING = object()
_CONTAINERS = {
    "collections.Counter": "d",
    "collections.OrderedDict": "d",
    "collections.defaultdict": "d",
    "collections.deque": "l",
    "dict_keys": "l",
    "dict_values": "l",
    "dict_items": "l",
    "range": "t",
}
"""The tag of what a container of Python's library is made of."""
_SAME_AS = {
    "collections.Counter": "d",
    "collections.OrderedDict": "d",
    "collections.defaultdict": "d",
    "dict_keys": "S",
    "dict_items": "S",
}


def _unwrapped(value: Plain) -> tuple[str, Any]:
    """Tag and content, of a type of the standard library those of the built-in type that it is equal to."""
    if value[0] == "p":
        if value[2][0] != _CONTAINERS.get(value[1]):
            raise PlainError("made of something else than its type is")
        return _SAME_AS.get(str(value[1]), str(value[1])), value[2][-1]
    return str(value[0]), value[-1]


def show(value: Plain, limit: int = 80) -> str:
    """The value as one would write it, cut to `limit` characters, for a judgement's detail."""
    parts: list[str] = []
    _write(value, parts, limit)
    text = "".join(parts)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _write(value: Plain, parts: list[str], limit: int) -> None:
    if sum(map(len, parts)) > limit:
        return
    tag, content = value[0], value[-1]
    brackets = {"l": "[]", "t": "()", "d": "{}", "S": "{}", "Z": "{}", "O": "()", "P": "()"}.get(tag)
    if tag == "p":
        parts.append(value[1] + " ")
        _write(content, parts, limit)
    elif brackets:
        parts.append(brackets[0])
        for number, item in enumerate(content):
            parts.append(", " if number else "")
            _write(item[0] if tag == "d" else item, parts, limit)
            if tag == "d":
                parts.append(": ")
                _write(item[1], parts, limit)
            if sum(map(len, parts)) > limit:
                break
        parts.append(brackets[1])
    elif tag in ("n", "u"):
        parts.append("None" if tag == "n" else "undefined")
    elif tag == "?":
        parts.append(f"<{value[1][:limit]}>")
    elif tag == "c":
        parts.append(f"complex({value[1][:limit]}, {value[2][:limit]})")
    else:
        parts.append(repr(content[:limit]) if tag in ("s", "y", "C") else str(content)[:limit])


def _refuse(constant: str) -> float:
    raise PlainError(f"{constant} is no JSON")
