"""The licence that the head of a source file states: an SPDX line, or a notice in words."""

import re

from derailleur.corpus.licences.catalogue import UNKNOWN
from derailleur.corpus.licences.expression import All, Expression, Leaf, all_of, parse
from derailleur.corpus.licences.notices import stated_licence
from derailleur.corpus.licences.words import phrase_text

HEAD_BYTES = 4096
"""Notices stand at the top; further down a licence is mostly something that the program talks about."""

_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]*([^\r\n]{1,1000})", re.IGNORECASE)
_COMMENT_END = re.compile(
    r"\s*(?:\*/|-->|--%>|\*\)|#\}|\}\}|\*+|#+|\"\"\"|'''|\"[,;)]*|\\n.*)\s*$|\s+(?:#|//|/\*).*$"
)
_CUES = (
    b"licen",
    b"public domain",
    b"gpl",
    b"permission is hereby",
    b"redistribution and use",
    b"prohibited",
    b"proprietary",
    b"unauthori",
)


def header_licences(data: bytes) -> tuple[str, ...]:
    """The SPDX expressions that a file's head states; all of them apply. Empty where it states none.

    An SPDX line outranks words. One that cannot be parsed gives `LicenseRef-unknown`.
    """
    head = data[:HEAD_BYTES]
    lower = head.lower()
    if b"spdx-license-identifier:" in lower:
        return _parts(_spdx_lines(head))
    if not any(cue in lower for cue in _CUES):
        return ()
    stated = stated_licence(phrase_text(head))
    return () if stated is None else _parts([stated])


def side_file_licences(data: bytes) -> tuple[str, ...]:
    """The same for a `NAME.license` file, which REUSE puts beside a file that takes no comment."""
    return _parts(_spdx_lines(data[:HEAD_BYTES]))


def _spdx_lines(head: bytes) -> list[Expression]:
    """Every SPDX line, snippets' own ones (REUSE) included."""
    texts = [found.decode("utf-8", "replace") for found in _SPDX.findall(head)]
    return [parse(_COMMENT_END.sub("", text).strip()) or Leaf(UNKNOWN) for text in texts]


def _parts(stated: list[Expression]) -> tuple[str, ...]:
    if not stated:
        return ()
    joined = all_of(stated)
    parts = joined.parts if isinstance(joined, All) else (joined,)
    return tuple(map(str, parts))
