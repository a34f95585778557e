"""Plain data: what the guest writes is read, compared as Python compares, and cannot be abused."""

import importlib.util
import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.evaluation import sandbox
from derailleur.evaluation.verdicts.plain import PlainError, check, equal, parse, show, truth


def load_guest() -> ModuleType:
    path = Path(sandbox.__file__).parent / "guests/python.py"
    spec = importlib.util.spec_from_file_location("guest_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guest = load_guest()
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = scalars | st.tuples(scalars, scalars) | st.frozensets(scalars, max_size=3)
values = st.recursive(
    scalars
    | st.complex_numbers(allow_nan=False)
    | st.sets(keys, max_size=4)
    | st.frozensets(keys, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


def encoded(value: object) -> list:
    """As it arrives in the supervisor."""
    return parse(json.dumps(guest.encode(value, guest._opaque)).encode())


@given(values, values)
def test_equality_is_python_s(one: object, other: object) -> None:
    assert equal(encoded(one), one)
    assert equal(encoded(one), other) == (one == other)
    assert truth(encoded(one)) == bool(one)
    assert len(show(encoded(one))) <= 80


@given(values)
def test_the_guest_reads_what_it_writes(value: object) -> None:
    decoded = guest.decode(encoded(value), None)
    assert decoded == value
    assert type(decoded) is type(value)


def test_integers_may_be_too_long_for_decimals() -> None:
    assert equal(encoded(1 << 20_000), 1 << 20_000)
    assert not equal(encoded(-(1 << 20_000)), 1 << 20_000)


@pytest.mark.parametrize(
    "value, same, other",
    [
        (True, 1, 2),
        (1.0, True, 0),
        (-0.0, 0, 1),
        (10**400, 10**400, 10**400 + 1),
        (Counter("aab"), {"a": 2, "b": 1}, {"a": 2}),
        (OrderedDict(a=1, b=2), {"b": 2, "a": 1}, {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}, {"a": [2]}),
        (namedtuple("Point", "x y")(1, 2), (1, 2), [1, 2]),
        ({1: 2}.keys(), {1}, [1]),
        ({1: 2}.items(), {(1, 2)}, {1: 2}),
        (Fraction(1, 2), 0.5, 0.25),
        (Fraction(4, 2), 2, 3),
        (Decimal("2.50"), 2.5, 2.25),
        (bytearray(b"a"), b"a", "a"),
        (float("inf"), 1e999, -1e999),
    ],
)
def test_types_of_the_library_equal_what_they_equal_in_python(
    value: object, same: object, other: object
) -> None:
    assert value == same and value != other
    assert equal(encoded(value), same)
    assert not equal(encoded(value), other)


class Level(IntEnum):
    HIGH = 3


class Text(str):
    pass


class Rows(list):
    pass


class Agreeable(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    "value, same, other",
    [
        (Level.HIGH, 3, 4),
        (Text("a"), "a", "b"),
        (Rows([1]), [1], [2]),
        ([Level.HIGH], [3], [4]),
        ({"a": Text("a")}, {"a": "a"}, {"a": "b"}),
    ],
)
def test_subclasses_equal_what_the_type_below_them_does(value: object, same: object, other: object) -> None:
    assert value == same and value != other
    assert equal(encoded(value), same)
    assert not equal(encoded(value), other)


@pytest.mark.parametrize(
    "value, tempting",
    [
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        (iter([1]), [1]),
        ((x for x in [1]), [1]),
        (map(abs, [1]), [1]),
        ({1: 2}.values(), [2]),
        (float("nan"), 0.0),
        (Agreeable(3), 3),
        ([Agreeable(3)], [3]),
        (object, object),
    ],
)
def test_other_types_equal_nothing(value: object, tempting: object) -> None:
    assert not equal(encoded(value), tempting)


def test_an_object_has_the_truth_that_it_claims() -> None:
    class Shy:
        def __bool__(self) -> bool:
            raise ValueError

    assert truth(encoded(object()))
    assert not truth(encoded(Shy()))
    assert not truth(["?", "old"])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'["?"]',
        b'["n", 1]',
        b'["i", 1]',
        b'["b", "true"]',
        b'["x", "1"]',
        b'["l", "ab"]',
        b'["l", [1]]',
        b'["d", [[["n"]]]]',
        b'["d", [["n", "n"]]]',
        b'["p", ["n"]]',
        b"NaN",
        b"[" * 100_000,
        b'["l", [' * 300 + b'["n"]' + b"]]" * 300,
        b"1" * 5000,
        b"\xff",
    ],
)
def test_what_is_no_plain_data_is_refused(line: bytes) -> None:
    with pytest.raises(PlainError):
        parse(line)


@pytest.mark.parametrize(
    "value",
    [
        ["i", "one"],
        ["i", ""],
        ["f", "one"],
        ["y", "0"],
        ["c", "1", "i"],
        ["p", "fractions.Fraction", ["t", [["i", "1"], ["i", "0"]]]],
        ["p", "fractions.Fraction", ["t", [["i", "1" * 5000], ["i", "1"]]]],
        ["p", "fractions.Fraction", ["n"]],
        ["p", "decimal.Decimal", ["s", "sNaN"]],
        ["p", "decimal.Decimal", ["s", "many"]],
        ["p", "collections.Counter", ["n"]],
        ["p", "collections.Counter", ["b", True]],
        ["p", "dict_keys", ["s", "p"]],
        ["p", "l", ["b", True]],
    ],
)
def test_what_is_no_value_of_its_type_is_refused_when_it_is_compared(value: list) -> None:
    with pytest.raises(PlainError):
        equal(check(value), 1)


def test_a_set_counts_its_members_once() -> None:
    assert not equal(["S", [["i", "1"], ["b", True]]], {1, 2})
    assert not equal(["d", [[["i", "1"], ["n"]], [["f", "1.0"], ["n"]]]], {1: None, 2: None})


def test_hostile_values_are_compared_in_time_that_what_is_expected_bounds() -> None:
    colliding = [["i", str(number * (2**61 - 1))] for number in range(50_000)]
    deep_key = ["t", [["n"]]]
    for _ in range(150):
        deep_key = ["t", [deep_key, deep_key]]
    assert not equal(["S", colliding], {1, 2})
    assert not equal(["d", [[item, item] for item in colliding]], {1: 1})
    assert not equal(["S", [deep_key]], {(1, 2)})
    assert not equal(["i", "0x" + "f" * 4_000_000], 1)
    assert not equal(["p", "decimal.Decimal", ["s", "1e999999999"]], 10**20)
