"""What is text, and what is quarantined."""

import hashlib
import os
from pathlib import Path

import pytest

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.reading import Content, read_file
from derailleur.corpus.sources import SourceFile


def read(path: Path, *, max_bytes: int = 1000) -> Content | Verdict:
    file = SourceFile(
        str(path), repository="r", path=path.name, num_bytes=0, split="train", language="Python", verdict=None
    )
    return read_file(file, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"x = 1\r\ny = 2\r\n", b"x = 1\r\ny = 2\r\n"),
        (b"\xef\xbb\xbfx = 1\n", b"x = 1\n"),
        ("größe = '€𝄞'\n".encode(), "größe = '€𝄞'\n".encode()),
    ],
)
def test_text_keeps_its_bytes_but_for_the_byte_order_mark(tmp_path: Path, raw: bytes, text: bytes) -> None:
    (tmp_path / "a.py").write_bytes(raw)
    assert read(tmp_path / "a.py") == Content(text, hashlib.sha256(raw).digest())


@pytest.mark.parametrize(
    ("raw", "action", "reason", "detail"),
    [
        (b"", "dropped", "empty", ""),
        (b"\xef\xbb\xbf \n\t\n", "dropped", "empty", ""),
        (b"ab\0c", "quarantined", "binary", "NUL at byte 2"),
        ("x = 1".encode("utf-16"), "quarantined", "binary", "NUL at byte 3"),
        ("# é".encode("latin-1"), "quarantined", "not_utf8", "0xe9 at byte 2"),
        (b"a\xed\xa0\x80", "quarantined", "not_utf8", "0xed at byte 1"),  # half a surrogate pair
        (b"cut \xe2\x82", "quarantined", "not_utf8", "0xe2 at byte 4"),
        (b"x" * 1001, "dropped", "too_large", "over 1000 bytes, grew while it was read"),
    ],
)
def test_what_is_no_text_gets_a_reason(
    tmp_path: Path, raw: bytes, action: str, reason: str, detail: str
) -> None:
    (tmp_path / "a.py").write_bytes(raw)
    verdict = read(tmp_path / "a.py")
    assert isinstance(verdict, Verdict)
    assert (verdict.action, verdict.reason, verdict.detail) == (action, reason, detail)


def test_a_file_that_became_something_else_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text("x")
    (tmp_path / "link.py").symlink_to(tmp_path / "real.py")
    os.mkfifo(tmp_path / "pipe.py")  # must not wait for a writer
    for name in ("link.py", "pipe.py", "missing.py"):
        verdict = read(tmp_path / name)
        assert isinstance(verdict, Verdict)
        assert (verdict.action, verdict.reason) == ("quarantined", "unreadable"), name
