"""The licence that the head of a source file states: an SPDX line, or a notice in words."""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.licences.catalogue import UNKNOWN
from derailleur.corpus.licences.expression import All, Expression, Leaf, all_of, parse
from derailleur.corpus.licences.notices import stated_licence
from derailleur.corpus.licences.words import phrase_text

HEAD_BYTES = 4096
"""Notices stand at the top; further down a licence is mostly something that the program talks about."""

_SPDX = b"spdx-license-identifier:"
_LINE_BYTES = 1000
_COMMENT_END = re.compile(
    r"\s*(?:\*/|-->|--%>|\*\)|#\}|\}\}|\*+|#+|\"\"\"|'''|\"[,;)]*|\\n.*)\s*$|\s+(?:#|//|/\*).*$"
)
_BEFORE_BYTES, _SHORT_BYTES, _TEXT_BYTES = 120, 160, 2000  # of a notice before and after a cue
# Words without which no notice does, and how much of one may follow them. One pass finds them all in a
# register of eight bytes: "gpl", "licen", "public domain", "permission is", "redistribution and use",
# "confidential", "unauthorized".
_CUES = {
    b"gpl": _SHORT_BYTES,
    b"licen": _SHORT_BYTES,
    b"public d": _SHORT_BYTES,
    b"ission i": _TEXT_BYTES,
    b"on and u": _TEXT_BYTES,
    b"fidentia": _SHORT_BYTES,
    b"nauthori": _SHORT_BYTES,
}
_KEYS = np.array([int.from_bytes(cue, "big") for cue in _CUES], np.uint64)
_MASKS = np.array([(1 << 8 * len(cue)) - 1 for cue in _CUES], np.uint64)
_AFTER_BYTES = np.array(list(_CUES.values()), np.int64)
_LAST_TWO = np.isin(np.arange(1 << 16), _KEYS & np.uint64(0xFFFF))


def header_licences(data: bytes) -> tuple[str, ...]:
    """The SPDX expressions that a file's head states; all of them apply. Empty where it states none.

    An SPDX line outranks words. One that cannot be parsed gives `LicenseRef-unknown`.
    """
    head = data[:HEAD_BYTES]
    begin, end = _find_notice(np.frombuffer(head, np.uint8), _LAST_TWO, _KEYS, _MASKS, _AFTER_BYTES)
    if end == 0:
        return ()
    lower = head.lower()
    if _SPDX in lower:
        return _parts(_spdx_lines(head, lower))
    blank = head.find(b"\n\n", max(end - _SHORT_BYTES, begin), end)
    stated = _stated(phrase_text(head[begin : end if blank < 0 else blank]))
    return () if stated is None else _parts([stated])


@lru_cache(maxsize=1024)
def _stated(words: bytes) -> Expression | None:
    """The files of a repository mostly have the same notice."""
    return stated_licence(words)


def side_file_licences(data: bytes) -> tuple[str, ...]:
    """The same for a `NAME.license` file, which REUSE puts beside a file that takes no comment."""
    head = data[:HEAD_BYTES]
    return _parts(_spdx_lines(head, head.lower()))


def _spdx_lines(head: bytes, lower: bytes) -> list[Expression]:
    """Every SPDX line, snippets' own ones (REUSE) included."""
    stated: list[Expression] = []
    start = lower.find(_SPDX)
    while start >= 0:
        start += len(_SPDX)
        line = head[start : start + _LINE_BYTES].splitlines()[:1]
        text = b"".join(line).decode("utf-8", "replace")
        stated.append(parse(_COMMENT_END.sub("", text).strip()) or Leaf(UNKNOWN))
        start = lower.find(_SPDX, start)
    return stated


def _parts(stated: list[Expression]) -> tuple[str, ...]:
    if not stated:
        return ()
    joined = all_of(stated)
    parts = joined.parts if isinstance(joined, All) else (joined,)
    return tuple(map(str, parts))


@compiled
def _find_notice(
    data: NDArray[np.uint8],
    last_two: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    masks: NDArray[np.uint64],
    after: NDArray[np.int64],
) -> tuple[int, int]:
    """The stretch that a notice may take up; empty where there is no cue."""
    begin = end = 0
    register = np.uint64(0)
    for position in range(len(data)):
        lower = data[position] | np.uint8(32)  # letters; what else it changes stands in no cue
        register = (register << np.uint64(8)) | np.uint64(lower)
        if last_two[register & np.uint64(0xFFFF)]:
            for cue in range(len(keys)):
                if register & masks[cue] == keys[cue]:
                    if end == 0:
                        begin = max(position - _BEFORE_BYTES, 0)
                    end = max(end, position + after[cue])
    return begin, end
