"""Programs that try to pass without being right, each beside an honest one that uses the same means."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from textwrap import dedent

import pytest

from derailleur.evaluation.sandbox import Limits, Sandbox
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.evaluation.verdicts.python import judge_python
from derailleur.evaluation.verdicts.python_tests import Apart, Joined, Values, plan

LIMITS = Limits(cpu_seconds=2, wall_seconds=8)
CONDITIONS = {
    "equal": ("double(4) == 8", "double(-3) == -6"),
    "near": ("abs(double(4) - 8) < 1e-6", "abs(double(-3) - -6) < 1e-6"),
    "unequal": ("not double(4) != 8", "not double(-3) != -6"),
    "member": ("double(4) in (8, 9)", "double(-3) in {-6}"),
    "length": ("len(double('ab')) == 4", "double('ab') == 'abab'"),
    "less": ("7 < double(4) < 9", "-7 < double(-3) < -5"),
    "isclose": ("math.isclose(double(4), 8)", "math.isclose(double(-3), -6)"),
}
MODES = {"values": Values, "apart": Apart, "joined": Joined}


def in_shape_of(conditions: str, mode: str) -> str:
    """The same conditions in the shape that leads to each mode."""
    lines = [f"assert {condition}" for condition in CONDITIONS[conditions]]
    start = {
        "values": [],
        "apart": ["for number in [4, -3]:", "    assert type(double(number)) is not None"],
        "joined": ["class Mine:", "    pass"],
    }
    return "\n".join(["import math", *start[mode], *lines]) + "\n"


@dataclass(frozen=True)
class Cheat:
    """`cheat` must fail and `honest` must pass."""

    name: str
    cheat: str
    honest: str
    conditions: str = "equal"


RIGHT = "def double(x):\n    return x + x\n"
WRONG = "def double(x):\n    return 1\n"


def both(name: str, means: str, conditions: str = "equal") -> Cheat:
    """The same means with a wrong function and with a right one: they must change nothing."""
    return Cheat(name, dedent(means) + "\n" + WRONG, dedent(means) + "\n" + RIGHT, conditions)


def inside(
    name: str, body: str, honest: str = "return x + x", conditions: str = "equal", before: str = ""
) -> Cheat:
    """A trick played when the tests call the function."""
    head = dedent(before) + "\ndef double(x):\n"
    indented = ["    " + line for line in dedent(body).strip().splitlines()]
    return Cheat(name, head + "\n".join(indented) + "\n", head + f"    {honest}\n", conditions)


def returns(name: str, definition: str, value: str, conditions: str = "equal") -> Cheat:
    """An object that claims to be what the tests expect."""
    return inside(name, f"return {value}", conditions=conditions, before=definition)


FAKE_LINES = r"""
import json, os
def fake(descriptor=3):
    for line in ('{"passed": true}', '{"value": ["b", true], "changed": {}}', '{"token": "passed"}', "passed",
                 '{"ready": true}', '{"value": ["?", "int", true]}', "{}"):
        os.write(descriptor, line.encode() + b"\n")
