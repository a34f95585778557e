"""How Java compares, over plain data: `==` of primitives and `equals` (Java SE 17, JLS 15.21)."""

import struct
from collections.abc import Callable
from typing import Any

from derailleur.evaluation.verdicts.plain import Plain, PlainError

Equal = Callable[[Plain, Plain], bool]

_PRIMITIVES = ("boolean", "char", "int", "long", "float", "double")


def same(a: Plain, b: Plain) -> bool:
    """`a == b` where `b` is a primitive or null: a boxed `a` is unboxed, numbers take the wider type."""
    if not is_primitive(b):
        return a == b == ["n"]
    left, right = (_unboxed(a), _unboxed(b))
    if left[0] == "b" or right[0] == "b":
        return left == right
    if left[0] not in _NUMBERS or right[0] not in _NUMBERS:
        return False
    try:
        numbers = [_NUMBERS[tag](text) for tag, text in (left, right)]
        kinds = left[0] + right[0]
        if "D" in kinds:
            numbers = [float(number) for number in numbers]
        elif "F" in kinds:  # and a long becomes one of 32 bits
            numbers = [_single(number) for number in numbers]
    except (ValueError, TypeError, OverflowError) as error:
        raise PlainError(f"no number: {error}") from None
    return bool(numbers[0] == numbers[1])


def equal(a: Plain, b: Plain) -> bool:
    """`a.equals(b)`: classes of boxes count, of lists, sets and maps they do not; no two arrays are equal."""
    return bool(_canonical(a) == _canonical(b)) and not _has_array(b)


def is_primitive(value: Plain) -> bool:
    """Whether it came from an expression of a primitive type."""
    return value[0] == "p" and value[1] in _PRIMITIVES


def _unboxed(value: Plain) -> Plain:
    inner = value[2] if value[0] == "p" else value
    return ["I", inner[1]] if value[0] == "p" and value[1] in ("Short", "Byte") else list(inner)


def _single(number: float) -> float:
    """As a float of 32 bits."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:  # an integer never is that large; a float written by Java is exact
        return float("inf") if number > 0 else float("-inf")


_NUMBERS: dict[str, Callable[[str], float]] = {
    "I": int,
    "L": int,
    "F": lambda text: _single(float(text)),
    "D": float,
    "C": ord,
}


def _canonical(value: Plain) -> Any:
    """The same for values that are equal: sets and maps in an order of their own."""
    match value:
        case ["S", [*items]]:
            return ["S", sorted(map(_canonical, items), key=repr)]
        case ["d", [*pairs]]:
            return ["d", sorted(([_canonical(key), _canonical(item)] for key, item in pairs), key=repr)]
        case [tag, [*items]]:
            return [tag, [_canonical(item) for item in items]]
        case ["p", name, content]:
            return ["p", name, _canonical(content)]
    return value


def _has_array(value: Plain) -> bool:
    """Whether an array is part of it, of which no two are equal."""
    match value:
        case ["p", str(name), content]:
            return name.endswith("[]") or _has_array(content)
        case ["d", [*pairs]]:
            return any(_has_array(part) for pair in pairs for part in pair)
        case [_, [*items]]:
            return any(map(_has_array, items))
    return False
