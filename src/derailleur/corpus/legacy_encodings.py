"""Decides which encoding of old a text is in, where its words leave no doubt.

A text is decoded in every way that is possible at all, and each way is judged by the share of its non-ASCII
words that could be words: letters of one alphabet, as one language has them, with capitals only at the
start or throughout. Bytes read in a wrong way give words that mix scripts, signs inside words, or capitals
in the middle of them. Only files that are not UTF-8 get here, so plain Python is fast enough.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice

_SURE = 0.95
"""Least share of plausible words; a comment may hold a drawing or a typing error."""

_MOST_WORDS = 2000

_MOST_UTF8 = 0.5
"""Above this share of bytes in valid UTF-8 sequences, a file is damaged UTF-8 and nothing else."""

_FOREIGN = re.compile(r"[A-Za-z]*[^\W\d_\x00-\x7f][^\W\d_]*|[^\x00-\x7f]")
"""A word with a letter that is not ASCII, or a sign."""

_SIGNS = frozenset("©®™°«»“”„‘’‚–—…•·§¶£€¥¢¿¡±×÷µ½¼¾¹²³ªº№†´¨¸¬¦\xa0\xad")
_SIGNS_IN_WORDS = frozenset("’·\xad´")
_OPENING_SIGNS = frozenset("„‚¿¡")

_WESTERN = (
    "àâæçéèêëîïôùûüœ",  # French
    "äöüßé",  # German
    "áéíóúüñçàèòï",  # Spanish, Catalan
    "ãáâàçéêíóôõúü",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "åäöæøéü",  # Danish, Finnish, Norwegian, Swedish
    "éëïöüèá",  # Dutch
)
_NEVER_WESTERN = "õ(?!e)|[ìù](?=[a-z])|ø.*[áíý]"
"""Where Italian, Portuguese and Nordic letters do not stand, Czech and Hungarian ones do."""

_CENTRAL = (
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "čćđšž",  # Croatian, Slovene
    "äöüß",
)
_TURKISH = ("çğıöşüâîûi̇",)

Judge = Callable[[str], float]
"""How many of a word's non-ASCII characters are plausible."""


_FEW = 8
"""Fewer characters are believed in only as Western European: names and signs, as most code has them."""


def legacy_encoding(data: bytes) -> str | None:
    """The Python name of a text's encoding, or None if there is doubt.

    Args:
        data: not UTF-8 throughout.
    """
    if _share_of_utf8(data) > _MOST_UTF8:
        return None
    best, best_score = None, _SURE
    for candidate in _candidates():
        try:
            text = data.decode(candidate.encoding)
        except UnicodeDecodeError:
            continue
        score = _score(text, candidate)
        if score > best_score or (best is None and score == best_score):
            best, best_score = candidate.encoding, score
    return best


def _share_of_utf8(data: bytes) -> float:
    high = len(data) - len(data.decode("ascii", "ignore"))
    valid = data.decode("utf-8", "ignore")
    return (len(valid.encode()) - len(valid.encode("ascii", "ignore"))) / high


def _score(text: str, candidate: "_Candidate") -> float:
    """The share of non-ASCII characters that are plausible where they stand."""
    good, count = 0.0, 0
    for match in islice(_FOREIGN.finditer(text), _MOST_WORDS):
        word = match[0]
        count += len(word)
        is_sign = not word[0].isalpha() and word in _SIGNS
        good += _stands_well(text, match.start()) if is_sign else candidate.judge(word)
    return good / count if count >= candidate.fewest else 0.0


def _stands_well(text: str, position: int) -> bool:
    """Whether a sign is neither inside a word nor beside another sign, nor opens what is over."""
    before, after = text[position - 1 : position], text[position + 1 : position + 2]
    if before.isalpha() and text[position] in _OPENING_SIGNS:
        return False
    if before.isalpha() and after.isalpha():
        return text[position] in _SIGNS_IN_WORDS
    return all(beside.isascii() or beside.isalpha() or beside == "\xa0" for beside in (before, after))


