"""Runs Python programs inside the box: imported warm and forked, or started as `python -I -S python.py`.

Descriptor 3 brings one request, a line of JSON, and takes the answers, one line each:

    {"mode": "values", "program", "calls": [source]}   {"value": plain} for each call
    {"mode": "serve", "program"}                       {"ready": true}, and its functions on descriptor 4
    {"mode": "judge", "tests", "names", "modules", "classes"}
                                                       {"passed": true}; `names` are what descriptor 4 serves

and, once, in place of an answer: {"failed": class of verdict, "detail": line}.

Where a program runs, nothing here can be trusted. That does no harm: the program is never told what is
expected, and what it says is taken as data. One file, standard library only; the launcher imports it before
any program is there, so that a forked program finds no secret in it.
"""

import builtins
import importlib
import json
import operator
import os
import random
import sys
import traceback
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

CHANNEL, PEER = 3, 4
_MAX_DEPTH = 190
_RECURSION_LIMIT = 1030  # Python's own 1000, and the frames of this file
_DETAIL_CHARACTERS = 300
_OFTEN_IMPORTED = (
    "cmath",
    "copy",
    "dataclasses",
    "datetime",
    "heapq",
    "queue",
    "statistics",
    "string",
    "struct",
)
_HEXADECIMAL_FROM = 1 << 8192  # decimal digits take quadratic time, and Python refuses 4300 of them


class Line:
    """Lines of JSON in both directions over a descriptor; this process ends where the other end is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def send(self, message: dict[str, Any]) -> None:
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except ConnectionError:
                os._exit(0)

    def receive(self) -> dict[str, Any]:
        """The next message."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            try:
                block = os.read(self._descriptor, 1 << 16)
            except ConnectionError:
                block = b""
            if not block:
                os._exit(0)
            self._buffer += block
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return json.loads(line)


_LIBRARY: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    # type: (name, what it is made of, how it is made again)
    Counter: ("collections.Counter", dict, Counter),
    OrderedDict: ("collections.OrderedDict", dict, OrderedDict),
    defaultdict: ("collections.defaultdict", dict, lambda items: defaultdict(None, items)),
    deque: ("collections.deque", list, deque),
    range: ("range", lambda value: (value.start, value.stop, value.step), lambda parts: range(*parts)),
    bytearray: ("bytearray", bytes, bytearray),
    Fraction: (
        "fractions.Fraction",
        lambda value: (value.numerator, value.denominator),
        lambda parts: Fraction(*parts),
    ),
    Decimal: ("decimal.Decimal", str, Decimal),
    type({}.keys()): ("dict_keys", list, lambda items: dict.fromkeys(items).keys()),
    type({}.values()): ("dict_values", list, lambda items: dict(enumerate(items)).values()),
    type({}.items()): ("dict_items", list, lambda items: dict(items).items()),
}
_LIBRARY_BY_NAME = {name: make for name, _, make in _LIBRARY.values()}
_SEQUENCES: dict[type, str] = {list: "l", tuple: "t", set: "S", frozenset: "Z"}
_BASES = (int, float, str, complex, bytes, *_SEQUENCES, OrderedDict, dict)
_SEQUENCES_BY_TAG = {tag: kind for kind, tag in _SEQUENCES.items()}


Plain = list[Any]


def encode(value: Any, other: Callable[[Any], Plain], depth: int = 0) -> Plain:
    """`value` as `[tag, payload]`; `other` encodes what is no plain data."""
    kind = type(value)
    if kind is str:
        return ["s", value]
    if kind is int:
        return ["i", str(value) if -_HEXADECIMAL_FROM < value < _HEXADECIMAL_FROM else hex(value)]
    if kind is bool:
        return ["b", value]
    if kind is float:
        return ["f", repr(value)]
    if value is None:
        return ["n"]
    if depth >= _MAX_DEPTH:
        return other(value)
    if kind in _SEQUENCES:
        return [_SEQUENCES[kind], [encode(item, other, depth + 1) for item in value]]
    if kind is dict:
        pairs = value.items()
        return ["d", [[encode(key, other, depth + 1), encode(item, other, depth + 1)] for key, item in pairs]]
    if kind is bytes:
        return ["y", value.hex()]
    if kind is complex:
        return ["c", repr(value.real), repr(value.imag)]
    if kind in _LIBRARY:
        name, take_apart, _ = _LIBRARY[kind]
        return ["p", name, encode(take_apart(value), other, depth + 1)]
    return other(value)


