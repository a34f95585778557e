"""Source code as tokens of its language: Python, JavaScript, Java, and roughly any other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from derailleur.tokens.documents import Document


class Kind(StrEnum):
    """What a token is."""

    COMMENT = "comment"
    STRING = "string"
    NAME = "name"
    NUMBER = "number"
    OPENING = "opening"
    CLOSING = "closing"
    OPERATOR = "operator"
    NEWLINE = "newline"


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One token of the language: text[start:end]."""

    kind: Kind
    text: str
    start: int
    end: int


_HASH_COMMENT = r"\#[^\n]*"
_SLASH_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_TRIPLE = r"'''(?:\\.|[^\\])*?(?:'''|\Z)|\"\"\"(?:\\.|[^\\])*?(?:\"\"\"|\Z)"
_QUOTED = r"'(?:\\.|[^'\\\n])*'?|\"(?:\\.|[^\"\\\n])*\"?"
_BACKTICKS = r"`(?:\\.|[^`\\])*(?:`|\Z)"
_CODE = (
    r"(?P<name>(?:[^\W\d]|\$)(?:\w|\$)*)|(?P<number>\.?\d(?:[eE][+-]|[\w.])*)|(?P<opening>[(\[{])"
    r"|(?P<closing>[)\]}])|(?P<newline>\n)|(?P<operator>\.\.\.|[-+*/%&|^<>=!:?~@]+|[^\s\w])"
)
_WORDS_OF_ANY = (
    "and as break case catch class const continue def default do else enum export extends false final "
    "finally fn for from func function if implements import in instanceof interface is let new not null "
    "or package private protected public raise return self static struct super switch this throw throws "
    "trait true try type typeof use using var void while with yield None True False nil undefined"
)


@dataclass(frozen=True)
class Syntax:
    """What sets a language apart here.

    Attributes:
        keywords: words that are no names.
        builtins: names that every file has without a definition.
        defining: the word before a name that is defined.
        listing: the word before several names that are defined: imports, destructured values.
        heading: the word before the name of something with parameters.
        receivers: the word before the dot of an attribute that an assignment defines.
        has_keyword_arguments: inside a call `name=` gives an argument and defines nothing.
        declares_by_type: a name after another is what has that type.
    """

    pattern: re.Pattern[str]
    keywords: frozenset[str]
    builtins: frozenset[str]
    defining: frozenset[str]
    listing: frozenset[str]
    heading: frozenset[str]
    receivers: frozenset[str]
    has_keyword_arguments: bool = False
    declares_by_type: bool = False


def _syntax(skipped: str, strings: str, *, keywords: str, builtins: str = "", **words: str | bool) -> Syntax:
    sets = {key: frozenset(value.split()) for key, value in words.items() if isinstance(value, str)}
    flags = {key: value for key, value in words.items() if isinstance(value, bool)}
    return Syntax(
        re.compile(f"(?P<comment>{skipped})|(?P<string>{strings})|{_CODE}", re.DOTALL),
        keywords=frozenset(keywords.split()),
        builtins=frozenset(builtins.split()),
        **sets,  # type: ignore[arg-type]
        **flags,  # type: ignore[arg-type]
    )


PYTHON = _syntax(
    _HASH_COMMENT,
    rf"(?i:\b(?:[rbuf]|rb|br|rf|fr))?(?:{_TRIPLE}|{_QUOTED})",
    keywords="False None True and as assert async await break class continue def del elif else except "
    "finally for from global if import in is lambda nonlocal not or pass raise return try while with yield",
    builtins="self cls super print range list dict tuple frozenset type object string bytes float bool "
    "isinstance getattr setattr hasattr open sorted enumerate property staticmethod classmethod "
    "Exception ValueError TypeError KeyError RuntimeError NotImplementedError args kwargs __name__ __all__ "
    "__file__ __doc__ __init__",
    defining="def class",
    listing="import for as",
    heading="def",
    receivers="self cls",
    has_keyword_arguments=True,
)
JAVASCRIPT = _syntax(
    _SLASH_COMMENT,
    f"{_QUOTED}|{_BACKTICKS}",
    keywords="async await break case catch class const continue debugger default delete do else enum export "
    "extends false finally for from function get if implements import in instanceof interface let new null "
    "of package private protected public return set static super switch this throw true try typeof "
    "undefined var void while with yield",
    builtins="arguments console document exports global globalThis module process require window Array "
    "Boolean Date Error JSON Math Number Object Promise RegExp String Symbol prototype length constructor",
    defining="function class",
    listing="import const let var as",
    heading="function",
    receivers="this exports",
)
JAVA = _syntax(
    _SLASH_COMMENT,
    rf"{_TRIPLE}|{_QUOTED}",
    keywords="abstract assert boolean break byte case catch char class const continue default do double else "
    "enum extends final finally float for goto if implements import instanceof int interface long native new "
    "null package private protected public return short static strictfp super switch synchronized this throw "
    "throws transient try true false void volatile while",
    builtins="Boolean Byte Character Class Double Exception Float Integer Iterable Long Math Object Override "
    "RuntimeException Short String StringBuilder System Thread Throwable Void length",
    defining="class interface enum",
    listing="",
    heading="",
    receivers="this",
    declares_by_type=True,
)
ANY = _syntax(
    rf"{_SLASH_COMMENT}|\#(?=[ !])[^\n]*",
    f"{_QUOTED}|{_BACKTICKS}",
    keywords=_WORDS_OF_ANY,
    defining="class def enum fn func function interface struct trait type",
    listing="const import let use using var",
    heading="def fn func function",
    receivers="self this",
)
SYNTAXES = {"Python": PYTHON, "JavaScript": JAVASCRIPT, "TypeScript": JAVASCRIPT, "Java": JAVA}
"""By language; every other is read as `ANY`."""

_SUFFIXES = {".py": PYTHON, ".js": JAVASCRIPT, ".mjs": JAVASCRIPT, ".ts": JAVASCRIPT, ".java": JAVA}


def syntax_of(document: Document) -> Syntax:
    """By the language that the corpus names, or by the file's name where it names none."""
    if document.language:
        return SYNTAXES.get(document.language, ANY)
    return _SUFFIXES.get(PurePosixPath(document.path).suffix, ANY)


def lex(text: str, syntax: Syntax) -> Iterator[Lexeme]:
    """The tokens of a text in order, white space left out, what fits no language as operators."""
    for match in syntax.pattern.finditer(text):
        assert match.lastgroup is not None
        yield Lexeme(Kind(match.lastgroup), match.group(), *match.span())
