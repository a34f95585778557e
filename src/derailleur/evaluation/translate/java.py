"""Java as MultiPL-E writes it: one class with a static method, javatuples for tuples."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from derailleur.evaluation.translate.docstring import comment_lines
from derailleur.evaluation.translate.problem import Example, PythonProblem
from derailleur.evaluation.translate.types import ANY, FLOAT, INT, NONE, Type, UntranslatableError, infer_type

LANGUAGE = "java"
STOP = ("\n    }\n",)

_IMPORTS = (
    "java.util.*",
    "java.lang.reflect.*",
    "org.javatuples.*",
    "java.security.*",
    "java.math.*",
    "java.io.*",
    "java.util.stream.*",
)
_SCALARS = {"int": "long", "float": "float", "str": "String", "bool": "boolean", "Any": "Object"}
_BOXED = {"long": "Long", "float": "Float", "boolean": "Boolean"}
_TUPLES = ("Unit", "Pair", "Triplet", "Quartet", "Quintet", "Sextet", "Septet", "Octet", "Ennead", "Decade")
_WORDS = {
    "list": "array list",
    "lists": "array lists",
    "List": "Array list",
    "array": "array list",
    "arrays": "array lists",
    "dictionary": "hash map",
    "dictionaries": "hash maps",
    "dict": "hash map",
    "None": "null",
    "True": "true",
    "False": "false",
    "Python": "Java",
    "python": "Java",
}
_RESERVED = """
    abstract assert boolean break byte case catch char class const continue default do double else enum
    extends false final finally float for goto if implements import instanceof int interface long native
    new null package private protected public return short static strictfp super switch synchronized this
    throw throws transient true try void volatile while _
