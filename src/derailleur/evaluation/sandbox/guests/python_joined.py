"""Runs a Python program and its tests in one process, for tests that need the program's own objects.

Started cold, `python -I -S python_joined.py`: the warm guest has modules in memory that reach everywhere. On
descriptor 3, lines:

    in   {"program", "modules", "classes", "ready"}
         `modules`: what the tests will import; `classes`: see there; `ready`: a secret
    out  ready                              the program has run
    in   token marker tests                 `tests` in hexadecimal, rewritten by `verdicts/python_joined.py`
    out  token                              the tests have run

or, once, in place of an answer: {"failed": class of verdict, "detail": line}.

What keeps the program from answering by itself, and the tests from being bent:

- The secrets are local to the main thread. The program runs in a thread of its own and the tests in another:
  no frame of theirs leads here, and no handler of signals can be set.
- Frames, the collector's lists of objects, tracing, `ctypes`, other interpreters, /proc and new programs are
  refused by an audit hook, new processes and threads by a limit.
- After the program every module that was there before it is again as it was, `builtins` among them, and the
  tests hold the built-in functions themselves, not their names.
- The tests' names are not the program's. In the tests, plain data and an object meet in an operator only if
  the tests make objects of its class for that.

A process that runs a program can still not be sure of itself; docs/judging.md has the limits that remain.
"""

import _thread
import builtins
import contextlib
import gc
import importlib
import json
import operator
import os
import resource
import sys
import time
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

_CHANNEL = 3
_POLL_SECONDS = 0.0005
_STACK_BYTES = 16 << 20
_RECURSION_LIMIT = 1010  # Python's own 1000, and the frames of this file
_DETAIL_CHARACTERS = 300
_MAX_DEPTH = 200

_REFUSED_EVENTS = frozenset((
    "cpython.PyInterpreterState_New", "gc.get_objects", "gc.get_referents", "gc.get_referrers", "os.chdir",
    "os.exec", "os.fork", "os.forkpty", "os.link", "os.posix_spawn", "os.symlink", "os.system",
    "resource.prlimit", "resource.setrlimit", "subprocess.Popen", "sys._current_exceptions",
    "sys._current_frames", "sys._getframe", "sys.addaudithook", "sys.monitoring.register_callback",
    "sys.setprofile", "sys.settrace",
))  # fmt: skip
_REFUSED_MODULES = frozenset((
    "_ctypes", "_interpreters", "_testcapi", "_testinternalcapi", "_xxsubinterpreters",
))  # fmt: skip
_FRAMES = frozenset(("ag_frame", "cr_frame", "gi_frame", "tb_frame"))
_SCALARS = (type(None), bool, int, float, complex, str, bytes, range)
_CONTAINERS = (list, tuple, set, frozenset)
_OPERATORS = {
    "Eq": operator.eq, "NotEq": operator.ne, "Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt,
    "GtE": operator.ge, "Add": operator.add, "Sub": operator.sub,
    "Mult": operator.mul, "Div": operator.truediv, "FloorDiv": operator.floordiv, "Mod": operator.mod,
    "Pow": operator.pow, "LShift": operator.lshift, "RShift": operator.rshift, "BitAnd": operator.and_,
    "BitOr": operator.or_, "BitXor": operator.xor, "MatMult": operator.matmul,
}  # fmt: skip
"""By the name of the node in a syntax tree."""


