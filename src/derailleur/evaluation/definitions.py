"""Which names a file's code has, and where it defines them.

By a lexer, not a parser: what does not parse is read as well, and a definition is known by the words around
it. What is missed is not measured; what is taken for a definition by mistake is a name all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from derailleur.evaluation.lexing import Kind, Lexeme, Syntax, lex

_JAVA_TYPES = frozenset(("boolean", "byte", "char", "double", "float", "int", "long", "short", "void"))


@dataclass(frozen=True)
class Mention:
    """A name in the code, keywords aside.

    Attributes:
        defines: a function, class, variable, parameter or import begins here to have this name.
    """

    name: str
    start: int
    end: int
    defines: bool


def mentions(text: str, syntax: Syntax) -> Iterator[Mention]:
    """Every name outside comments and strings, in order."""
    code = [lexeme for lexeme in lex(text, syntax) if lexeme.kind is not Kind.COMMENT]
    for lexeme, defines in zip(code, _Definitions(syntax).mark(code), strict=True):
        if lexeme.kind is Kind.NAME and lexeme.text not in syntax.keywords:
            yield Mention(lexeme.text, lexeme.start, lexeme.end, defines)


class _Definitions:
    """Walks over code and tells which names it defines."""

    def __init__(self, syntax: Syntax) -> None:
        self._syntax = syntax
        self._opened: list[bool] = []  # for each open bracket, whether it holds parameters
        self._lists = False  # whether a statement that lists names is under way
        self._list_depth = 0
        self._imports = False

    def mark(self, code: Sequence[Lexeme]) -> Iterator[bool]:
        """For each token whether it is a name that is defined there."""
        texts = ["", "", *(lexeme.text for lexeme in code), ""]
        for index, lexeme in enumerate(code):
            before_last, last, text, following = texts[index : index + 4]
            self._follow(lexeme, before_last, last)
            is_name = lexeme.kind is Kind.NAME and text not in self._syntax.keywords
            yield is_name and self._defines(before_last, last, following)

    def _follow(self, lexeme: Lexeme, before_last: str, last: str) -> None:
        """Keep account of brackets, and of where a list of names begins and ends."""
        text = lexeme.text
        if lexeme.kind is Kind.OPENING:
            self._opened.append(text == "(" and before_last in self._syntax.heading)
        elif lexeme.kind is Kind.CLOSING and self._opened:
            self._opened.pop()
        if text in self._syntax.listing:
            self._lists, self._list_depth = True, len(self._opened)
        elif self._ends_list(lexeme):
            self._lists = False
        if text in ("import", ";"):
            self._imports = text == "import"

    def _ends_list(self, lexeme: Lexeme) -> bool:
        depth = len(self._opened)
        ends_line = lexeme.kind is Kind.NEWLINE and depth == self._list_depth
        return ends_line or depth < self._list_depth or lexeme.text in ("=", ";", "from", "in", "of", ":")

    def _defines(self, before_last: str, last: str, following: str) -> bool:
        syntax = self._syntax
        if following == "as":
            return False
        if last == ".":
            assigned = before_last in syntax.receivers and following == "="
            return assigned or (syntax.declares_by_type and self._imports and following == ";")
        if last in syntax.defining:
            return True
        if self._lists:
            return last in syntax.listing or last in ("{", "(", "[", ",", "\n")
        if self._opened and self._opened[-1]:
            return last in ("(", ",", "*", "**", "...", "\n")
        if syntax.declares_by_type:
            return _is_type(last, syntax) and following in ("=", ";", ",", ")", "(", ":", "{")
        in_call = syntax.has_keyword_arguments and bool(self._opened)
        return following in ("=", ":=") and not in_call


def _is_type(text: str, syntax: Syntax) -> bool:
    """Whether the word before a name can be its type, as in `Map<String, Integer> name` or `int[] name`."""
    if text in (">", ">>", "]", "..."):
        return True
    return text in _JAVA_TYPES or (text[:1].isidentifier() and text not in syntax.keywords)
