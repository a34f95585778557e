"""Reads the table of languages: what each is, how its files are named, which interpreters run it.

Names are spelled as GitHub's linguist spells them, except `CUDA` and `Protocol Buffers`, and what is one
language to a reader has one name: `.tsx` is TypeScript, `.gradle` Groovy, `.lhs` Haskell, a property list in
XML is XML, a dialect of SQL or of assembly is SQL or Assembly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from types import MappingProxyType
from typing import Literal, cast, get_args

Kind = Literal["programming", "markup", "data", "prose"]

_LISTS = 3  # extensions, whole names, interpreters


@dataclass(frozen=True, slots=True)
class Language:
    """One language or format.

    Attributes:
        extensions: lower case, with their dot; a name's longest one counts.
        names: whole file names, as they are written.
        interpreters: programs of a `#!` line, without a version.
    """

    name: str
    kind: Kind
    extensions: tuple[str, ...]
    names: tuple[str, ...]
    interpreters: tuple[str, ...]


def _rows(text: str) -> Iterator[tuple[Kind, str, list[list[str]]]]:
    kind: Kind = "programming"
    for line in text.splitlines():
        if line.startswith("["):
            kind = cast(Kind, line.strip("[]"))
            assert kind in get_args(Kind), f"no kind of language: {line}"
        elif line and not line.startswith("#"):
            name, *lists = (part.strip() for part in line.split("|"))
            yield kind, name, [part.split() for part in lists] + [[]] * (_LISTS - len(lists))


def _read(text: str) -> Iterator[Language]:
    for (kind, name), rows in groupby(_rows(text), key=lambda row: row[:2]):
        extensions, names, interpreters = zip(*(lists for *_, lists in rows), strict=True)
        yield Language(name, kind, _joined(extensions), _joined(names), _joined(interpreters))


def _joined(lists: tuple[list[str], ...]) -> tuple[str, ...]:
    return tuple(item for part in lists for item in part)


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.name: language
        for language in _read(resources.files(__package__).joinpath("table.txt").read_text("utf-8"))
    }
)
"""Every language and format by its name."""

KNOWN_LANGUAGES = frozenset(LANGUAGES)
"""Every name that `language_of` can give."""

DEFAULT_LANGUAGES = frozenset(
    (
        *("Assembly", "C", "C#", "C++", "CMake", "CSS", "CUDA", "Clojure", "Cython", "Dart", "Dockerfile"),
        *(
            "Elixir",
            "Elm",
            "Erlang",
            "F#",
            "Fortran",
            "Go",
            "Groovy",
            "HTML",
            "Haskell",
            "Java",
            "JavaScript",
        ),
        *("Julia", "Kotlin", "Lua", "MATLAB", "Makefile", "Markdown", "Nim", "OCaml", "Objective-C"),
        *("Objective-C++", "PHP", "Perl", "PowerShell", "Protocol Buffers", "Python", "R", "Racket", "Ruby"),
        *("Rust", "SQL", "Scala", "Scheme", "Shell", "Solidity", "Svelte", "Swift", "SystemVerilog", "Tcl"),
        *("TeX", "TypeScript", "VHDL", "Verilog", "Vue", "Zig"),
    )
)
"""The languages of a corpus that names none: code, and markup and prose that is written beside code."""


def kind_of(language: str) -> Kind:
    """Whether a known language is programming, markup, data or prose."""
    return LANGUAGES[language].kind