def basic(value: Any) -> Any:
    """What an object is to the operators that its class has of a built-in type, a named tuple a tuple."""
    kind = type(value)
    for base in (*_BASES, *_LIBRARY):
        if isinstance(value, base) and kind.__eq__ is base.__eq__:
            return value if kind is base else str.__str__(value) if base is str else base(value)
    return value


def decode(plain: Plain, other: Callable[[Plain], Any]) -> Any:
    """The inverse of `encode`; `other` decodes what is no plain data."""
    tag, content = plain[0], plain[-1]
    if tag == "n":
        return None
    if tag in ("s", "b"):
        return content
    if tag == "i":
        return int(content, 16 if "x" in content else 10)
    if tag == "f":
        return float(content)
    if tag in _SEQUENCES_BY_TAG:
        return _SEQUENCES_BY_TAG[tag](decode(item, other) for item in content)
    if tag == "d":
        return {decode(key, other): decode(item, other) for key, item in content}
    if tag == "y":
        return bytes.fromhex(content)
    if tag == "c":
        return complex(float(plain[1]), float(plain[2]))
    if tag == "p":
        return _LIBRARY_BY_NAME[plain[1]](decode(content, other))
    return other(plain)


def _opaque(value: Any) -> Plain:
    """What is said of an object that stays here: its type and, since tests may ask for no more, its truth."""
    plain = basic(value)
    if plain is not value:
        return encode(plain, _opaque)
    try:
        truth = bool(value)
    except Exception:
        truth = False
    return ["?", type(value).__name__, truth]


def failure(error: BaseException, tests: str = "") -> dict[str, str]:
    """The class of verdict of an exception, and the last line of its traceback."""
    detail = "".join(traceback.format_exception_only(error)).rstrip().rpartition("\n")[2]
    if isinstance(error, SystemExit):
        kind, detail = "runtime", f"{detail}: exit before the tests ended"
    elif isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, AssertionError):
        kind = "wrong"
        detail += _failed_line(error, tests)
    else:
        kind = "runtime"
    return {"failed": kind, "detail": detail[:_DETAIL_CHARACTERS]}


def _failed_line(error: BaseException, tests: str) -> str:
    numbers = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == "<tests>" and line
    ]
    lines = tests.splitlines()
    return f" in line {numbers[-1]} of the tests: {lines[numbers[-1] - 1].strip()}" if numbers else ""


def run_program(program: str) -> dict[str, Any] | types.ModuleType:
    """Run `program` as the module `__main__`; the module, or why there is none."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __file__="program.py")
    sys.modules["__main__"] = module
    try:
        code = compile(program, "program.py", "exec", dont_inherit=True)
    except MemoryError as error:
        return failure(error)
    except Exception as error:  # SyntaxError, ValueError for a null byte, RecursionError, OverflowError
        return {**failure(error), "failed": "compile"}
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        return failure(error)
    return module


def answer_values(channel: Line, request: dict[str, Any]) -> None:
    """Run the program, then send the value of each call until one fails."""
    module = run_program(request["program"])
    if isinstance(module, dict):
        return channel.send(module)
    for call in request["calls"]:
        try:
            code = compile(call, "<tests>", "eval", dont_inherit=True)
            answer = {"value": encode(eval(code, module.__dict__), _opaque)}
        except BaseException as error:
            return channel.send(failure(error))
        channel.send(answer)


_UNARY = {
    **{name: getattr(builtins, name) for name in ("bool", "float", "hash", "int", "iter", "len", "next")},
    **{name: getattr(builtins, name) for name in ("repr", "reversed", "str")},
    **{name: getattr(operator, name) for name in ("abs", "index", "invert", "neg", "pos")},
}
_BINARY = {
    **{
        name: getattr(operator, name)
        for name in ("eq", "lt", "le", "gt", "ge", "add", "sub", "mul", "matmul")
    },
    **{
        name: getattr(operator, name)
        for name in ("truediv", "floordiv", "mod", "pow", "lshift", "rshift", "xor")
    },
    "and": operator.and_,
    "or": operator.or_,
    "contains": operator.contains,
    "divmod": divmod,
}
_REFLECTED = [name for name in _BINARY if name not in ("eq", "lt", "le", "gt", "ge", "contains")]
_IN_PLACE = {f"i{name}": getattr(operator, f"i{name}") for name in _REFLECTED if name != "divmod"}


def _triple(name: str = "", arguments: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """What `__exit__` takes, of the exception that ended a `with` statement of the tests."""
    error = _exception(name)(*arguments) if name else None
    return (type(error), error, None) if error else (None, None, None)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    **_UNARY,
    **_BINARY,
    **_IN_PLACE,
    **{name: getattr(builtins, name) for name in ("getattr", "setattr", "delattr", "format", "round")},
    **{name: getattr(builtins, name) for name in ("isinstance", "issubclass")},
    **{name: getattr(operator, name) for name in ("getitem", "setitem", "delitem")},
    "call": lambda function, *arguments, **keywords: function(*arguments, **keywords),
    "basic": basic,
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager, *error: type(manager).__exit__(manager, *_triple(*error)),
}
"""What a stand-in may be asked to do to the object that it stands for."""


class Objects:
    """The objects of a program that its tests hold on to, by number; and its functions, by name."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}  # by id(); they live as long as this does

    def keep(self, value: Any) -> Plain:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)
        return ["?", type(value).__name__, number]

    def find(self, plain: Plain) -> Any:
        if isinstance(plain[-1], int):
            return self._objects[plain[-1]]
        try:
            return self._module.__dict__[plain[-1]]
        except KeyError:
            raise NameError(f"name '{plain[-1]}' is not defined") from None


