"""The form in which documents and benchmarks are compared: what formatting changes is gone.

Letters are lower case, both kinds of quotes are one, the leaders of comments (`//`, `#`, `*` at the start
of a line) are white space, and white space is left only between two words, as one space. So a copy is
found under other indentation, behind a formatter, in a comment, or as a docstring of another language.
"""

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

_SPACES = b" \t\n\r\f\v"
_IS_SPACE = np.array([byte in _SPACES for byte in range(256)])
_IS_LEADER = np.array([byte in b"/#*" for byte in range(256)])
IS_WORD = np.array([chr(byte).isalnum() or chr(byte) == "_" or byte >= 0x80 for byte in range(256)])
"""Letters, digits, `_` and the bytes of every character that is not ASCII."""
_FOLD = np.frombuffer(bytes(range(256)).lower().replace(b"'", b'"'), np.uint8)

_NO_OFFSETS = np.empty(0, np.int64)
_NEWLINE, _RETURN, _SPACE = (ord(character) for character in "\n\r ")


def normalise(content: bytes) -> bytes:
    """The normal form of a UTF-8 text."""
    normal = np.empty(len(content), np.uint8)
    return normal[: _normalise(np.frombuffer(content, np.uint8), normal, _NO_OFFSETS)].tobytes()


def offsets_in(content: bytes) -> NDArray[np.int64]:
    """[bytes of the normal form] where in `content` each of its bytes comes from."""
    normal, offsets = np.empty(len(content), np.uint8), np.empty(len(content), np.int64)
    return offsets[: _normalise(np.frombuffer(content, np.uint8), normal, offsets)]


def count_words(normal: bytes) -> int:
    """How many words a text in normal form has."""
    is_word = IS_WORD[np.frombuffer(b" " + normal, np.uint8)]
    return int(np.count_nonzero(is_word[1:] & ~is_word[:-1]))


@compiled
def _normalise(data: NDArray[np.uint8], normal: NDArray[np.uint8], offsets: NDArray[np.int64]) -> int:
    """Fill `normal`, and `offsets` unless it is empty; returns the length."""
    size = 0
    after_space = False
    in_margin = True  # nothing but white space and leaders since the line began
    last_is_word = False
    for position in range(len(data)):
        byte = data[position]
        if _IS_SPACE[byte]:
            after_space = True
            if byte in (_NEWLINE, _RETURN):
                in_margin = True
            continue
        if in_margin and _IS_LEADER[byte]:
            after_space = True
            continue
        in_margin = False
        is_word = IS_WORD[byte]
        if after_space and is_word and last_is_word:
            normal[size] = _SPACE
            if len(offsets):
                offsets[size] = position - 1
            size += 1
        normal[size] = _FOLD[byte]
        if len(offsets):
            offsets[size] = position
        size += 1
        after_space = False
        last_is_word = is_word
    return size
