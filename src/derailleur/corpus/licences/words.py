"""A licence text as words: what its layout, bullets, comment marks and copyright lines leave.

Two forms of the same words: one line of text for phrases, and hashes of three words each for similarity.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

GRAM_WORDS = 3
"""Words hashed together; one changed word costs so many of them."""

# Lines that name the holder differ from copy to copy, bullets from edition to edition. "Copyright" alone
# begins no such line: a wrapped text has "copyright notice" at the start of lines.
_ELSEWHERE_DIFFERENT = re.compile(
    rb"^[^a-z0-9\n]*(?:portions |all )?(?:copyright\b|\(c\)|\xc2\xa9)[ \t:]*"
    rb"(?:\(c\)|\xc2\xa9|\xa9|&copy;|[0-9<\[{]|by\b|years?\b)[^\n]*"
    rb"|\ball rights reserved\b"
    rb"|^[^a-z0-9\n]*[(]?[0-9ivx]{1,4}[.)](?=[ \t])",
    re.MULTILINE,
)
_LOWER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")
_TO_WORDS = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if 48 <= byte <= 57 or 97 <= byte <= 122 or byte >= 128 else 32
    for byte in range(256)
)
_OR_LATER = re.compile(rb"\+(?<=[0-9]\+)")  # a literal first: found fast
_SEED, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)  # FNV-1a, 64 bits
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def phrase_text(data: bytes) -> bytes:
    """Lower-case words with one space between them and none around; `GPLv2+` becomes `gplv2 or later`."""
    if b"+" in data:
        data = _OR_LATER.sub(b" or later ", data)
    return b" ".join(data.translate(_TO_WORDS).split())


@dataclass(frozen=True)
class Grams:
    """A text as hashes.

    Attributes:
        text: in lower case, without the lines and bullets that differ between copies.
        hashes: of every three words in sequence, [grams].
        starts: where each word begins in `text`, [grams + 2] or fewer words.
    """

    text: bytes
    hashes: NDArray[np.uint64]
    starts: NDArray[np.int32]

    def without(self, grams: NDArray[np.bool_]) -> bytes:
        """The text but for the words of the marked grams."""
        marked = np.zeros(len(self.text) + 1, np.int32)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], grams, [False]])))
        ends = np.append(self.starts, len(self.text))[edges[1::2] + GRAM_WORDS - 1]
        np.add.at(marked, self.starts[edges[::2]], 1)
        np.add.at(marked, ends, -1)
        left = np.frombuffer(self.text, np.uint8).copy()
        left[np.cumsum(marked[:-1]) > 0] = ord(" ")
        return left.tobytes()


def grams(data: bytes) -> Grams:
    """Hash a text, three words at a time."""
    text = _ELSEWHERE_DIFFERENT.sub(b" ", data.translate(_LOWER))
    return Grams(text, *_hash_grams(np.frombuffer(text, np.uint8)))


@compiled
def _hash_grams(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """`data` is in lower case; every byte beyond ASCII belongs to a word."""
    words = np.empty(len(data) // 2 + 1, np.uint64)
    starts = np.empty(len(data) // 2 + 1, np.int32)
    num_words = 0
    inside = False
    for position in range(len(data)):
        byte = data[position]
        if 97 <= byte <= 122 or 48 <= byte <= 57 or byte >= 128:
            if not inside:
                words[num_words] = _SEED
                starts[num_words] = position
                num_words += 1
            words[num_words - 1] = (words[num_words - 1] ^ np.uint64(byte)) * _PRIME
            inside = True
        else:
            inside = False
    hashes = np.empty(max(num_words - GRAM_WORDS + 1, 0), np.uint64)
    for index in range(len(hashes)):
        mixed = words[index]
        for word in words[index + 1 : index + GRAM_WORDS]:
            mixed = ((mixed * _SPREAD) ^ (mixed >> np.uint64(29)) ^ word) * _PRIME
        hashes[index] = mixed
    return hashes, starts[:num_words]