def answer_calls(channel: Line, request: dict[str, Any]) -> None:
    """Run the program, then do on its objects what the tests ask for on the other end of `PEER`."""
    module = run_program(request["program"])
    if isinstance(module, dict):
        return channel.send(module)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # nobody reads it while the tests run, and a full pipe would stop the program
    os.dup2(silence, 2)
    channel.send({"ready": True})
    objects, peer = Objects(module), Line(PEER)
    while True:
        peer.send(_answer_call(objects, peer.receive()))


def _answer_call(objects: Objects, request: dict[str, Any]) -> dict[str, Any]:
    given = {
        **dict(enumerate(request["arguments"])),
        **request["keywords"],
    }  # as it travels, by place or name
    try:
        values = {place: decode(plain, objects.find) for place, plain in given.items()}
        arguments = [values[place] for place in range(len(request["arguments"]))]
        keywords = {name: values[name] for name in request["keywords"]}
    except BaseException as error:
        return _raised(error, objects)
    try:
        answer = {"value": encode(_OPERATIONS[request["do"]](*arguments, **keywords), objects.keep)}
    except BaseException as error:
        answer = _raised(error, objects)
    try:
        now = {place: encode(value, objects.keep) for place, value in values.items()}
    except BaseException as error:
        return _raised(error, objects)
    return {**answer, "changed": [[place, plain] for place, plain in now.items() if plain != given[place]]}


def _raised(error: BaseException, objects: Objects) -> dict[str, Any]:
    """The built-in exception that tests see in the place of an exception, and its arguments."""
    name = _builtin_name(error)
    arguments = error.args if type(error).__str__ is _exception(name).__str__ else (str(error),)
    return {"raised": name, "arguments": encode(tuple(arguments), objects.keep)}


def _builtin_name(error: BaseException) -> str:
    return next(kind.__name__ for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind)


class UntoldError(Exception):
    """The tests hand the program what cannot travel, a function of theirs for example."""


class StandIn:
    """Stands in the tests for a function or an object of the program, which runs in another box.

    What is done to it is done there. Operators between it and plain data are not, unless the tests make
    objects of its class for that: the object would be told what is expected, and asked whether it is that.
    What is plain data there, a variable or an object of an `IntEnum`, is fetched for them.
    """

    __slots__ = ("_plain", "_remote")
    _plain: Plain
    _remote: "Remote"

    def __init__(self, plain: Plain, remote: "Remote") -> None:
        object.__setattr__(self, "_plain", plain)
        object.__setattr__(self, "_remote", remote)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._remote.ask("call", self, *arguments, **keywords)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> Any:
        if isinstance(error, (AssertionError, UntoldError)):
            return False  # not the program's to forgive
        return self._remote.ask("exit", self, *((_builtin_name(error), error.args) if error else ()))

    def __instancecheck__(self, value: Any) -> Any:
        return self._remote.ask("isinstance", value, self)

    def __subclasscheck__(self, value: Any) -> Any:
        return self._remote.ask("issubclass", value, self)


def _asked(name: str) -> Callable[..., Any]:
    def method(self: StandIn, *arguments: Any) -> Any:
        return self._remote.ask(name, self, *arguments)

    return method


