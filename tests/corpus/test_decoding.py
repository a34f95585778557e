"""What is text, in which encoding it was, and what is quarantined."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.decoding import EncodingConfig, Text, decode
from derailleur.corpus.ledger import Verdict

RUSSIAN = "# Этот человек наполняет меня надеждой. Ну, и некоторыми другими глубокими чувствами.\nx = 1\n"
JAPANESE = "# これはテストのための文字列です。日本語の注釈が続きます。\nx = 1\n"
CHINESE = "# 上德不德是以有德下德不失德是以无德。这是一个测试文件的说明\nx = 1\n"
TRADITIONAL = "# 老子道德經三十八章上德不德是以有德。這是一個測試檔案的說明\nx = 1\n"
KOREAN = "# 이것은 시험을 위한 문자열입니다. 한국어 설명이 이어집니다.\nx = 1\n"
POLISH = "# Zażółć gęślą jaźń, wśród nocnej ciszy głos się rozchodzi\nx = 1\n"
GREEK = "# Αυτό είναι ένα κείμενο για τη δοκιμή του προγράμματος\nx = 1\n"
FRENCH = "# Le numéro à vérifier ; l'élève a été reçu où ça s'arrête\nx = 1\n"


def text_of(data: bytes, path: str = "a.py", **keys: bool) -> Text | Verdict:
    return decode(data, path=path, config=EncodingConfig.model_validate(keys))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"x = 1\r\ny = 2\r\n", b"x = 1\r\ny = 2\r\n"),
        (b"\xef\xbb\xbfx = 1\n", b"x = 1\n"),
        ("größe = '€𝄞'\n".encode(), "größe = '€𝄞'\n".encode()),
    ],
)
def test_utf8_keeps_its_bytes_but_for_the_byte_order_mark(raw: bytes, text: bytes) -> None:
    assert text_of(raw) == Text(text, "utf-8")


@given(
    st.text(min_size=1).filter(
        lambda text: text.strip() and "\0" not in text and not text.startswith("\ufeff")
    )
)
def test_any_text_in_utf8_is_left_as_it_is(text: str) -> None:
    expected = text.encode()
    if expected.strip():
        assert text_of(expected) == Text(expected, "utf-8")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_with_a_mark_and_without(encoding: str) -> None:
    source = "def größe(π: float) -> str:\r\n    return 'Сумма 𝄞'\r\n"
    mark = getattr(
        codecs, f"BOM_{encoding.upper().replace('-LE', '_LE').replace('-BE', '_BE').replace('-', '')}"
    )
    expected = Text(source.encode(), encoding)
    assert text_of(mark + source.encode(encoding)) == expected
    assert text_of(source.encode(encoding)) == expected


@pytest.mark.parametrize(
    ("raw", "action", "reason", "detail"),
    [
        (b"", "dropped", "empty", ""),
        (b"\xef\xbb\xbf \n\t\n", "dropped", "empty", ""),
        (codecs.BOM_UTF16_LE, "dropped", "empty", ""),
        (b"ab\0c", "quarantined", "binary", "NUL at byte 2"),
        (b"\x7fELF\x02\x01\x01" + bytes(200), "quarantined", "binary", "NUL at byte 7"),
        (codecs.BOM_UTF16_LE + b"x", "quarantined", "not_utf8", "a byte order mark, but not utf-16-le"),
        (codecs.BOM_UTF8 + b"\xff", "quarantined", "not_utf8", "a byte order mark, but not utf-8"),
        (b"a\xed\xa0\x80", "quarantined", "not_utf8", "0xed at byte 1"),  # half a surrogate pair
        (b"cut \xe2\x82", "quarantined", "not_utf8", "0xe2 at byte 4"),
        ("# größe, naïve, œuvre".encode() + b" \xe9t\xe9", "quarantined", "not_utf8", "0xe9 at byte 26"),
        (bytes(range(1, 256)), "quarantined", "not_utf8", "0x80 at byte 127"),
    ],
)
def test_what_is_no_text_gets_a_reason(raw: bytes, action: str, reason: str, detail: str) -> None:
    assert text_of(raw) == Verdict(action, reason, detail)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "encoding"),
    [
        ("# Author: José Müller, © 2003 Großmann – “quoted”\nx = 1\n", "cp1252"),
        ("# é\n", "latin-1"),
        (FRENCH, "latin-1"),
        (FRENCH, "cp437"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp866"),
        (RUSSIAN, "iso8859-5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb2312"),
        (TRADITIONAL, "big5"),
        (KOREAN, "euc_kr"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859-2"),
        (GREEK, "cp1253"),
    ],
)
def test_legacy_encodings_are_known_by_their_words(source: str, encoding: str) -> None:
    found = text_of(source.encode(encoding))
    assert isinstance(found, Text)
    assert found.data.decode() == source
    refused = text_of(source.encode(encoding), legacy=False)
    assert isinstance(refused, Verdict) and refused.reason == "not_utf8"


@pytest.mark.parametrize("source", ["# дом\n", "# ő\n", "# 日本\n"])
def test_a_few_letters_are_not_enough_to_be_sure(source: str) -> None:
    for encoding in ("cp866", "koi8-r", "cp1250", "shift_jis"):
        try:
            data = source.encode(encoding)
        except UnicodeEncodeError:
            continue
        found = text_of(data)
        assert isinstance(found, Verdict) or found.encoding in ("cp1252", "utf-8"), encoding


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("a.py", "# -*- coding: {} -*-\n"),
        ("a.py", "#!/usr/bin/python\n# vim: set fileencoding={} :\n"),
        ("a.el", ";; -*- coding: {}; -*-\n"),
        ("a.xml", '<?xml version="1.0" encoding="{}"?>\n'),
        ("a.html", '<html><head><META http-equiv="Content-Type" content="text/html; charset={}">\n'),
        ("a.html", "<meta charset={}>\n"),
        ("a.css", '@charset "{}";\n'),
    ],
)
def test_a_declaration_is_believed_where_the_bytes_allow_it(path: str, head: str) -> None:
    source = head.format("koi8-r") + "x = 'дом'\n"
    assert text_of(source.encode("koi8-r"), path) == Text(source.encode(), "koi8-r")
    undeclared = text_of(source.encode("koi8-r"), path, declared=False, legacy=False)
    assert isinstance(undeclared, Verdict)
    wrong = head.format("euc-jp") + "x = 'дом'\n"  # not valid in what it declares
    assert isinstance(text_of(wrong.encode("koi8-r"), path, legacy=False), Verdict)
    assert isinstance(text_of(head.format("rot13").encode() + b"\x81", path), Verdict)  # no encoding of text


def test_utf8_is_utf8_whatever_it_declares() -> None:
    source = "# -*- coding: latin-1 -*-\nx = 'é'\n".encode()
    assert text_of(source) == Text(source, "utf-8")


@given(st.binary(max_size=300))
def test_any_bytes_give_text_or_a_verdict(data: bytes) -> None:
    for path in ("a.py", "a.html", "a.css"):
        found = text_of(data, path)
        assert found == text_of(data, path)
        if isinstance(found, Text):
            assert "\0" not in found.data.decode()
        else:
            assert found.reason in {"empty", "binary", "not_utf8"}