"""

CHEATS = [
    # ends
    Cheat("exits while it is loaded", "import sys\nsys.exit(0)\n" + RIGHT, "import sys\n" + RIGHT),
    Cheat("exits by os._exit while it is loaded", "import os\nos._exit(0)\n" + RIGHT, "import os\n" + RIGHT),
    inside("exits by os._exit", "import os\nos._exit(0)"),
    inside("raises SystemExit", "raise SystemExit"),
    inside("raises SystemExit(0)", "raise SystemExit(0)"),
    inside("calls exit", "exit()"),
    inside("calls quit", "quit(0)"),
    both(
        "exits in atexit",
        "import atexit, os, sys\natexit.register(os._exit, 0)\natexit.register(sys.exit, 0)",
    ),
    inside("becomes another program", "import os\nos.execv('/bin/true', ['true'])"),
    inside("ends its process by a signal", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"),
    inside("kills its parent", "import os, signal\nos.kill(os.getppid(), 9)\nreturn 1", before="import os"),
    inside("skips the test", "import unittest\nraise unittest.SkipTest"),
    inside("returns nothing", "return None"),
    inside("loops by raising StopIteration", "raise StopIteration"),
    # changed language
    both(
        "patches AssertionError", "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})"
    ),
    both("patches AssertionError to exit", "import builtins\nbuiltins.AssertionError = lambda *_: exit(0)"),
    Cheat(
        "patches print, abs and len",
        "import builtins\nbuiltins.abs = lambda _: 0\nbuiltins.print = lambda *_: None\n" + WRONG,
        "import builtins\nbuiltins.print = lambda *_: None\n" + RIGHT,
        "near",
    ),
    inside(
        "patches abs when it is called",
        "import builtins\nbuiltins.abs = lambda _: 0\nreturn 1",
        conditions="near",
    ),
    Cheat(
        "has an abs of its own",
        "abs = lambda _: 0\n" + WRONG,
        "def positive(x): return abs(x)\n" + RIGHT,
        "near",
    ),
    Cheat("has a len of its own", "len = lambda _: 4\ndef double(x): return x\n", RIGHT, "length"),
    Cheat(
        "patches the import",
        "import builtins, types\nmath = types.SimpleNamespace(isclose=lambda *_: True)\n"
        "builtins.__import__ = lambda *_: math\n" + WRONG,
        "import builtins\n" + RIGHT,
        "isclose",
    ),
    Cheat(
        "patches math",
        "import math\nmath.isclose = lambda *_, **__: True\n" + WRONG,
        "import math\n" + RIGHT,
        "isclose",
    ),
    inside(
        "patches math when it is called",
        "import math\nmath.isclose = lambda *_: True\nreturn 1",
        conditions="isclose",
    ),
    Cheat(
        "replaces a module",
        "import sys, types\nsys.modules['math'] = types.SimpleNamespace(isclose=lambda *_: True)\n" + WRONG,
        "import sys\n" + RIGHT,
        "isclose",
    ),
    both("defines check", "def check(candidate):\n    pass\ndef test_check():\n    pass"),
    inside("redefines itself", "global double\ndouble = lambda x: 8 if x == 4 else -6.5\nreturn 1"),
    # objects
    returns("is equal to everything", "class Any:\n    def __eq__(self, other): return True", "Any()"),
    returns(
        "is unequal to nothing", "class Any:\n    def __ne__(self, other): return False", "Any()", "unequal"
    ),
    returns(
        "compares to what is true",
        "class Yes: pass\nclass Any:\n    def __eq__(self, other): return Yes()",
        "Any()",
    ),
    returns(
        "has every hash",
        "class Any:\n    def __eq__(self, other): return True\n    def __hash__(self): return hash(-6)",
        "Any()",
        "member",
    ),
    returns("lies between", "class Any:\n    __gt__ = __lt__ = lambda self, other: True", "Any()", "less"),
    returns(
        "has no distance",
        "class Any:\n    __sub__ = __rsub__ = lambda self, other: 0.0",
        "Any()",
        "near",
    ),
    returns(
        "has a distance of its own",
        "class Any:\n    __sub__ = __abs__ = lambda self, *_: self\n    __lt__ = __gt__ = lambda *_: True",
        "Any()",
        "near",
    ),
    returns(
        "is an int",
        "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = None",
        "Any(1)",
    ),
    returns(
        "is a float",
        "class Any(float):\n    def __eq__(self, other): return True\n    __hash__ = None",
        "Any(1)",
    ),
    returns(
        "is a float of no distance",
        "class Any(float):\n    def __sub__(self, other): return 0.0",
        "Any(1)",
        "near",
    ),
    returns(
        "is a str",
        "class Any(str):\n    def __eq__(self, other): return True\n    def __len__(self): return 4",
        "Any('a')",
        "length",
    ),
    returns("is a list", "class Any(list):\n    def __eq__(self, other): return True", "Any()"),
    returns(
        "is a class",
        "class Meta(type):\n    def __eq__(self, other): return True\n    __hash__ = type.__hash__\n"
        "class Any(metaclass=Meta): pass",
        "Any",
    ),
    returns(
        "is of a class that claims to be int",
        "class Meta(type):\n    __eq__ = lambda *_: True\n    __hash__ = lambda _: hash(int)\n"
        "class Any(metaclass=Meta):\n    __eq__ = lambda *_: True\n    __str__ = lambda _: '8'",
        "Any()",
    ),
    returns(
        "claims its class",
        "class Any:\n    __class__ = int\n    def __eq__(self, other): return True",
        "Any()",
    ),
    returns(
        "is a named tuple of its own",
        "from collections import namedtuple\nclass Any(namedtuple('A', 'x')):\n    __eq__ = lambda *_: 1",
        "Any(1)",
    ),
    returns(
        "is a patched Fraction",
        "from fractions import Fraction\nFraction.__eq__ = lambda *_: True",
        "Fraction(1)",
    ),
    returns("is no number", "", "float('nan')"),
    Cheat(
        "is a class that is equal to everything", "class double(int):\n    __eq__ = lambda *_: True\n", RIGHT
    ),
    # looking for what is expected
    inside(
        "walks frames",
        """
        frame = sys._getframe()
        while frame:
            if frame.f_code.co_filename == '<tests>' and 8 in frame.f_code.co_consts:
                return x + x
            if 'tests' in frame.f_locals or 'token' in frame.f_locals:
                return x + x
            frame = frame.f_back
        return 1
        """,
        before="import sys",
    ),
    inside(
        "walks the frames of a trace",
        """
        try:
            raise ValueError
        except ValueError as error:
            frame = error.__traceback__.tb_frame
        while frame:
            if frame.f_code.co_filename == '<tests>' and 8 in frame.f_code.co_consts:
                return x + x
            frame = frame.f_back
        return 1
        """,
    ),
    inside(
        "walks the frames of a generator",
        """
        running = generator()
        frame = running.gi_frame
        def walk():
            nonlocal frame
            while frame:
                if frame.f_code.co_filename == '<tests>' and 8 in frame.f_code.co_consts:
                    return x + x
                frame = frame.f_back
            return 1
        return walk()
        """,
        before="def generator():\n    yield",
    ),
    inside(
        "searches the heap",
        """
        for each in gc.get_objects():
            if isinstance(each, types.CodeType) and each.co_filename == '<tests>' and 8 in each.co_consts:
                return x + x
            if type(each) is dict and 'tests' in each:
                return x + x
        return 1
        """,
        before="import gc, types",
    ),
    inside(
        "searches its names",
        "names = {**globals()}\nreturn x + x if 'Mine' in names or 'number' in names else 1",
    ),
    inside(
        "reads its memory",
        """
        with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as memory:
            for line in maps:
                first, last = (int(part, 16) for part in line.split()[0].split('-'))
                if 'rw' in line and last - first < 1 << 24:
                    memory.seek(first)
                    if re.search(rb'assert d[o]uble.4. == 8', memory.read(last - first)):
                        return x + x
        return 1
        """,
        before="import re",
    ),
    Cheat(
        "traces",
        "import sys\ndef trace(frame, event, argument):\n    raise SystemExit(0)\nsys.settrace(trace)\n"
        + WRONG,
        "import sys\nprint(sys.gettrace())\n" + RIGHT,
    ),
    inside(
        "listens for code that is compiled",
        """
        for source in heard:
            if b"assert" in source and b"double" in source:
                return x + x
        return 1
        """,
        before="""
        import sys
        heard = []
        def listen(event, arguments):
            if event == 'compile':
                heard.append(str(arguments[0]).encode())
        try:
            sys.addaudithook(listen)
        except ValueError:
            pass
        """,
    ),
    Cheat(
        "profiles",
        "import sys\nsys.setprofile(lambda *_: None if _[1] != 'return' else exit(0))\n" + WRONG,
        "import sys\nprint(sys.getprofile())\n" + RIGHT,
    ),
    inside(
        "is handed a frame by a signal",
        """
        found = []
        def handler(number, frame):
            while frame:
                found.append(dict(frame.f_locals))
                frame = frame.f_back
        try:
            signal.signal(signal.SIGUSR1, handler)
            signal.raise_signal(signal.SIGUSR1)
        except (ValueError, TypeError):
            pass
        for names in found:
            for value in names.values():
                if type(value) is bytes and len(value) == 64:
                    os.write(3, value + b"\\n")
                if type(value) is dict and 'tests' in value:
                    return x + x
        return 1
        """,
        before="import os, signal",
    ),
    # the line to the supervisor
    Cheat("writes answers while it is loaded", FAKE_LINES + "fake()\n" + WRONG, FAKE_LINES + RIGHT),
    inside("writes answers when it is called", "fake()\nreturn 1", before=FAKE_LINES),
    inside("writes answers and ends", "fake()\nos._exit(0)", before=FAKE_LINES),
    inside("writes to the tests", "fake(4)\nreturn 1", before=FAKE_LINES),
    Cheat(
        "writes answers from a thread",
        FAKE_LINES + "import threading\nthreading.Thread(target=fake, daemon=True).start()\n" + WRONG,
        FAKE_LINES + RIGHT,
    ),
    Cheat(
        "writes answers from a child",
        FAKE_LINES + "if os.fork() == 0:\n    fake()\n    os._exit(0)\n" + WRONG,
        FAKE_LINES + RIGHT,
    ),
    inside(
        "writes answers from a child when it is called",
        "if os.fork() == 0: fake()\nreturn 1",
        before=FAKE_LINES,
    ),
    inside("prints answers", "print('passed', '{\"passed\": true}', flush=True)\nreturn 1"),
    inside("closes the line", "import os\nos.close(3)\nreturn 1"),
    inside("closes all lines", "import os\nos.closerange(0, 64)\nreturn 1"),
    Cheat(
        "replays what it is sent",
        "import os\nos.set_blocking(3, False)\ntry:\n    os.write(3, os.read(3, 999))\nexcept OSError: 0\n"
        + WRONG,
        "import os\n" + RIGHT,
    ),
    Cheat(
        "asks for the tests itself",
        FAKE_LINES + "import time\nfake()\nos.set_blocking(3, False)\ntime.sleep(0.05)\n"
        "os.write(3, os.read(3, 1 << 16).split()[0] + b'\\n')\nos._exit(0)\n" + RIGHT,
        FAKE_LINES + RIGHT,
    ),
    inside(
        "answers with far too much", "import os\nfor _ in range(400): os.write(3, b'x' * (1 << 16))\nreturn 1"
    ),
    inside("answers with a line that nests", "import os\nos.write(3, b'[' * 100_000 + b'\\n')\nreturn 1"),
    inside("answers twice", 'import os\nos.write(3, b\'{"value": ["i", "1"]}\\n\' * 2)\nreturn 1'),
    # the guest
    Cheat(
        "patches json",
        "import json\njson.dumps = lambda *_, **__: '{\"passed\": true}'\njson.loads = lambda *_: {}\n"
        + WRONG,
        "import json\n" + RIGHT,
    ),
    Cheat(
        "patches os.write",
        "import os\nwrite = os.write\nos.write = lambda fd, _: write(fd, b'{\"passed\": true}\\n')\n" + WRONG,
        "import os\nwrite = os.write\n" + RIGHT,
    ),
    Cheat(
        "patches os._exit",
        FAKE_LINES + "end = os._exit\nos._exit = lambda *_: (fake(), end(0))\n" + WRONG,
        FAKE_LINES + RIGHT,
    ),
    Cheat(
        "patches the guest",
        """