def main() -> None:
    """Answer what descriptor 3 brings, and end this process."""
    write, end, collect = os.write, os._exit, gc.enable
    sys.setrecursionlimit(_RECURSION_LIMIT)
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    read_line = _line_reader()
    request = json.loads(read_line())
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    try:
        code = compile(request["program"], "program.py", "exec", dont_inherit=True)
    except Exception as error:  # SyntaxError, ValueError for a null byte, RecursionError, OverflowError
        write(_CHANNEL, _failure(error, "compile"))
        end(0)
    _forbid_signal_handlers()
    restore = _restorer(request["modules"], module)
    _thread.stack_size(_STACK_BYTES)
    run_program, run_tests = _waiting_thread(), _waiting_thread()
    _allow_no_more_processes()
    code_is_hidden = _refuse()
    run_program(code, module.__dict__)
    restore()
    write(_CHANNEL, request["ready"].encode() + b"\n")
    token, marker, tests = read_line().split(b" ")
    collect()
    code = compile(bytes.fromhex(tests.decode()), "<tests>", "exec", dont_inherit=True)
    named = [value for name in request["classes"] if isinstance(value := module.__dict__.get(name), type)]
    code = _bound(code, marker.decode(), module.__dict__, request["modules"], named)
    code_is_hidden.append(True)
    run_tests(code, _names_of(module.__dict__))
    write(_CHANNEL, token + b"\n")
    end(0)


def _line_reader() -> Callable[[], bytes]:
    read, end = os.read, os._exit

    def read_line() -> bytes:
        line = b""
        while line[-1:] != b"\n":  # no line comes before the one before it is answered
            block = read(_CHANNEL, 1 << 16)
            if not block:
                end(0)
            line += block
        return line[:-1]

    return read_line


def _failure(error: BaseException, kind: str = "runtime") -> bytes:
    """The message that says how the program failed."""
    error.__context__ = error.__cause__ = None  # their traces would be read, which is refused
    detail = "".join(traceback.format_exception_only(error)).rstrip().rpartition("\n")[2]
    if isinstance(error, SystemExit):
        detail += ": exit before the tests ended"
    elif isinstance(error, MemoryError):
        kind = "memory"
    elif isinstance(error, AssertionError):
        kind = "wrong"
    return json.dumps({"failed": kind, "detail": detail[:_DETAIL_CHARACTERS]}).encode() + b"\n"


def _waiting_thread() -> Callable[[types.CodeType, dict[str, Any]], None]:
    """Start a thread that waits.

    Returns:
        What executes code in it, and returns only if the code has run to its end: otherwise it reports the
        failure and ends this process.
    """
    count, pause, run_code, failure, any_error = _thread._count, time.sleep, exec, _failure, BaseException
    write, end, of_type, octets, interval = os.write, os._exit, type, bytes, _POLL_SECONDS
    work: list[tuple[types.CodeType, dict[str, Any]]] = []
    failures: list[bytes] = []
    done: list[bool] = []
    may_run = _thread.allocate_lock()
    may_run.acquire()

    def wait_and_run() -> None:
        may_run.acquire()
        try:
            run_code(*work[0])
        except any_error as error:
            failures.append(
                failure(error)
            )  # here, since to write out an exception is to run code of the program's
        else:
            done.append(True)

    def run(code: types.CodeType, names: dict[str, Any]) -> None:
        running = count()
        work.append((code, names))
        may_run.release()
        while count() == running:
            pause(interval)
        if not done:
            if failures and of_type(failures[0]) is octets:
                write(_CHANNEL, failures[0])
            end(0)

    others = count()
    _thread.start_new_thread(wait_and_run, ())
    while count() == others:  # it counts once it runs
        pause(interval)
    return run


def _forbid_signal_handlers() -> None:
    """A handler is handed the main thread's frame, whatever the audit hook says."""
    for name in sys.builtin_module_names:
        importlib.import_module(name)
    refuse = type(None)  # can be called, takes nothing, and holds no reference to here
    vars(sys.modules["_signal"])["signal"] = refuse
    vars(sys.modules["_imp"])["create_builtin"] = refuse  # would make a second `_signal`


