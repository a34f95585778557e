"""What each byte of a source file belongs to: code, comment or string; without a parser.

Three families of languages have a lexer: Python, those with C's comments, those with `#`. Docstrings count as
comments. A text that is broken is lexed to its end: an unclosed literal of one line ends with the line.
"""

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

CODE, COMMENT, STRING = range(3)


# What languages with C's comments differ in: bits, since numba knows no flags.
_LINE_COMMENTS = 1  # from // to the end of the line
_HASH_COMMENTS = 2
_NESTED_COMMENTS = 4
_SINGLE_QUOTED = 8  # ' opens a string
_CHARACTERS = 16  # ' opens a character literal
_LIFETIMES = 32  # ' opens a literal only if it closes after one character
_BACKTICKS = 64  # ` opens a string of many lines
_TEMPLATES = 128  # the same, with ${...} in it
_REGEXES = 256
_TRIPLE_QUOTED = 512
_VERBATIM = 1024  # @"..." in which "" is a quote
_RAW_CPP = 2048  # R"x(...)x"
_RAW_RUST = 4096  # r#"..."#

_C = _LINE_COMMENTS | _CHARACTERS
_ECMASCRIPT = _LINE_COMMENTS | _SINGLE_QUOTED | _TEMPLATES | _REGEXES

_C_FAMILY = {
    "C": _C,
    "C#": _C | _VERBATIM | _TRIPLE_QUOTED,
    "C++": _C | _RAW_CPP,
    "CSS": _SINGLE_QUOTED,
    "CUDA": _C | _RAW_CPP,
    "Dart": _LINE_COMMENTS | _NESTED_COMMENTS | _SINGLE_QUOTED | _TRIPLE_QUOTED,
    "Go": _C | _BACKTICKS,
    "Groovy": _LINE_COMMENTS | _SINGLE_QUOTED | _TRIPLE_QUOTED,
    "Java": _C | _TRIPLE_QUOTED,
    "JavaScript": _ECMASCRIPT,
    "Kotlin": _C | _NESTED_COMMENTS | _TRIPLE_QUOTED,
    "Objective-C": _C,
    "PHP": _LINE_COMMENTS | _HASH_COMMENTS | _SINGLE_QUOTED,
    "Protocol Buffers": _LINE_COMMENTS | _SINGLE_QUOTED,
    "Rust": _LINE_COMMENTS | _NESTED_COMMENTS | _LIFETIMES | _RAW_RUST,
    "Scala": _LINE_COMMENTS | _NESTED_COMMENTS | _LIFETIMES | _TRIPLE_QUOTED,
    "Solidity": _LINE_COMMENTS | _SINGLE_QUOTED,
    "Swift": _LINE_COMMENTS | _NESTED_COMMENTS | _TRIPLE_QUOTED,
    "TypeScript": _ECMASCRIPT,
    "Zig": _LINE_COMMENTS | _CHARACTERS,
}
_PYTHON_FAMILY = frozenset({"Cython", "Python"})
_HASH_FAMILY = frozenset(
    {"CMake", "Dockerfile", "Elixir", "Makefile", "Nim", "Perl", "R", "Ruby", "Shell", "TOML", "Tcl", "YAML"}
)

LANGUAGES = frozenset(_C_FAMILY) | _PYTHON_FAMILY | _HASH_FAMILY
"""Those with a lexer."""


def classify(content: bytes, language: str) -> NDArray[np.uint8] | None:
    """[bytes] CODE, COMMENT or STRING, delimiters included; None if the language has no lexer."""
    data = np.frombuffer(content, np.uint8)
    classes = np.zeros(len(data), np.uint8)
    if language in _PYTHON_FAMILY:
        _python(data, classes)
    elif language in _HASH_FAMILY:
        _hash_comments(data, classes)
    elif language in _C_FAMILY:
        _c_family(data, classes, _C_FAMILY[language])
    else:
        return None
    return classes


_SPACE, _TAB, _NEWLINE, _RETURN, _FORM_FEED = (ord(character) for character in " \t\n\r\f")
_HASH, _BACKSLASH, _COLON, _SEMICOLON, _SLASH, _STAR = (ord(character) for character in "#\\:;/*")
_DOUBLE, _SINGLE, _BACKTICK, _AT, _DOLLAR = (ord(character) for character in "\"'`@$")
_OPEN_BRACE, _CLOSE_BRACE, _OPEN_SQUARE, _CLOSE_SQUARE = (ord(c) for c in "{}[]")
_OPEN_ROUND, _CLOSE_ROUND, _PLUS, _MINUS = (ord(c) for c in "()+-")
_IS_WORD = np.array([chr(byte).isalnum() or chr(byte) == "_" or byte >= 0x80 for byte in range(256)])
_OPENS = np.array([chr(byte) in "([{" for byte in range(256)])
_CLOSES = np.array([chr(byte) in ")]}" for byte in range(256)])
_IS_PREFIX = np.array([chr(byte) in "rbfutRBFUT" for byte in range(256)])
_IS_DOCSTRING_PREFIX = np.array([chr(byte) in "ruRU" for byte in range(256)])
_BEFORE_REGEX = np.array([chr(byte) in "(,=:[!&|?{};+-*%~^<>\0" for byte in range(256)])


