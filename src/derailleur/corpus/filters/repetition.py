"""Drops documents that say the same again and again: lines, and n-grams of words.

Measures of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1), bounds of OpenCoder (arXiv:2411.04905).
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from derailleur.compiled import compiled
from derailleur.config import Config
from derailleur.corpus.filters.rules import PERCENTILES, Filterable, Rule, register

_TOP = (2, 3, 4)
_DUPLICATE = (5, 6, 7, 8, 9, 10)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_IS_WORD = np.array([chr(byte).isalnum() or chr(byte) == "_" or byte >= 0x80 for byte in range(256)])
_IS_SPACE = np.array([byte in b" \t\n\r\f\v" for byte in range(256)])
_FOLD = np.frombuffer(bytes(range(256)).lower(), np.uint8)
_NEWLINE = ord("\n")


class RepetitionConfig(Config):
    """Bounds of the repetition filter; a document at a bound is kept."""

    max_duplicate_lines: float = Field(0.7, ge=0, le=1, description="lines that stand more than once / lines")
    max_top_ngrams: tuple[float, float, float] = Field(
        (0.2, 0.18, 0.16),
        description="share of the characters of words in the most frequent 2-, 3-, 4-gram of words",
    )
    max_duplicate_ngrams: tuple[float, float, float, float, float, float] = Field(
        (0.8, 0.7, 0.7, 0.7, 0.7, 0.6),
        description="share of the characters of words in 5- to 10-grams of words that came before",
    )


@register("repetition")
class RepetitionFilter:
    """Keeps documents that say something new."""

    percentiles: ClassVar[tuple[int, ...]] = PERCENTILES

    def __init__(self, config: RepetitionConfig) -> None:
        self.rules = (
            Rule("duplicate_lines", "duplicate_lines", maximum=config.max_duplicate_lines),
            *(
                Rule(f"top_{size}_grams", f"top_{size}_grams", maximum=bound)
                for size, bound in zip(_TOP, config.max_top_ngrams, strict=True)
            ),
            *(
                Rule(f"duplicate_{size}_grams", f"duplicate_{size}_grams", maximum=bound)
                for size, bound in zip(_DUPLICATE, config.max_duplicate_ngrams, strict=True)
            ),
        )

    def measure(self, document: Filterable) -> Mapping[str, float]:
        """The share of repeated lines, and of repeated n-grams of each size."""
        data = np.frombuffer(document.content, np.uint8)
        hashes, lengths = np.empty(len(data) // 2 + 1, np.uint64), np.empty(len(data) // 2 + 1, np.int64)
        num_words = _hash_words(data, hashes, lengths)
        hashes, lengths = hashes[:num_words], lengths[:num_words]
        table = np.zeros((1 << max(4, (2 * num_words).bit_length()), 2), np.uint64)
        total = max(int(lengths.sum()), 1)
        return {
            "duplicate_lines": duplicate_lines(document.content),
            **{f"top_{size}_grams": _top_ngram(hashes, lengths, size, table) / total for size in _TOP},
            **{
                f"duplicate_{size}_grams": _duplicate_ngrams(hashes, lengths, size, table) / total
                for size in _DUPLICATE
            },
        }


def duplicate_lines(content: bytes) -> float:
    """Lines that stand more than once, white space aside, over all that are not blank.

    Lines of a single character, such as closing brackets, repeat in every text and count as different.
    """
    hashes = np.empty(len(content) // 2 + 1, np.uint64)
    num_hashes, num_lines = _hash_lines(np.frombuffer(content, np.uint8), hashes)
    _, counts = np.unique(hashes[:num_hashes], return_counts=True)
    return float(counts[counts > 1].sum() / max(num_lines, 1))


@compiled
def _hash_lines(data: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> tuple[int, int]:
    """Fill in the hash of each line of two visible bytes or more; their number and that of all with one."""
    size = num_lines = visible = 0
    value = _FNV_OFFSET
    for position in range(len(data) + 1):
        if position == len(data) or data[position] == _NEWLINE:
            if visible >= 2:
                hashes[size] = value
                size += 1
            num_lines += visible > 0
            value, visible = _FNV_OFFSET, 0
        elif not _IS_SPACE[data[position]]:
            value = (value ^ np.uint64(data[position])) * _FNV_PRIME
            visible += 1
    return size, num_lines


@compiled
def _hash_words(data: NDArray[np.uint8], hashes: NDArray[np.uint64], lengths: NDArray[np.int64]) -> int:
    """Fill in the hash of each word in lower case, and its characters."""
    size = length = 0
    value = _FNV_OFFSET
    for position in range(len(data) + 1):
        if position < len(data) and _IS_WORD[data[position]]:
            value = (value ^ np.uint64(_FOLD[data[position]])) * _FNV_PRIME
            length += data[position] & 0xC0 != 0x80
        elif length:
            hashes[size], lengths[size] = value, length
            size += 1
            value, length = _FNV_OFFSET, 0
    return size


@compiled
def _key(hashes: NDArray[np.uint64], first: int, size: int) -> np.uint64:
    """The hash of an n-gram, never 0."""
    value = np.uint64(0)
    for word in range(first, first + size):
        value = value * _BASE + hashes[word]
    value *= _MIX
    return (value ^ (value >> _SHIFT)) | np.uint64(1)


@compiled
def _count_in(table: NDArray[np.uint64], key: np.uint64) -> int:
    """Count a key in an open hash table [slots, key and count]; how often it came before."""
    slot = np.int64(key >> _SHIFT) & (len(table) - 1)
    while table[slot, 0] != 0 and table[slot, 0] != key:
        slot = (slot + 1) & (len(table) - 1)
    table[slot, 0] = key
    table[slot, 1] += np.uint64(1)
    return int(table[slot, 1]) - 1


@compiled
def _top_ngram(
    hashes: NDArray[np.uint64], lengths: NDArray[np.int64], size: int, table: NDArray[np.uint64]
) -> int:
    """Characters in all occurrences of the n-gram that is there most often, the longest of several."""
    table[:] = 0
    most = most_characters = 0
    for first in range(len(hashes) - size + 1):
        count = _count_in(table, _key(hashes, first, size)) + 1
        characters = count * lengths[first : first + size].sum()
        if count > most or (count == most and characters > most_characters):
            most, most_characters = count, characters
    return most_characters if most > 1 else 0


@compiled
def _duplicate_ngrams(
    hashes: NDArray[np.uint64], lengths: NDArray[np.int64], size: int, table: NDArray[np.uint64]
) -> int:
    """Characters of words that lie in an n-gram that came before."""
    table[:] = 0
    characters = covered = 0  # words before `covered` were counted
    for first in range(len(hashes) - size + 1):
        if _count_in(table, _key(hashes, first, size)):
            for word in range(max(first, covered), first + size):
                characters += lengths[word]
            covered = first + size
    return characters