def _allow_no_more_processes() -> None:
    """Nor threads: the kernel counts both alike."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _restorer(names: list[str], program: types.ModuleType) -> Callable[[], None]:
    """A function that makes every module but the program as it is now, and the classes in `names` too."""
    for name in _REFUSED_MODULES:  # nor may the modules that the tests import bring them along
        sys.modules[name] = None  # type: ignore[assignment]
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    clear, update, copy, put, delete = dict.clear, dict.update, dict.copy, type.__setattr__, type.__delattr__
    pause, of_type, contents, table = gc.disable, type, vars, sys.modules
    modules = {name: module for name, module in table.items() if of_type(module) is types.ModuleType}
    dictionaries = [(vars(each), dict(vars(each))) for each in modules.values() if each is not program]
    lists: list[tuple[list[Any], list[Any]]] = [
        (each, list(each)) for each in (sys.meta_path, sys.path_hooks, gc.callbacks)
    ]
    packages = tuple(name.partition(".")[0] for name in names)
    classes = [
        (value, dict(vars(value)))
        for name, module in modules.items()
        for value in vars(module).values()
        if name.partition(".")[0] in packages and isinstance(value, type) and value.__flags__ & (1 << 9)
    ]  # those made by a class statement; the others cannot be changed
    module_type = types.ModuleType
    kept_alive: list[Any] = []  # no finaliser of the program's runs in this thread

    def restore() -> None:
        pause()
        update(table, modules)
        for live, then in dictionaries:
            now = copy(live)
            kept_alive.append(now)
            clear(live)
            update(live, {name: value for name, value in now.items() if of_type(value) is module_type})
            update(live, then)
        for living, before in lists:
            kept_alive.append(living[:])
            living[:] = before
        for kind, then in classes:
            now = {**contents(kind)}
            kept_alive.append(now)
            for name, value in then.items():
                if now.get(name) is not value:
                    put(kind, name, value)
            for name in now:
                if name not in then:
                    delete(kind, name)

    return restore


def _refuse() -> list[bool]:
    """Refuse from now on what would let a program look or reach into this thread.

    Returns:
        To be made non-empty when functions of the tests are there, whose code must not be read.
    """
    events, modules, frames = _REFUSED_EVENTS, _REFUSED_MODULES, _FRAMES
    of_type, text, octets, number, split, decode = type, str, bytes, int, str.split, bytes.decode
    refused, no_module, no_frame, starts = ValueError, ImportError, RuntimeError, str.startswith
    ours = [vars(module) for module in sys.modules.values() if module is not None]
    code_is_hidden: list[bool] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in events or starts(event, "ctypes."):
            raise refused(f"{event} is not available to a judged program")
        if event == "import" and arguments[0] in modules:
            raise no_module(f"{arguments[0]} is not available to a judged program")
        if event == "object.__getattr__":
            if arguments[1] in frames or (code_is_hidden and arguments[1] == "__code__"):
                raise no_frame(f"{arguments[1]} is not available to a judged program")
        elif event == "object.__setattr__":
            if arguments[1] == "__code__":
                names = arguments[0].__globals__
                for each in ours:
                    if names is each:
                        raise refused("code of the standard library cannot be changed by a judged program")
        elif event == "open":
            path = arguments[0]
            if of_type(path) is octets:
                path = decode(path, "latin-1")
            if of_type(path) is text:
                folders = split(path, "/")
                if "proc" in folders or ("dev" in folders and path != "/dev/null"):
                    raise refused(f"{path} is not available to a judged program")
            elif of_type(path) is not number:
                raise refused("a path of an unknown type")

    sys.addaudithook(hook)
    return code_is_hidden


def _names_of(program: dict[str, Any]) -> dict[str, Any]:
    """Names for the tests: their own, which the program does not see, beginning with a copy of the program's.

    `load_tests` would choose in unittest's place which tests there are.
    """
    names = {name: value for name, value in program.items() if name != "load_tests"}
    return {**names, "__name__": "__main__", "__builtins__": builtins}


def _bound(
    code: types.CodeType, marker: str, program: dict[str, Any], modules: list[str], named: list[type]
) -> types.CodeType:
    """The tests with functions in the place of the strings that stand for them.

    Their names would lead to what the program has made of them. So would a module's: the tests get a copy.
    """
    replaced: dict[str, Any] = {name: value for name, value in vars(builtins).items()}
    replaced |= {"compare": _comparer(named), "calculate": _calculator(named), "look up": _finder(program)}
    replaced |= {f"import {name}": _copied(sys.modules.get(name)) for name in modules}
    replaced |= {"namespace": types.SimpleNamespace}
    constants = {f"{marker}:{name}": value for name, value in replaced.items()}

    def bind(code: types.CodeType) -> types.CodeType:
        consts = (bind(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
        return code.replace(
            co_consts=tuple(constants.get(each, each) if type(each) is str else each for each in consts)
        )

    return bind(code)


def _finder(program: dict[str, Any]) -> Callable[[str], Any]:
    missing = NameError

    def look_up(name: str) -> Any:
        try:
            return program[name]
        except KeyError:
            raise missing(f"name '{name}' is not defined") from None

    return look_up


def _copied(module: types.ModuleType | None) -> types.ModuleType | None:
    if module is None:
        return None
    copy = types.ModuleType(module.__name__)
    copy.__dict__.update(module.__dict__)
    return copy


def _is_plain() -> Callable[..., bool]:
    """A function that says whether a value is plain data through and through, by the identity of types."""
    of_type, is_scalar, is_container, mapping = type, _is_of(_SCALARS), _is_of(_CONTAINERS), dict

    def is_plain(value: Any, depth: int = 0) -> bool:
        if is_scalar(value):
            return True
        if depth > _MAX_DEPTH:
            return False
        if of_type(value) is mapping:
            return is_plain([*value, *value.values()], depth + 1)
        if not is_container(value):
            return False
        for item in value:  # noqa: SIM110 - `all` may be the program's
            if not is_plain(item, depth + 1):
                return False
        return True

    return is_plain


def _is_of(kinds: Sequence[type]) -> Callable[[Any], bool]:
    """A function that says whether a value's type is among `kinds`, by identity: a metaclass may lie."""
    of_type = type

    def is_of(value: Any) -> bool:
        kind = of_type(value)
        for each in kinds:  # noqa: SIM110 - `any` may be the program's
            if kind is each:
                return True
        return False

    return is_of


