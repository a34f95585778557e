"""How Node's `assert` compares, over plain data: `==`, `===`, `deepEqual`, `deepStrictEqual`.

The rules are those of ECMA-262 (7.2.13, IsLooselyEqual) and of Node's documentation of `assert`. An object of
a class of the program's own is equal to nothing, also where Node's `deepEqual` would look at its properties.
"""

import math
import re
from collections.abc import Callable, Sequence

from derailleur.evaluation.verdicts.plain import Plain, PlainError, scalar

Equal = Callable[[Plain, Plain], bool]

_NUMBER = re.compile(r"[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_WITH_BASE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_WHITE_SPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_MOST_DIGITS = 4000  # of an integer in decimals, which take quadratic time
_NULL_PROTOTYPE = "null prototype"


def loosely_equal(a: Plain, b: Plain) -> bool:
    """`a == b`; objects are equal to nothing, since no two of different programs are one."""
    kinds = a[0] + b[0]
    if not set(kinds) <= set("nubifs"):
        return False
    if set(kinds) & set("nu"):
        return set(kinds) <= set("nu")
    if kinds == "ss":
        return bool(a[1] == b[1])
    if set(kinds) == set("is"):  # a string is read as a BigInt, exactly
        text, integer = (a[1], b[1]) if a[0] == "s" else (b[1], a[1])
        return _big_integer(text) == scalar(["i", integer])
    return _number(a) == _number(b)  # Python compares its integers and floats exactly


def same_value(a: Plain, b: Plain) -> bool:
    """`Object.is(a, b)`, with the same exception for objects."""
    return a[0] == b[0] and a[0] in "nubifs" and (a[0] in "nu" or a[1] == b[1])


def equal(a: Plain, b: Plain) -> bool:
    """`assert.equal`: `==`, and NaN is equal to NaN."""
    return loosely_equal(a, b) or (_is_nan(a) and _is_nan(b))


def identical(a: Plain, b: Plain) -> bool:
    """`a === b`: as `Object.is`, but NaN differs from NaN and 0 does not from -0."""
    return a[0] == b[0] and loosely_equal(a, b)


def deep_equal(a: Plain, b: Plain) -> bool:
    """`assert.deepEqual`, its legacy mode: leaves by `==`, prototypes do not count."""
    return _deep(_without_prototype(a), _without_prototype(b), deep_equal, equal)


def deep_strict_equal(a: Plain, b: Plain) -> bool:
    """`assert.deepStrictEqual`: leaves by `Object.is`, and prototypes count."""
    return _deep(a, b, deep_strict_equal, same_value)


def is_truthy(value: Plain) -> bool:
    """JavaScript's truth: all objects are."""
    match value:
        case ["n" | "u"]:
            return False
        case ["b" | "s", content]:
            return bool(content)
        case ["f" | "i", _]:
            number = _number(value)
            return number != 0 and number == number
    return True


def same_truth(a: Plain, b: Plain) -> bool:
    """Whether both hold as conditions, or neither does."""
    return is_truthy(a) is is_truthy(b)


def _deep(a: Plain, b: Plain, equal_parts: Equal, equal_leaves: Equal) -> bool:
    match a, b:
        case ["l", [*items]], ["l", [*others]]:
            return len(items) == len(others) and all(map(equal_parts, items, others))
        case ["d", [*pairs]], ["d", [*other_pairs]]:
            named, others_named = _properties(pairs), _properties(other_pairs)
            return named.keys() == others_named.keys() and all(
                equal_parts(value, others_named[name]) for name, value in named.items()
            )
        case ["p", "Map", ["d", [*pairs]]], ["p", "Map", ["d", [*other_pairs]]]:
            return _match(
                pairs, other_pairs, lambda x, y: equal_parts(x[0], y[0]) and equal_parts(x[1], y[1])
            )
        case ["S", [*items]], ["S", [*others]]:
            return _match(items, others, equal_parts)
        case ["p", name, content], ["p", other_name, other_content]:
            return name == other_name and equal_parts(content, other_content)
    return equal_leaves(a, b)


def _properties(pairs: Sequence[Plain]) -> dict[str, Plain]:
    if any(key[0] != "s" for key, _ in pairs):
        raise PlainError("a property whose name is no string")
    return {key[1]: value for key, value in pairs}


def _match(items: Sequence[Plain], others: Sequence[Plain], is_equal: Equal) -> bool:
    """Whether each of `items` has one of `others` to itself; usually they come in the same order."""
    remaining = list(others)
    for item in items:
        found = next((index for index, other in enumerate(remaining) if is_equal(item, other)), None)
        if found is None:
            return False
        del remaining[found]
    return not remaining


def _without_prototype(value: Plain) -> Plain:
    return value[2] if value[0] == "p" and value[1] == _NULL_PROTOTYPE else value


def _is_nan(value: Plain) -> bool:
    return value[0] == "f" and scalar(value) != scalar(value)


def _number(value: Plain) -> float | int:
    """`Number(value)`, a BigInt as it is."""
    if value[0] != "s":
        return scalar(value)
    text = value[1].strip(_WHITE_SPACE)
    if _WITH_BASE.fullmatch(text):
        return int(text, 0)
    if _NUMBER.fullmatch(text):
        return float(text)
    return math.nan if text else 0


def _big_integer(text: str) -> int | None:
    """`BigInt(text)`, None where that throws."""
    text = text.strip(_WHITE_SPACE)
    if _WITH_BASE.fullmatch(text):
        return int(text, 0)
    if re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        return int(text) if len(text) <= _MOST_DIGITS else None
    return None if text else 0
