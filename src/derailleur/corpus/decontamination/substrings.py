"""Finds which of many needles lies in a text, at a cost that does not depend on how many there are.

A rolling hash (Karp and Rabin 1987) over windows of one width is looked up in a table with one window of each
needle: the one that is rarest among all needles, so that what they share (imports, licences, runs of one
character) leads nowhere. A window that is in the table is compared byte by byte. An automaton
(Aho and Corasick 1975) finds the same and needs some 10 bytes a byte of needle; this needs 30 a needle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled

_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_COUNTER_BITS = 24
_FILTER_BITS = 64  # a needle: one window in 64 is looked up for nothing
_MIN_FILTER_BITS = 16
_BYTE, _IN_BYTE = np.uint64(3), np.uint64(7)


@dataclass(frozen=True)
class Found:
    """An occurrence: which needle, and where it begins and ends in the text."""

    needle: int
    start: int
    end: int


class SubstringIndex:
    """An index of needles, each at least `window` bytes long."""

    def __init__(self, needles: Sequence[bytes], *, window: int) -> None:
        assert all(len(needle) >= window for needle in needles)
        self._window = window
        self._data = np.frombuffer(b"".join(needles), np.uint8)
        self._offsets = np.cumsum([0, *map(len, needles)])
        anchors, keys = _anchors(self._data, self._offsets, window)
        order = np.argsort(keys, kind="stable")  # equal windows side by side, in the order of the needles
        self._needles, self._anchors, self._keys = order, anchors[order], keys[order]
        filter_bits = max(_MIN_FILTER_BITS, (_FILTER_BITS * len(needles)).bit_length())
        self._filter_shift = np.uint64(64 - filter_bits)
        in_filter = np.zeros(1 << filter_bits, np.bool_)
        in_filter[(keys * _MIX) >> self._filter_shift] = True
        self._filter = np.packbits(in_filter, bitorder="little")

    def find(self, text: bytes) -> Found | None:
        """The first needle found, going by where its rarest window ends; of several there, the least."""
        needle, start = _find(
            np.frombuffer(text, np.uint8),
            self._data,
            self._offsets,
            self._window,
            self._needles,
            self._anchors,
            self._keys,
            self._filter,
            self._filter_shift,
        )
        if needle < 0:
            return None
        size = self._offsets[needle + 1] - self._offsets[needle]
        return Found(int(needle), int(start), int(start + size))


def _anchors(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Where in each needle its rarest window begins, and that window's hash."""
    counts = np.zeros(1 << _COUNTER_BITS, np.uint32)
    anchors, keys = np.zeros(len(offsets) - 1, np.int64), np.zeros(len(offsets) - 1, np.uint64)
    for choosing in (False, True):
        _count_or_choose(data, offsets, window, counts, anchors, keys, choosing)
    return anchors, keys


@compiled
def _power(base: np.uint64, exponent: int) -> np.uint64:
    value = np.uint64(1)
    for _ in range(exponent):
        value *= base
    return value


@compiled
def _count_or_choose(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    window: int,
    counts: NDArray[np.uint32],
    anchors: NDArray[np.int64],
    keys: NDArray[np.uint64],
    choosing: bool,
) -> None:
    """Count every needle's windows, or take for each the one that was counted least, the first of several."""
    shift = np.uint64(64 - _COUNTER_BITS)
    leaving = _power(_BASE, window)
    for needle in range(len(offsets) - 1):
        begin, end = offsets[needle], offsets[needle + 1]
        value = np.uint64(0)
        least = np.uint32(0xFFFFFFFF)
        for position in range(begin, end):
            value = value * _BASE + np.uint64(data[position] + 1)
            if position >= begin + window:
                value -= leaving * np.uint64(data[position - window] + 1)
            if position < begin + window - 1:
                continue
            bucket = (value * _MIX) >> shift
            if not choosing:
                counts[bucket] += np.uint32(1)
            elif counts[bucket] < least:
                least = counts[bucket]
                anchors[needle] = position - window + 1 - begin
                keys[needle] = value


@compiled
def _find(
    text: NDArray[np.uint8],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    window: int,
    needles: NDArray[np.int64],
    anchors: NDArray[np.int64],
    keys: NDArray[np.uint64],
    filter_: NDArray[np.uint8],
    filter_shift: np.uint64,
) -> tuple[int, int]:
    leaving = _power(_BASE, window)
    value = np.uint64(0)
    for position in range(len(text)):
        value = value * _BASE + np.uint64(text[position] + 1)
        if position >= window:
            value -= leaving * np.uint64(text[position - window] + 1)
        bit = (value * _MIX) >> filter_shift
        if not filter_[bit >> _BYTE] >> (bit & _IN_BYTE) & 1 or position < window - 1:
            continue
        index = np.searchsorted(keys, value)
        while index < len(keys) and keys[index] == value:
            needle = needles[index]
            start = position - window + 1 - anchors[index]
            if _is_at(text, start, data, offsets[needle], offsets[needle + 1]):
                return needle, start
            index += 1
    return -1, 0


@compiled
def _is_at(text: NDArray[np.uint8], start: int, data: NDArray[np.uint8], begin: int, end: int) -> bool:
    if start < 0 or start + end - begin > len(text):
        return False
    size = 0
    while size < end - begin and text[start + size] == data[begin + size]:
        size += 1
    return size == end - begin