"""
_MAX_LONG = 2**63 - 1
_MAX_FLOAT = 3.4028235e38
_MAX_ENTRIES = 10  # of Map.of


def prompt(problem: PythonProblem) -> str:
    """The imports, and the class up to the opening brace of the method."""
    returns, parameters = _signature(problem)
    lines = comment_lines(problem.docstring, _WORDS | _tuple_words(returns, *parameters), _doctest(problem))
    names = (_name(parameter.name) for parameter in problem.parameters)
    arguments = ", ".join(f"{java_type(of)} {name}" for of, name in zip(parameters, names, strict=True))
    return "\n".join(
        [
            *(f"import {package};" for package in _IMPORTS),
            "class Problem {",
            *(f"    // {_unescaped(line)}" for line in lines),
            f"    public static {java_type(returns)} {_method(problem.function)}({arguments}) {{",
            "",
        ]
    )


def tests(problem: PythonProblem) -> str:
    """The end of the method, and a `main` of assertions."""
    returns, parameters = _signature(problem)
    lines = []
    for test in problem.tests:
        call = _call(problem.function, test.arguments, parameters)
        expected = _parenthesised(test.expected, returns)
        equal = f" == {expected}" if java_type(returns) in _BOXED else f".equals({expected})"
        lines.append(f"assert({call}{equal});")
    body = "".join(f"    {line}\n" for line in lines)
    return f"    }}\n    public static void main(String[] args) {{\n{body}    }}\n\n}}\n"


def java_type(of: Type) -> str:
    """A type as Java writes it, primitive where it can be.

    Raises:
        UntranslatableError: there is none.
    """
    if of.name in _SCALARS:
        return _SCALARS[of.name]
    inside = list(map(_boxed, of.arguments))
    match of.name:
        case "list":
            return f"ArrayList<{inside[0]}>"
        case "dict":
            return f"HashMap<{inside[0]},{inside[1]}>"
        case "Optional":
            return f"Optional<{inside[0]}>"
        case "tuple" if 1 <= len(inside) <= len(_TUPLES):
            return f"{_TUPLES[len(inside) - 1]}<{', '.join(inside)}>"
    raise UntranslatableError(f"type '{of}'")


def literal(value: Any, of: Type) -> str:
    """A plain value as one of a type.

    Raises:
        UntranslatableError: it is not one of that type, or has no counterpart.
    """
    match of.name, value:
        case "Any", _:
            return literal(value, infer_type([value]))
        case "None", None:
            return "null"
        case "Optional", None:
            return "Optional.empty()"
        case "Optional", _:
            return f"Optional.of({literal(value, of.arguments[0])})"
        case "bool", bool():
            return str(value).lower()
        case "int", int() if type(value) is int and abs(value) <= _MAX_LONG:
            return f"{value}l"
        case "float", int() if type(value) is int:
            return f"(float){literal(value, INT)}"
        case "float", float() if math.isfinite(value) and abs(value) <= _MAX_FLOAT:
            return f"{value!r}f"
        case "str", str():
            return json.dumps(value, ensure_ascii=False)
        case "list", list() | tuple():
            return _list(value, of)
        case "tuple", tuple() if len(value) == len(of.arguments):
            inside = map(literal, value, of.arguments)
            return f"{java_type(of).partition('<')[0]}.with({', '.join(inside)})"
        case "dict", dict():
            return _map(value, of)
    raise UntranslatableError(f"value {value!r:.60} as '{of}'")


def _list(values: list[Any] | tuple[Any, ...], of: Type) -> str:
    element = of.arguments[0]
    cast = "" if element == ANY else f"({java_type(element)})"
    inside = (cast + literal(value, element).removeprefix("(float)") for value in values)
    return f"new {java_type(of)}(Arrays.asList({', '.join(inside)}))"


def _map(values: dict[Any, Any], of: Type) -> str:
    key_type, value_type = of.arguments
    entries = [(literal(key, key_type), literal(value, value_type)) for key, value in values.items()]
    if len(entries) <= _MAX_ENTRIES:
        inside = f"Map.of({', '.join(text for entry in entries for text in entry)})" if entries else ""
    else:
        inside = f"Map.ofEntries({', '.join(f'Map.entry({key}, {value})' for key, value in entries)})"
    return f"new {java_type(of)}({inside})"


def _parenthesised(value: Any, of: Type) -> str:
    text = literal(value, of)
    is_coerced = of.name == "Optional" or (of == FLOAT and type(value) is int)
    return text if is_coerced else f"({text})"


def _call(function: str, values: tuple[Any, ...], types: list[Type]) -> str:
    return f"{_method(function)}({', '.join(map(_parenthesised, values, types))})"


def _doctest(problem: PythonProblem) -> Callable[[Example], tuple[str, str]]:
    returns, parameters = _signature(problem)

    def translate(example: Example) -> tuple[str, str]:
        values = example.arguments
        wanted = parameters if len(values) == len(parameters) else [NONE] * len(values)
        call = _call(example.function, values, list(map(_fitting, values, wanted)))
        return call, _parenthesised(example.expected, _fitting(example.expected, returns))

    return translate


def _fitting(value: Any, of: Type) -> Type:
    """The type, or the value's own where the docstring shows one that cannot be of it."""
    try:
        literal(value, of)
    except UntranslatableError:
        return infer_type([value])
    return of


def _signature(problem: PythonProblem) -> tuple[Type, list[Type]]:
    """The types of what is returned and of the parameters."""
    missing = [parameter.name for parameter in problem.parameters if parameter.type is None]
    if missing or problem.returns is None:
        raise UntranslatableError(f"no type of {', '.join(missing) or 'what is returned'}")
    parameters = [parameter.type for parameter in problem.parameters if parameter.type]
    for of in (problem.returns, *parameters):
        if of == ANY:
            raise UntranslatableError(f"type '{of}'")
    return problem.returns, parameters


def _tuple_words(*types: Type) -> dict[str, str]:
    """Pairs are called so where all tuples are pairs; those of open length are array lists."""
    lengths = {len(of.arguments) for whole in types for of in _parts(whole) if of.name == "tuple"}
    word = "pair" if lengths == {2} else "tuple" if lengths else "array list"
    return {"tuple": word, "tuples": f"{word}s"}


def _parts(of: Type) -> list[Type]:
    return [of, *(part for argument in of.arguments for part in _parts(argument))]


def _boxed(of: Type) -> str:
    text = java_type(of)
    return _BOXED.get(text, text)


def _unescaped(comment: str) -> str:
    r"""Java reads `\u` as the start of a character even in a comment, unless the backslash is doubled."""
    return comment.replace("\\u", "\\\\u")


def _method(name: str) -> str:
    """In camel case, a leading underscore kept."""
    return _name(re.sub(r"(?<=[^_])_+(\w)", lambda match: match[1].upper(), name))


def _name(name: str) -> str:
    return f"{name}_" if name in _RESERVED.split() else name
