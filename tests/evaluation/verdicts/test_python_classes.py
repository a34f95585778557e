"""Which classes the tests trust to compare their objects with plain data."""

import ast

import pytest

from derailleur.evaluation.verdicts.python_classes import compared_classes


@pytest.mark.parametrize(
    "tests, classes",
    [
        ("assert Rational(1, 2) == 0.5", ("Rational",)),
        ("a = Rational(1, 2)\nassert 2 * a == 1", ("Rational",)),
        ("assert -(Vector(1) + Vector(2)) == (-3,)", ("Vector",)),
        ("class T:\n    def test(self):\n        self.v = V(1)\n        self.assertEqual(self.v, 1)", ("V",)),
        ("a = V(1)\na += 1", ("V",)),
        ("assert Solution().double(2) == 4", ()),
        ("s = Solution()\nassert s.double(2) == 4", ()),
        ("assert isinstance(f(1), Point)", ()),
        ("assert double(2) == 4", ()),
    ],
)
def test_only_new_objects_in_operators_count(tests: str, classes: tuple[str, ...]) -> None:
    assert compared_classes(ast.parse(tests)) == classes
