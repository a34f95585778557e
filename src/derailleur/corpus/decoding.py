"""Decides whether a file is text, and in which encoding; all text leaves here as UTF-8."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.ledger import Verdict
from derailleur.corpus.legacy_encodings import legacy_encoding

_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}

_HEAD_BYTES = 1024
"""Within so many bytes a file has to declare its encoding (HTML Standard, section 4.2.5.4)."""

_COOKIE = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*[^\sA-Za-z0-9][^\n]*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_XML = re.compile(rb"""\A\s*<\?xml\s[^>]*?encoding\s*=\s*["']([-\w.]+)["']""")
_HTML = re.compile(rb"""<meta\s[^>]*?charset\s*=\s*["']?\s*([-\w.]+)""", re.IGNORECASE)
_CSS = re.compile(rb'\A@charset "([-\w.]+)";')

_DECLARABLE: Mapping[str, str] = {  # what Python calls it: what it is read as
    "iso8859-1": "cp1252",  # its other half is no text, and so is what claims to be ASCII (WHATWG Encoding)
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
} | {
    name: name
    for name in (
        *(f"cp{number}" for number in (437, 850, 852, 866, 874, 932, 949, 950, *range(1250, 1259))),
        *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
        *("big5", "big5hkscs", "euc_jp", "gb18030", "johab", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic"),
    )
}

_CONTROL = re.compile("[\0\x80-\x84\x86-\x9f\ufffe\uffff]")
"""What no text has, but a text in a wrong encoding: NULs, control characters, half a byte order mark."""

_ASCII_SHARE = 0.5
"""Spaces, names and punctuation make more than half of every source file ASCII."""

_MARKUP = frozenset(
    {".htm", ".html", ".xhtml", ".xml", ".xsl", ".xslt", ".svg", ".vue", ".php", ".jsp", ".asp"}
)


class EncodingConfig(Config):
    """Which encodings besides those of Unicode are accepted."""

    declared: bool = Field(
        True, description="believe a file that declares another encoding and is valid in it"
    )
    legacy: bool = Field(True, description="recognise encodings of old by a file's words")


@dataclass(frozen=True, slots=True)
class Text:
    """A text file.

    Attributes:
        data: UTF-8 without a byte order mark; line ends as they were.
        encoding: what it was in, by its name in Python.
    """

    data: bytes
    encoding: str


def decode(data: bytes, *, path: str, config: EncodingConfig) -> Text | Verdict:
    """The text of a file, or why it is none.

    Args:
        path: its suffix says how the file would declare an encoding.
    """
    text = _text(data, path, config)
    if isinstance(text, Text) and not text.data.strip():
        return Verdict("dropped", "empty")
    return text


def _text(data: bytes, path: str, config: EncodingConfig) -> Text | Verdict:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            marked = _converted(data[len(mark) :], encoding)
            return marked or Verdict("quarantined", "not_utf8", f"a byte order mark, but not {encoding}")
    if (position := data.find(b"\0")) >= 0:
        wide = _wide(data)
        return (wide and _converted(data, wide)) or Verdict(
            "quarantined", "binary", f"NUL at byte {position}"
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _foreign(data, path, config) or _not_utf8(data, error)
    return Text(data, "utf-8")


def _foreign(data: bytes, path: str, config: EncodingConfig) -> Text | None:
    """The text of a file that is not UTF-8."""
    encoding = _declared(data, path) if config.declared else None
    if encoding and (text := _converted(data, encoding)):
        return text
    encoding = legacy_encoding(data) if config.legacy else None
    return _converted(data, encoding) if encoding else None


def _declared(data: bytes, path: str) -> str | None:
    head = data[:_HEAD_BYTES]
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _MARKUP:
        match = _XML.search(head) or _HTML.search(head)
    else:
        match = (_CSS if suffix == ".css" else _COOKIE).search(head)
    if not match:
        return None
    try:
        return _DECLARABLE.get(codecs.lookup(match[1].decode()).name)
    except (LookupError, ValueError):
        return None


def _converted(data: bytes, encoding: str) -> Text | None:
    """Text without NULs and control characters that only a wrong encoding gives."""
    try:
        text = data.decode(encoding)
        if encoding == "utf-8":
            return None if b"\0" in data else Text(data, encoding)
        return None if _CONTROL.search(text) else Text(text.encode(), encoding)
    except UnicodeError:
        return None


def _wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: of text that is mostly ASCII, every other byte is NUL."""
    nuls = [data[place::4].count(0) for place in range(4)]
    quarter = len(data) / 4
    for encoding, (first, second, third, fourth) in (("utf-32-le", nuls), ("utf-32-be", nuls[::-1])):
        if fourth == quarter and third > 0.9 * quarter and second > _ASCII_SHARE * quarter and not first:
            return encoding
    even, odd = nuls[0] + nuls[2], nuls[1] + nuls[3]
    if len(data) % 2 or max(even, odd) <= _ASCII_SHARE * len(data) / 2:
        return None
    return "utf-16-le" if even == 0 else "utf-16-be" if odd == 0 else None


def _not_utf8(data: bytes, error: UnicodeDecodeError) -> Verdict:
    return Verdict("quarantined", "not_utf8", f"0x{data[error.start]:02x} at byte {error.start}")
