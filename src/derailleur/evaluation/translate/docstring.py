"""Docstrings as comments of another language: doctests are translated, Python's words are replaced."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

from derailleur.evaluation.translate.problem import Example, parse_call, parse_value
from derailleur.evaluation.translate.types import UntranslatableError

_PROMPT, _CONTINUED = ">>> ", "... "
_VOWELS = "aeiou"


def parse_docstring(text: str) -> Iterator[str | Example]:
    """Lines of prose, and doctests.

    Lines lose their indentation and blank lines are left out, as in MultiPL-E. The expected value of a
    doctest is the shortest run of lines that is a value; a doctest that is no call with plain values stays
    prose.
    """
    lines = [line.lstrip() for line in text.strip().splitlines() if line.strip()]
    at = 0
    while at < len(lines):
        found = _doctest(lines, at)
        if found is None:
            yield lines[at]
            at += 1
        else:
            example, at = found
            yield example


def _doctest(lines: list[str], start: int) -> tuple[Example, int] | None:
    """The doctest that begins at a line, and where it ends."""
    if not lines[start].startswith(_PROMPT):
        return None
    at = start + 1
    while at < len(lines) and lines[at].startswith(_CONTINUED):
        at += 1
    try:
        function, arguments = parse_call("\n".join(line[len(_PROMPT) :] for line in lines[start:at]))
    except UntranslatableError:
        return None
    value_lines = list(takewhile(lambda line: not line.startswith(_PROMPT), lines[at:]))
    for length in range(1, len(value_lines) + 1):
        try:
            value = parse_value("\n".join(value_lines[:length]))
        except UntranslatableError:
            continue
        return Example(function, arguments, value), at + length
    return None


def reword(line: str, words: Mapping[str, str]) -> str:
    """Replace whole words in one pass; an `a` or `an` before a replaced word fits the new one."""

    def replaced(match: re.Match[str]) -> str:
        article, space, word = match["article"], match["space"], words[match["word"]]
        if article is None:
            return word
        fitting = article[0] + ("n" if word[0].lower() in _VOWELS else "")
        return f"{fitting}{space}{word}"

    alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    pattern = rf"(?:\b(?P<article>[Aa]n?)(?P<space> ))?(?<![\w'\"])(?P<word>{alternatives})(?![\w'\"(])"
    return re.sub(pattern, replaced, line)


def comment_lines(
    docstring: str, words: Mapping[str, str], translate: Callable[[Example], tuple[str, str]]
) -> list[str]:
    """The docstring's lines in another language, without the comment's leader.

    Args:
        translate: the call of a doctest and its value as the language writes them.
    """
    lines = []
    for part in parse_docstring(docstring):
        if isinstance(part, str):
            lines.append(reword(part, words))
        else:
            call, expected = translate(part)
            lines += [_PROMPT + call, expected]
    return lines