def _comparer(named: list[type]) -> Callable[..., Any]:
    """Comparisons of the tests, `(names of operators, value, value, ...)`.

    Of plain data and an object, only an object of a class in `named` is asked.
    """
    is_plain, is_named, operators, pairs = _is_plain(), _is_of(named), dict(_OPERATORS), zip

    def compare_two(name: str, left: Any, right: Any) -> Any:
        if name in ("Is", "IsNot"):
            return (left is right) is (name == "Is")
        if name in ("In", "NotIn"):
            if is_named(right) or (is_plain(left) and is_plain(right)):
                return (left in right) is (name == "In")
            for item in right:
                if left is item or compare_two("Eq", left, item):
                    return name == "In"
            return name == "NotIn"
        if is_plain(left) is is_plain(right) or is_named(left) or is_named(right):
            return operators[name](left, right)
        if name in ("Eq", "NotEq"):
            return name == "NotEq"
        raise TypeError(f"{name} between plain data and an object")

    def compare(names: tuple[str, ...], left: Any, *others: Any) -> Any:
        result: Any = True
        for name, right in pairs(names, others):
            result = compare_two(name, left, right)
            if not result:
                break
            left = right
        return result

    return compare


def _calculator(named: list[type]) -> Callable[[str, Any, Any], Any]:
    """Operators of the tests on two values; see `_comparer`."""
    is_named, is_built_in = _is_of(named), _is_of((*_SCALARS, *_CONTAINERS, dict))
    operators = dict(_OPERATORS)

    def calculate(name: str, left: Any, right: Any) -> Any:
        if is_built_in(left) is is_built_in(right) or is_named(left) or is_named(right):
            return operators[name](left, right)
        raise TypeError(f"{name} between plain data and an object")

    return calculate


if __name__ == "__main__":
    main()
