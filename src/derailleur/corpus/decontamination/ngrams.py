"""Finds needles of which a text holds a large share of the word n-grams: copies that were edited."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.decontamination.normal_form import IS_WORD

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_FILTER_BITS = 16  # an n-gram
_MIN_FILTER_BITS = 16
_BYTE, _IN_BYTE = np.uint64(3), np.uint64(7)
_EVERY = np.full(1, 0xFF, np.uint8), np.uint64(61)


@dataclass(frozen=True)
class Overlap:
    """The needle that a text holds the largest share of.

    Attributes:
        share: of the needle's n-grams, those that are in the text.
        start, end: of the longest run of its n-grams, bytes of the text in normal form.
    """

    needle: int
    share: float
    start: int
    end: int


class NgramIndex:
    """An index of the n-grams of needles in normal form.

    N-grams of more than `max_needles` needles are boilerplate and count for none of them; a needle with
    fewer than `min_ngrams` others is not looked for.
    """

    def __init__(self, needles: Sequence[bytes], *, words: int, min_ngrams: int, max_needles: int) -> None:
        self._words = words
        sets = [np.unique(_ngrams(needle, words, *_EVERY)[0]) for needle in needles]
        grams = np.concatenate([*sets, np.empty(0, np.uint64)])
        owners = np.repeat(np.arange(len(sets)), [len(found) for found in sets])
        grams, owners = _without_boilerplate(grams, owners, max_needles)
        self.sizes = np.bincount(owners, minlength=len(sets))
        """[needles] n-grams by which each is looked for; 0 where they are too few."""
        self.sizes[self.sizes < min_ngrams] = 0
        wanted = self.sizes[owners] > 0
        grams, owners = grams[wanted], owners[wanted]
        order = np.argsort(grams, kind="stable")
        self._owners = owners[order]
        self._grams, first = np.unique(grams[order], return_index=True)
        self._first = np.append(first, len(grams))
        filter_bits = max(_MIN_FILTER_BITS, (_FILTER_BITS * len(self._grams)).bit_length())
        self._filter_shift = np.uint64(64 - filter_bits)
        in_filter = np.zeros(1 << filter_bits, np.bool_)
        in_filter[(self._grams * _MIX) >> self._filter_shift] = True
        self._filter = np.packbits(in_filter, bitorder="little")

    def find(self, text: bytes, *, min_share: float) -> Overlap | None:
        """The needle with the largest share, at least `min_share`; of equal ones the first."""
        hashes, spans = _ngrams(text, self._words, self._filter, self._filter_shift)
        grams = np.searchsorted(self._grams, hashes)
        grams[grams == len(self._grams)] = 0
        is_hit = self._grams[grams] == hashes if len(self._grams) else np.zeros(0, np.bool_)
        if not is_hit.any():
            return None
        grams, spans = grams[is_hit], spans[is_hit]
        owners, counts = np.unique(self._owners_of(np.unique(grams)), return_counts=True)
        shares = counts / self.sizes[owners]
        best = int(np.argmax(shares))
        if shares[best] < min_share:
            return None
        own = np.isin(
            grams, np.repeat(np.arange(len(self._grams)), np.diff(self._first))[self._owners == owners[best]]
        )
        start, end = _longest_run(spans[own])
        return Overlap(int(owners[best]), float(shares[best]), start, end)

    def _owners_of(self, grams: NDArray[np.int64]) -> NDArray[np.int64]:
        """The needles of each n-gram, one list after another."""
        first, sizes = self._first[grams], self._first[grams + 1] - self._first[grams]
        before = np.cumsum(sizes) - sizes
        return self._owners[np.repeat(first - before, sizes) + np.arange(sizes.sum())]


def _without_boilerplate(
    grams: NDArray[np.uint64], owners: NDArray[np.int64], max_needles: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    _, which, counts = np.unique(grams, return_inverse=True, return_counts=True)
    wanted = counts[which] <= max_needles
    return grams[wanted], owners[wanted]


def _longest_run(spans: NDArray[np.int64]) -> tuple[int, int]:
    """The longest stretch that is covered by n-grams without a gap, the first of several."""
    breaks = np.flatnonzero(spans[1:, 0] > spans[:-1, 1]) + 1
    starts = spans[np.append(0, breaks), 0]
    ends = spans[np.append(breaks - 1, len(spans) - 1), 1]
    run = int(np.argmax(ends - starts))
    return int(starts[run]), int(ends[run])


def _ngrams(
    text: bytes, words: int, filter_: NDArray[np.uint8], filter_shift: np.uint64
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the n-grams that pass the filter, and [n-grams, 2] where they begin and end."""
    most = len(text) // 2 + 1
    hashes, spans = np.empty(most, np.uint64), np.empty((most, 2), np.int64)
    size = _hash_ngrams(np.frombuffer(text, np.uint8), IS_WORD, words, filter_, filter_shift, hashes, spans)
    return hashes[:size], spans[:size]


@compiled
def _hash_ngrams(
    text: NDArray[np.uint8],
    is_word: NDArray[np.bool_],
    words: int,
    filter_: NDArray[np.uint8],
    filter_shift: np.uint64,
    hashes: NDArray[np.uint64],
    spans: NDArray[np.int64],
) -> int:
    """Fill `hashes` and `spans`; a hash is a polynomial over the hashes of `words` words in a row."""
    last_words = np.zeros(words, np.uint64)  # a ring: the hash of word i is at i % words
    last_starts = np.zeros(words, np.int64)
    leaving = np.uint64(1)
    for _ in range(words):
        leaving *= _BASE
    size = num_words = 0
    value = np.uint64(0)
    position = 0
    while position < len(text):
        if not is_word[text[position]]:
            position += 1
            continue
        start = position
        word = _FNV_OFFSET
        while position < len(text) and is_word[text[position]]:
            word = (word ^ np.uint64(text[position])) * _FNV_PRIME
            position += 1
        place = num_words % words
        value = value * _BASE + word - leaving * last_words[place]
        last_words[place], last_starts[place] = word, start
        num_words += 1
        bit = (value * _MIX) >> filter_shift
        if num_words >= words and filter_[bit >> _BYTE] >> (bit & _IN_BYTE) & 1:
            hashes[size] = value
            spans[size, 0], spans[size, 1] = last_starts[num_words % words], position
            size += 1
    return size