def _latin(*alphabets: str, never: str = "(?!)") -> Judge:
    """Words whose letters beyond ASCII belong to one of the alphabets.

    Args:
        never: a pattern of what stands in no such word.
    """
    sets = [frozenset(alphabet) for alphabet in alphabets]
    impossible = re.compile(never)

    def judge(word: str) -> float:
        lower = word.lower()
        letters = {letter for letter in lower if not letter.isascii()}
        fits = any(letters <= alphabet for alphabet in sets) and not impossible.search(lower)
        return len(word) if fits and _is_cased(word) else 0

    return judge


def _script(characters: str) -> Judge:
    pattern = re.compile(f"[{characters}]+")

    def judge(word: str) -> float:
        if not pattern.fullmatch(word) or not _is_cased(word):
            return 0
        return _CAPITALS * len(word) if len(word) > 1 and word.isupper() else len(word)

    return judge


_CAPITALS = 0.97
"""KOI8 has small letters where Windows has capitals: what gives words in capitals alone is less likely."""


def _is_cased(word: str) -> bool:
    """Whether capitals stand at the start only, or everywhere."""
    return word.isupper() or not any(letter.isupper() for letter in word[1:])


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One way to read a text.

    Attributes:
        fewest: characters that it takes to believe in it.
    """

    encoding: str
    judge: Judge
    fewest: int


@cache
def _candidates() -> tuple[_Candidate, ...]:
    """The more frequent first: of two that explain a text equally well, the first is taken."""
    western, central, turkish = _latin(*_WESTERN, never=_NEVER_WESTERN), _latin(*_CENTRAL), _latin(*_TURKISH)
    cyrillic, greek = _script("\u0400-\u045f\u0490\u0491"), _script("\u0370-\u03ff")
    hebrew, arabic = _script("\u05d0-\u05ea"), _script("\u0600-\u06ff")
    japanese = _east_asian("euc_jp", signs=(0xA1, 0xA3, 0xA4, 0xA5), frequent=(0xB0, 0xCF))
    return (
        _Candidate("cp1252", western, 1),
        _Candidate("cp1255", hebrew, _FEW),  # before Cyrillic, whose small letters have these places
        _Candidate("cp1251", cyrillic, _FEW),
        _Candidate("koi8_u", cyrillic, _FEW),
        _Candidate("euc_kr", _east_asian("euc_kr", signs=(0xA1, 0xA3), frequent=(0xB0, 0xC8)), 12),
        _Candidate("gb18030", _east_asian("gb2312", signs=(0xA1, 0xA3), frequent=(0xB0, 0xD7)), _FEW),
        _Candidate("cp932", japanese, _FEW),
        _Candidate("euc_jp", japanese, _FEW),
        _Candidate("big5", _east_asian("big5", signs=(0xA1, 0xA2, 0xA3), frequent=(0xA4, 0xC6)), _FEW),
        _Candidate("cp1250", central, _FEW),
        _Candidate("iso8859_2", central, _FEW),
        _Candidate("cp1254", turkish, _FEW),
        _Candidate("cp1253", greek, _FEW),
        _Candidate("iso8859_7", greek, _FEW),
        _Candidate("cp1256", arabic, _FEW),
        _Candidate("iso8859_5", cyrillic, _FEW),
        _Candidate("cp866", cyrillic, _FEW),
        _Candidate("cp437", western, _FEW),
        _Candidate("mac_roman", western, _FEW),
    )


def _east_asian(encoding: str, *, signs: tuple[int, ...], frequent: tuple[int, int]) -> Judge:
    """Characters of the rows, by their first byte, of signs and syllables and of the more frequent half."""
    rows = (*signs, *range(frequent[0], frequent[1] + 1))
    pairs = (bytes([row, column]) for row in rows for column in range(0x40, 0xFF))
    common = frozenset("".join(pair.decode(encoding, "ignore") for pair in pairs)) - frozenset(
        map(chr, range(128))
    )
    return lambda word: sum(character in common for character in word)
