"""Reads how content decides an extension, and decides by it. The forms themselves stand in content.txt.

Only the first 64 KiB are looked at. A form is sought from the end of a line, which the matcher finds by
memchr, nests no repetition in another and bounds how far it looks along a line: time is linear in the text.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from operator import itemgetter

_HEAD_BYTES = 1 << 16

_WHERE = {"^": r"\n", "\\A": r"\A\s*", "~": ""}
"""How the mark before a form places it; without one, it stands at the beginning of a line, after blanks."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides between the languages of one extension.

    Attributes:
        tests: a language and its forms, in order; the first that is found decides, None for no language.
        otherwise: where none is found, or where there is no content to look at; None for no language.
    """

    tests: tuple[tuple[str | None, tuple[str, ...]], ...]
    otherwise: str | None

    def decide(self, data: bytes) -> str | None:
        """The language of a text."""
        head = b"\n" + data[:_HEAD_BYTES]
        for language, forms in self.tests:
            if any(form.search(head) for form in _compiled(forms)):
                return language
        return self.otherwise


@functools.cache
def _compiled(forms: tuple[str, ...]) -> tuple[re.Pattern[bytes], ...]:
    """The forms as expressions; those at the beginning of lines share one, so that a line is found once."""
    at_lines = [form for form in forms if not form.startswith(tuple(_WHERE))]
    expressions = [_placed(form) for form in forms if form not in at_lines]
    if at_lines:
        expressions.insert(0, rf"\n[ \t]*+(?:{_expanded('|'.join(at_lines))})")
    return tuple(re.compile(expression.encode()) for expression in expressions)


def _placed(form: str) -> str:
    mark = next(mark for mark in _WHERE if form.startswith(mark))
    return f"{_WHERE[mark]}(?:{_expanded(form.removeprefix(mark))})"


def _expanded(form: str) -> str:
    return form.replace("...", r"[^\n]{0,200}").replace(" ", r"[ \t]")


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    heads = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        yield lines[start], [line.removeprefix("    ") for line in lines[start + 1 : end]]


def _read(text: str) -> Mapping[str, Rules]:
    named: dict[str, list[str]] = {}
    rules: dict[str, Rules] = {}
    for head, lines in _sections(text):
        if head.startswith("["):
            named[head.strip("[]")] = lines
            continue
        extensions, _, otherwise = head.partition(" = ")
        tests = tuple(_tests(lines, named))
        rules |= dict.fromkeys(extensions.split(), Rules(tests, _language(otherwise)))
    return rules


def _tests(
    lines: Iterable[str], named: Mapping[str, list[str]]
) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    forms = [
        (language, form)
        for language, bar, rest in (line.partition(" | ") for line in lines)
        for form in ([rest] if bar else named[language])
    ]
    for language, group in groupby(forms, key=itemgetter(0)):
        yield _language(language), tuple(form for _, form in group)


def _language(name: str) -> str | None:
    return None if name == "-" else name


BY_CONTENT = _read(resources.files(__package__).joinpath("content.txt").read_text("utf-8"))
"""The rules of each extension whose content decides."""

UNNAMED = BY_CONTENT["*"]
"""The rules of files whose name says nothing."""
