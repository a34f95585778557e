"""Which parts of a file are cut out for infilling."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np

from derailleur.evaluation.lexing import PYTHON, Kind, Lexeme, lex, syntax_of
from derailleur.tokens.documents import Document

_COMMENT_MARKS = ("#", "//", "/*", "*", "--", "%", ";")
_MAX_LINES = 4
_MAX_SPAN_CHARACTERS = 100


class Cut(StrEnum):
    """A kind of hole in a file."""

    SINGLE_LINE = "single-line"
    MULTI_LINE = "multi-line"
    RANDOM_SPAN = "random-span"
    REST_OF_LINE = "rest-of-line"
    ARGUMENTS = "arguments"
    CONDITION = "condition"

    @property
    def within_line(self) -> bool:
        """Whether what is cut out holds no newline, so that an answer ends before one."""
        return self not in (Cut.MULTI_LINE, Cut.RANDOM_SPAN)


def spans(document: Document, cut: Cut, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Where the parts worth filling in begin and end, in characters; they may overlap.

    Args:
        rng: draws how many lines, which span, which place in a line.
    """
    find = _CUTS[cut]
    return [span for span in find(document, rng) if _has_word(document.content[slice(*span)])]


def _lines(document: Document, _: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Lines of code, white space at both ends left out; comments and lone brackets are none."""
    start = 0
    for line in document.content.split("\n"):
        code = line.strip()
        if _has_word(code) and not code.startswith(_COMMENT_MARKS):
            begin = start + line.index(code)
            yield begin, begin + len(code)
        start += len(line) + 1


def _blocks(document: Document, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Two to four lines of code, and whatever lies between them."""
    lines = list(_lines(document, rng))
    for first in range(len(lines) - 1):
        last = first + int(rng.integers(1, _MAX_LINES))
        yield lines[first][0], lines[min(last, len(lines) - 1)][1]


def _random_spans(document: Document, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """As many as there are lines, from and to any character."""
    length = len(document.content)
    for _ in range(document.content.count("\n")):
        begin = int(rng.integers(length))
        yield begin, min(begin + int(rng.integers(1, _MAX_SPAN_CHARACTERS + 1)), length)


def _rests(document: Document, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """What follows a cursor somewhere inside a line of code."""
    for begin, end in _lines(document, rng):
        yield int(rng.integers(begin, end)) + 1, end


def _arguments(document: Document, _: np.random.Generator) -> Iterator[tuple[int, int]]:
    """What stands between the parentheses of a call, on one line."""
    syntax, code = syntax_of(document), _code(document)
    for index, (name, opening) in enumerate(itertools.pairwise(code)):
        called = name.kind is Kind.NAME and name.text not in syntax.keywords and opening.text == "("
        defined = index > 0 and code[index - 1].text in syntax.defining
        if called and not defined:
            yield from _inside(code, index + 1)


def _conditions(document: Document, _: np.random.Generator) -> Iterator[tuple[int, int]]:
    """What follows `if`, `elif` or `while`, on one line."""
    code, by_colon = _code(document), syntax_of(document) is PYTHON
    for index, word in enumerate(code[:-1]):
        if word.text not in ("if", "elif", "while") or word.kind is not Kind.NAME:
            continue
        if by_colon:
            yield from _until(code, index, lambda lexeme: lexeme.text == ":")
        elif code[index + 1].text == "(":
            yield from _inside(code, index + 1)


def _code(document: Document) -> list[Lexeme]:
    lexemes = lex(document.content, syntax_of(document))
    return [lexeme for lexeme in lexemes if lexeme.kind is not Kind.COMMENT]


def _inside(code: Sequence[Lexeme], opening: int) -> Iterator[tuple[int, int]]:
    """What an opening bracket holds, if it closes on its line."""
    return _until(code, opening, lambda lexeme: lexeme.kind is Kind.CLOSING)


def _until(code: Sequence[Lexeme], start: int, is_end: Callable[[Lexeme], bool]) -> Iterator[tuple[int, int]]:
    """From after `start` to before the first end outside brackets, if that is on the line of `start`."""
    depth = 0
    for index in range(start + 1, len(code)):
        lexeme = code[index]
        if depth == 0 and is_end(lexeme):
            if index > start + 1:
                yield code[start + 1].start, code[index - 1].end
            return
        depth += (lexeme.kind is Kind.OPENING) - (lexeme.kind is Kind.CLOSING)
        if depth < 0 or "\n" in lexeme.text:
            return


def _has_word(code: str) -> bool:
    return any(character.isalnum() for character in code)


_CUTS: dict[Cut, Callable[[Document, np.random.Generator], Iterator[tuple[int, int]]]] = {
    Cut.SINGLE_LINE: _lines,
    Cut.MULTI_LINE: _blocks,
    Cut.RANDOM_SPAN: _random_spans,
    Cut.REST_OF_LINE: _rests,
    Cut.ARGUMENTS: _arguments,
    Cut.CONDITION: _conditions,
}