def _packed(word: str) -> int:
    """A word of at most eight bytes as a number."""
    return int.from_bytes(word.encode(), "big")


_DEF, _CLASS, _ASYNC = map(_packed, ("def", "class", "async"))
_WORDS_BEFORE_REGEX = np.array(
    sorted(
        map(
            _packed,
            ("return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "yield"),
        )
    ),
    np.uint64,
)
_MAX_TEMPLATE_DEPTH = 64
_MAX_RAW_DELIMITER = 16  # bytes, by the C++ standard
_MAX_REGEX = 1024  # bytes; bounds the time spent on slashes that open none


@compiled
def _mark(classes: NDArray[np.uint8], start: int, stop: int, kind: int) -> int:
    """Give a stretch its class; returns where it ends."""
    for position in range(start, stop):
        classes[position] = kind
    return stop


@compiled
def _line_end(data: NDArray[np.uint8], position: int) -> int:
    """The line end at or after `position`."""
    while position < len(data) and data[position] != _NEWLINE and data[position] != _RETURN:
        position += 1
    return position


@compiled
def _is_tripled(data: NDArray[np.uint8], position: int) -> bool:
    """Whether the byte here stands three times."""
    byte = data[position]
    return position + 2 < len(data) and data[position + 1] == byte and data[position + 2] == byte


@compiled
def _after_string(data: NDArray[np.uint8], start: int) -> int:
    """Behind the quote that closes the one at `start`, or at the end of the line."""
    quote = data[start]
    position = start + 1
    while position < len(data):
        byte = data[position]
        if byte == quote:
            return position + 1
        if byte == _BACKSLASH:
            position += 1
        elif byte == _NEWLINE:
            return position
        position += 1
    return len(data)


@compiled
def _after_triple(data: NDArray[np.uint8], start: int) -> int:
    """Behind the three quotes that close those at `start`."""
    quote = data[start]
    position = start + 3
    while position < len(data):
        byte = data[position]
        if byte == quote and _is_tripled(data, position):
            return position + 3
        position += 2 if byte == _BACKSLASH else 1
    return len(data)


@compiled
def _python(data: NDArray[np.uint8], classes: NDArray[np.uint8]) -> None:
    depth = 0  # of open brackets
    at_start = True  # of a logical line
    is_header = False  # the logical line began with def or class
    is_body = True  # the logical line is the first of a module, class or function
    last = 0  # byte of code
    position = 0
    while position < len(data):
        byte = data[position]
        if byte in (_SPACE, _TAB, _FORM_FEED):
            position += 1
        elif byte in (_NEWLINE, _RETURN):
            if depth == 0 and not at_start:
                is_body = is_header and last == _COLON
                at_start = True
                is_header = False
            position += 1
        elif byte == _HASH:
            position = _mark(classes, position, _line_end(data, position), COMMENT)
        elif byte == _BACKSLASH:
            position += 2
        elif byte in (_DOUBLE, _SINGLE) or _IS_WORD[byte]:
            start = position
            word = np.uint64(0)
            may_be_prefix = may_be_docstring = True
            while position < len(data) and _IS_WORD[data[position]]:
                word = (word << np.uint64(8)) | np.uint64(data[position])
                may_be_prefix &= _IS_PREFIX[data[position]]
                may_be_docstring &= _IS_DOCSTRING_PREFIX[data[position]]
                position += 1
            size = position - start
            if position < len(data) and data[position] in (_DOUBLE, _SINGLE) and may_be_prefix and size <= 2:
                tripled = _is_tripled(data, position)
                position = _after_triple(data, position) if tripled else _after_string(data, position)
                is_docstring = at_start and is_body and may_be_docstring and _ends_statement(data, position)
                _mark(classes, start, position, COMMENT if is_docstring else STRING)
                at_start = False
            elif at_start and size <= 5:
                is_header |= word in (_DEF, _CLASS)
                at_start = word == _ASYNC
            else:
                at_start = False
            last = byte
        else:
            depth = max(0, depth + _OPENS[byte] - _CLOSES[byte])
            at_start = False
            last = byte
            position += 1


@compiled
def _ends_statement(data: NDArray[np.uint8], position: int) -> bool:
    while position < len(data) and data[position] in (_SPACE, _TAB):
        position += 1
    return position >= len(data) or data[position] in (_NEWLINE, _RETURN, _HASH, _SEMICOLON)


@compiled
def _hash_comments(data: NDArray[np.uint8], classes: NDArray[np.uint8]) -> None:
    """`#` opens a comment where a line or a word begins; strings end with their line."""
    before = _NEWLINE
    position = 0
    while position < len(data):
        byte = data[position]
        start = position
        position += 1
        if byte == _HASH and before in (_NEWLINE, _RETURN, _SPACE, _TAB, _SEMICOLON):
            position = _mark(classes, start, _line_end(data, start), COMMENT)
        elif byte == _BACKSLASH:
            position += 1
        elif byte == _DOUBLE or (byte == _SINGLE and not _IS_WORD[before]):
            position = _mark(classes, start, _after_string(data, start), STRING)
        before = byte


@compiled
def _c_family(data: NDArray[np.uint8], classes: NDArray[np.uint8], syntax: int) -> None:
    templates = np.empty(_MAX_TEMPLATE_DEPTH, np.int64)  # the depth of braces around each ${ that is open
    num_templates = depth = 0
    last = 0  # byte of code that is no white space
    word, size = np.uint64(0), 0  # the word that ends at `last`, if one does
    position = 0
    while position < len(data):
        byte = data[position]
        start = position
        follower = data[position + 1] if position + 1 < len(data) else np.uint8(0)
        if _IS_WORD[byte]:
            word, size = np.uint64(0), 0
            while position < len(data) and _IS_WORD[data[position]]:
                word = (word << np.uint64(8)) | np.uint64(data[position])
                size += 1
                position += 1
            last = data[position - 1]
            if position < len(data) and data[position] in (_DOUBLE, _HASH):
                stop = _after_raw(data, position, word, size, syntax)
                if stop > position:
                    position = _mark(classes, start, stop, STRING)
                    last, size = _DOUBLE, 0
            continue
        if byte in (_SPACE, _TAB, _NEWLINE, _RETURN, _FORM_FEED):
            position += 1
            continue
        if byte == _SLASH and follower == _STAR:
            position = _after_comment(data, position, syntax & _NESTED_COMMENTS != 0)
            _mark(classes, start, position, COMMENT)
            continue
        if (byte == _SLASH and follower == _SLASH and syntax & _LINE_COMMENTS) or (
            byte == _HASH and follower != _OPEN_SQUARE and syntax & _HASH_COMMENTS
        ):
            position = _mark(classes, start, _line_end(data, position), COMMENT)
            continue
        position += 1
        if byte == _DOUBLE or (byte == _SINGLE and syntax & _SINGLE_QUOTED):
            if syntax & _TRIPLE_QUOTED and _is_tripled(data, start):
                position = _after_triple(data, start)
            elif syntax & _VERBATIM and last == _AT:
                position = _after_verbatim(data, start)
            else:
                position = _after_string(data, start)
            _mark(classes, start, position, STRING)
        elif byte == _SINGLE:
            position = _after_character(data, start, size > 0 and _IS_WORD[data[max(start - 1, 0)]], syntax)
            _mark(classes, start, position, STRING if position > start + 1 else CODE)
        elif byte == _BACKTICK and syntax & _BACKTICKS:
            while position < len(data) and data[position] != _BACKTICK:
                position += 1
            position = _mark(classes, start, min(position + 1, len(data)), STRING)
        elif syntax & _TEMPLATES and (
            byte == _BACKTICK
            or (byte == _CLOSE_BRACE and num_templates > 0 and templates[num_templates - 1] == depth)
        ):
            num_templates -= byte == _CLOSE_BRACE
            position, opens = _after_template(data, start)
            _mark(classes, start, position, STRING)
            if opens and num_templates < _MAX_TEMPLATE_DEPTH:
                templates[num_templates] = depth
                num_templates += 1
            byte = _OPEN_BRACE if opens else _BACKTICK
        elif byte == _OPEN_BRACE:
            depth += 1
        elif byte == _CLOSE_BRACE:
            depth -= 1
        elif byte in (_PLUS, _MINUS) and data[max(start - 1, 0)] == byte:
            byte = _CLOSE_ROUND  # behind x++ a slash divides, as behind (x)
        elif (
            byte == _SLASH
            and syntax & _REGEXES
            and (_BEFORE_REGEX[last] or (0 < size <= 8 and _is_in(_WORDS_BEFORE_REGEX, word)))
        ):
            position = _after_regex(data, start)
        last, size = byte, 0


@compiled
def _is_in(values: NDArray[np.uint64], value: np.uint64) -> bool:
    return bool((values == value).any())


@compiled
def _after_comment(data: NDArray[np.uint8], start: int, nests: bool) -> int:
    """Behind the comment that `/*` at `start` opens."""
    depth = 1
    position = start + 2
    while position + 1 < len(data):
        if data[position] == _STAR and data[position + 1] == _SLASH:
            depth -= 1
            position += 2
            if depth == 0:
                return position
        elif nests and data[position] == _SLASH and data[position + 1] == _STAR:
            depth += 1
            position += 2
        else:
            position += 1
    return len(data)


@compiled
def _after_verbatim(data: NDArray[np.uint8], start: int) -> int:
    position = start + 1
    while position < len(data):
        if data[position] == _DOUBLE:
            if position + 1 >= len(data) or data[position + 1] != _DOUBLE:
                return position + 1
            position += 1
        position += 1
    return len(data)


@compiled
def _after_character(data: NDArray[np.uint8], start: int, after_word: bool, syntax: int) -> int:
    """Behind a character literal; behind the quote alone where it is none, as in 1'000 or &'a str."""
    if syntax & _LIFETIMES:
        position = start + 1
        if position < len(data) and data[position] == _BACKSLASH:
            return _after_string(data, start)
        position += 1
        while position < len(data) and data[position] & 0xC0 == 0x80:
            position += 1
        return position + 1 if position < len(data) and data[position] == _SINGLE else start + 1
    if not syntax & _CHARACTERS or (after_word and data[start - 1] not in (ord("L"), ord("u"), ord("U"))):
        return start + 1
    return _after_string(data, start)


@compiled
def _after_template(data: NDArray[np.uint8], start: int) -> tuple[int, bool]:
    """Behind the ` that closes a template, or behind the next ${ of it, and which of the two it is."""
    position = start + 1
    while position < len(data):
        byte = data[position]
        if byte == _BACKTICK:
            return position + 1, False
        if byte == _DOLLAR and position + 1 < len(data) and data[position + 1] == _OPEN_BRACE:
            return position + 2, True
        position += 2 if byte == _BACKSLASH else 1
    return len(data), False


@compiled
def _after_regex(data: NDArray[np.uint8], start: int) -> int:
    """Behind the regular expression at `start`; behind the slash alone if it is not closed on its line."""
    in_set = False
    position = start + 1
    while position < min(len(data), start + _MAX_REGEX):
        byte = data[position]
        if byte in (_NEWLINE, _RETURN):
            break
        if byte == _BACKSLASH:
            position += 1
        elif byte == _OPEN_SQUARE:
            in_set = True
        elif byte == _CLOSE_SQUARE:
            in_set = False
        elif byte == _SLASH and not in_set:
            return position + 1
        position += 1
    return start + 1


@compiled
def _after_raw(data: NDArray[np.uint8], start: int, word: np.uint64, size: int, syntax: int) -> int:
    """Behind a raw string whose prefix ends at `start`, or `start` if there is none."""
    letter = word & np.uint64(0xFF)
    if syntax & _RAW_CPP and data[start] == _DOUBLE and letter == ord("R") and size <= 3:
        return _after_raw_cpp(data, start)
    if syntax & _RAW_RUST and letter == ord("r") and size <= 2:
        return _after_raw_rust(data, start)
    return start


@compiled
def _after_raw_cpp(data: NDArray[np.uint8], start: int) -> int:
    """Of `"x(...)x"`."""
    opening = start + 1
    while opening < len(data) and data[opening] != _OPEN_ROUND:
        opening += 1
        if opening - start > _MAX_RAW_DELIMITER + 1:
            return start
    size = opening - start - 1
    for position in range(opening + 1, len(data) - size - 1):
        if data[position] == _CLOSE_ROUND and data[position + size + 1] == _DOUBLE:
            same = 0
            while same < size and data[position + 1 + same] == data[start + 1 + same]:
                same += 1
            if same == size:
                return position + size + 2
    return len(data)


@compiled
def _after_raw_rust(data: NDArray[np.uint8], start: int) -> int:
    """Of `"..."` or `#"..."#`, with any number of `#`."""
    position = start
    while position < len(data) and data[position] == _HASH:
        position += 1
    hashes = position - start
    if position >= len(data) or data[position] != _DOUBLE:
        return start
    run = -1  # of # since a quote; -1: no quote before
    position += 1
    while position < len(data):
        byte = data[position]
        run = 0 if byte == _DOUBLE else run + 1 if byte == _HASH and run >= 0 else -1
        position += 1
        if run == hashes:
            return position
    return len(data)
