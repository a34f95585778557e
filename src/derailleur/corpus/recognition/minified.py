"""Scripts and style sheets that a minifier wrote: long lines with hardly a blank in them."""

import re

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

_LANGUAGES = frozenset({"CSS", "JavaScript", "TypeScript"})

_NAME = re.compile(r"[.-]min(?:\.\w+)?\.(?:[cm]?js|css)$")

_LONG_LINE = 500  # bytes; written lines are shorter
_MIN_SHARE = 0.5  # of a file's bytes in long lines: tables of data in written code do not reach that
_MAX_BLANK_SHARE = 0.12  # of the bytes of long lines; written code has about 0.2


def minified_sign(path: str, data: bytes, language: str | None) -> str:
    """What shows that a file was minified, or nothing."""
    if language not in _LANGUAGES:
        return ""
    if _NAME.search(path):
        return "name"
    in_long, blanks = _long_lines(np.frombuffer(data, np.uint8))
    if in_long <= _MIN_SHARE * len(data) or blanks > _MAX_BLANK_SHARE * in_long:
        return ""
    return f"{in_long} of {len(data)} bytes in long lines, {blanks} blank"


@compiled
def _long_lines(data: NDArray[np.uint8]) -> tuple[int, int]:
    """The bytes of lines of `_LONG_LINE` or more, and those of them that are blanks."""
    in_long = blanks_in_long = length = blanks = 0
    for byte in data:
        if byte == 10:
            if length >= _LONG_LINE:
                in_long += length
                blanks_in_long += blanks
            length = blanks = 0
        else:
            length += 1
            blanks += (byte == 32) | (byte == 9)
    if length >= _LONG_LINE:
        in_long += length
        blanks_in_long += blanks
    return in_long, blanks_in_long