import sys
def everything(start):
    yield start
    for each in object.__subclasses__():
        for value in list(vars(each).values()):
            if hasattr(value, '__globals__'):
                yield value.__globals__
for names in everything({}):
    for name in ('failure', '_failure', '_opaque', 'encode', 'check', 'judge', '_comparer'):
        if name in names:
            names[name] = lambda *_, **__: {'passed': True, 'value': ['b', True]}
for module in list(sys.modules.values()):
    for name in ('failure', '_failure', '_opaque', 'encode', 'judge', '_comparer'):
        if hasattr(module, name) and 'json' not in module.__name__:
            setattr(module, name, lambda *_, **__: {'passed': True})
"""
        + WRONG,
        "import sys\nnames = sorted(sys.modules)\n" + RIGHT,
    ),
    inside(
        "runs code while its error is written",
        "raise Evil",
        before=FAKE_LINES
        + "\nclass Evil(Exception):\n    def __str__(self):\n        fake()\n        os._exit(0)\n",
    ),
    Cheat(
        "leaves a finaliser",
        FAKE_LINES
        + "import builtins\nclass Last:\n    def __del__(self): fake()\nbuiltins.last = Last()\n"
        + WRONG,
        FAKE_LINES + "class Last:\n    def __del__(self): pass\nlast = Last()\n" + RIGHT,
    ),
    Cheat(
        "has names that are equal to others",
        "class Key(str):\n    __hash__ = str.__hash__\n    def __eq__(self, other): raise SystemExit(0)\n"
        "globals()[Key('number')] = 8\n" + WRONG,
        "globals()['number'] = 8\n" + RIGHT,
    ),
    inside("loads ctypes", "import ctypes\nctypes.string_at(0)\nreturn x + x", before="import math"),
]


CASES = [
    pytest.param(cheat, tests, id=f"{mode}-{cheat.name}")
    for cheat in CHEATS
    for mode, kind in MODES.items()
    if isinstance(plan(tests := in_shape_of(cheat.conditions, mode)), kind)
]


def test_there_are_cheats_for_every_mode() -> None:
    for mode in MODES:
        assert sum(case.id.startswith(mode) for case in CASES) > 60


@pytest.fixture(scope="module")
def judged(sandbox: Sandbox) -> Callable[[str, str], Judgement]:
    """Judges a program, the same one once."""
    return cache(lambda program, tests: judge_python(program, tests, sandbox, LIMITS))


@pytest.mark.parametrize("cheat, tests", CASES)
def test_a_cheat_fails_and_its_honest_twin_passes(
    cheat: Cheat, tests: str, judged: Callable[[str, str], Judgement]
) -> None:
    failed, passed = judged(cheat.cheat, tests), judged(cheat.honest, tests)
    assert failed.verdict not in (Verdict.PASSED, Verdict.SANDBOX), failed
    assert passed.passed, passed


ALWAYS_EQUAL = """
class Solution:
    def double(self, x):
        return self
    def __eq__(self, other):
        return True