def _asked_among_objects(name: str, *, reflected: bool = False) -> Callable[[StandIn, Any], Any]:
    def method(self: StandIn, other: Any) -> Any:
        operands = (other, self) if reflected else (self, other)
        if type(other) is StandIn or self._plain[1] in self._remote.classes:
            return self._remote.ask(name, *operands)
        plain = self._remote.ask("basic", self)
        if type(plain) is not StandIn:
            return _OPERATIONS[name](*(plain if operand is self else operand for operand in operands))
        if name == "contains":
            return any(item == other for item in self._remote.ask("iter", self))
        return NotImplemented

    return method


for _name in (*_UNARY, "getattr", "setattr", "delattr", "getitem", "setitem", "delitem"):
    setattr(StandIn, f"__{_name}__", _asked(_name))
for _name in ("enter", "format", "round"):
    setattr(StandIn, f"__{_name}__", _asked(_name))
for _name in (*_BINARY, *_IN_PLACE):
    setattr(StandIn, f"__{_name}__", _asked_among_objects(_name))
for _name in _REFLECTED:
    setattr(StandIn, f"__r{_name}__", _asked_among_objects(_name, reflected=True))


class Remote:
    """The tests' end of the line to the program's box.

    Attributes:
        classes: names of the classes whose objects are asked to compare themselves with plain data.
    """

    def __init__(self, line: Line, classes: list[str]) -> None:
        self.classes = frozenset(classes)
        self._line = line
        self._stand_ins: dict[Any, StandIn] = {}

    def stand_in(self, plain: Plain) -> StandIn:
        """The one stand-in of an object or a name, so that `is` means what it meant."""
        return self._stand_ins.setdefault(plain[-1], StandIn(plain, self))

    def ask(self, do: str, *arguments: Any, **keywords: Any) -> Any:
        request = {
            "do": do,
            "arguments": [encode(argument, _reference) for argument in arguments],
            "keywords": {name: encode(value, _reference) for name, value in keywords.items()},
        }
        self._line.send(request)
        answer = self._line.receive()
        if answer.get("raised") == "StopIteration" and do != "next":
            raise RuntimeError("StopIteration")  # would end a `map` of the tests as if all were well
        for place, plain in answer.get("changed", ()):
            given = keywords[place] if isinstance(place, str) else arguments[place]
            _restore(given, decode(plain, self.stand_in))
        if "raised" in answer:
            raise _exception(answer["raised"])(*decode(answer["arguments"], self.stand_in))
        return decode(answer["value"], self.stand_in)


def _reference(value: Any) -> Plain:
    if type(value) is StandIn:
        return value._plain
    if type(value) in (*_SEQUENCES, *_LIBRARY, dict):
        raise RecursionError("an argument nested too deeply")
    raise UntoldError(type(value).__name__)


def _exception(name: str) -> type[BaseException]:
    kind = vars(builtins).get(name)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else RuntimeError


def _restore(argument: Any, value: Any) -> None:
    """Give an argument of the tests the content that the program left in its copy of it."""
    if type(argument) is not type(value):
        return
    if isinstance(argument, (list, bytearray)):
        argument[:] = value
    elif isinstance(argument, (dict, set, deque)):
        argument.clear()
        (argument.extend if isinstance(argument, deque) else argument.update)(value)


def judge(channel: Line, request: dict[str, Any]) -> None:
    """Run the tests here, with stand-ins for the program's functions."""
    remote = Remote(Line(PEER), request["classes"])
    remote.ask(
        "len", ""
    )  # answered once the program has run, so that it has even where the tests do not call it
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = {name: remote.stand_in(["?", "function", name]) for name in request["names"]}
    modules = {name: importlib.import_module(name) for name in request["modules"]}
    module.__dict__.update({"__builtins__": builtins, **names, **modules})
    try:
        exec(compile(request["tests"], "<tests>", "exec", dont_inherit=True), module.__dict__)
    except UntoldError as error:
        return channel.send({"untold": str(error)})
    except BaseException as error:
        return channel.send(failure(error, request["tests"]))
    channel.send({"passed": True})


_MODES = {"values": answer_values, "serve": answer_calls, "judge": judge}


def main() -> None:
    """Answer the request that descriptor 3 brings, and end this process."""
    end = os._exit
    random.seed(0)  # the same program and tests, the same verdict
    sys.setrecursionlimit(_RECURSION_LIMIT)
    if not hasattr(builtins, "exit"):  # python -S
        vars(builtins).update(exit=sys.exit, quit=sys.exit)
    channel = Line(CHANNEL)
    request = channel.receive()
    _MODES[request["mode"]](channel, request)
    end(0)


if __name__ == "__main__":
    main()
else:  # warm: programs find these imported
    for _name in _OFTEN_IMPORTED:
        importlib.import_module(_name)