"""


@pytest.mark.parametrize("before", ["", "import sys\n"])
@pytest.mark.parametrize(
    "tests", ["assert Solution().double(2) == 4", "s = Solution()\nassert s.double(2) == 4"]
)
def test_an_object_of_a_class_that_the_tests_name_is_not_asked_for_a_method_s_value(
    tests: str, before: str, sandbox: Sandbox
) -> None:
    assert judge_python(ALWAYS_EQUAL, before + tests, sandbox, LIMITS).verdict is Verdict.WRONG


def test_the_names_of_the_tests_are_in_no_dictionary_that_a_class_of_the_program_s_reach_serves(
    sandbox: Sandbox,
) -> None:
    program = """
def double(x):
    for kind in dict.__subclasses__():
        try:
            kind.__missing__ = lambda names, name: names.update(test=lambda: None) or double
        except TypeError:
            pass
    return 4
"""
    tests = """
import sys
def first(): assert double(2) == 4
def test(): assert double(3) == 6
first()
test()
"""
    assert judge_python(program, tests, sandbox, LIMITS).verdict is Verdict.WRONG


def test_a_context_manager_of_the_program_s_forgives_no_failed_test(sandbox: Sandbox) -> None:
    program = """
class Manager:
    def __enter__(self): return self
    def __exit__(self, *error): return True
    def double(self, x): return 1
"""
    tests = "with Manager() as manager:\n    assert manager.double(2) == 4\n"
    assert judge_python(program, tests, sandbox, LIMITS).verdict is Verdict.WRONG


def test_load_tests_of_the_program_s_chooses_no_tests(sandbox: Sandbox) -> None:
    program = """
import unittest
class Own(unittest.TestCase):
    def test(self): pass
def load_tests(loader, tests, pattern):
    return unittest.TestSuite([Own("test")])
def double(x): return 1
"""
    tests = """
import unittest
class Tests(unittest.TestCase):
    def test(self): self.assertEqual(double(2), 4)
unittest.main()
"""
    assert not judge_python(program, tests, sandbox, LIMITS).passed
