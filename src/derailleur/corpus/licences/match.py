"""Which SPDX licences a text holds, by the share of a licence's three-word grams found in one stretch.

The similarity of a licence is the number of its different grams in the best stretch of as many words as it
has, divided by the number that it has: 1 for a copy, lower for every word changed, added inside or left out.
A stretch is explained by one licence only, the one with the most grams found and the fewest missing, so that
a three-clause text is not also a two-clause one, and bundled licences are found one after another.
"""

import heapq
import json
import lzma
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.licences.catalogue import RESTRICTED, catalogue
from derailleur.corpus.licences.expression import Expression, Leaf, all_of, any_of, leaves
from derailleur.corpus.licences.notices import gnu_exception, offers_choice, stated_licence
from derailleur.corpus.licences.words import grams, phrase_text

MIN_SIMILARITY = 0.9
"""Below it a text is a licence of its own; holders' names and small edits cost about 0.05."""
MAX_BYTES = 1 << 20
"""So much of a licence file is read: more is a collection of other people's notices."""

_MIN_GRAMS = 15  # shorter references are a sentence that stands in other texts too
_GNU = "GPL-"
_MISSING_COST = 3  # a gram that is missing against one that is found, when licences compete for a stretch
_LIMITS_OF_USE = re.compile(
    rb"\bcommons clause\b|\bnon ?commercial (?:use|purposes?) only\b|\bfor non ?commercial\b"
    rb"|\bnot (?:be used )?for (?:any )?commercial\b|\bcommercial use (?:is|requires)\b"
    rb"|\b(?:academic|research|educational|evaluation) (?:use|purposes?) only\b"
    rb"|\bmay not be used (?:for|by|in) (?:any )?(?:military|commercial|training)"
    rb"|\bused for good not evil\b|\bnot be used to train\b|\bfor use only with\b"
)


@dataclass(frozen=True, slots=True)
class LicenceMatch:
    """What a licence file says.

    Attributes:
        spdx: an expression; bundled licences are joined by AND in the order of the text.
        similarity: the least of the parts, 0 to 1; 1 for a notice that names its licence.
        by: the licence's own text, or a sentence that names it.
    """

    spdx: str
    similarity: float
    by: Literal["text", "notice"] = "text"


def match_licence(data: bytes) -> LicenceMatch | None:
    """The licences of one licence file; None where no known one is found."""
    data = data[:MAX_BYTES]
    stretches, rest = _stretches(data)
    if not stretches:
        stated = stated_licence(phrase_text(data))
        return None if stated is None else LicenceMatch(str(stated), 1.0, "notice")
    around = phrase_text(rest)
    parts: list[Expression] = [_with_exception(Leaf(stretch.licence), around) for stretch in stretches]
    parts += _further(parts, around)
    joined = any_of(parts) if _is_choice(parts, around) else all_of(_without_carriers(parts))
    if _LIMITS_OF_USE.search(around):
        joined = all_of([joined, Leaf(RESTRICTED)])
    return LicenceMatch(str(joined), min(stretch.similarity for stretch in stretches))


def _with_exception(licence: Leaf, around: bytes) -> Leaf:
    if _GNU in licence.licence:
        return Leaf(licence.licence, gnu_exception(around))
    is_llvm = licence.licence == "Apache-2.0" and b"llvm exceptions to the apache" in around
    return Leaf(licence.licence, "LLVM-exception") if is_llvm else licence


def _further(parts: list[Expression], around: bytes) -> list[Expression]:
    """Licences that the words around the texts name: "the program is under the GPL; parts of it are under:".

    A GNU text is followed by a model of its own notice, which grants nothing.
    """
    stated = stated_licence(around)
    if stated is None or any(_GNU in str(part) for part in parts):
        return []
    families = {str(part).partition("-")[0] for part in parts}
    return [
        leaf
        for leaf in leaves(stated)
        if leaf.licence.partition("-")[0] not in families and not leaf.licence.startswith("LicenseRef-")
    ]


def _is_choice(parts: list[Expression], around: bytes) -> bool:
    """Two or three licences may be a choice; a longer row is a list of bundled ones."""
    return 2 <= len(parts) <= 3 and offers_choice(around)


def _without_carriers(parts: list[Expression]) -> list[Expression]:
    """LGPL 3 is written as additions to GPL 3, whose text then stands beside it."""
    lesser = Leaf("LGPL-3.0-only")
    return [part for part in parts if lesser not in parts or part != Leaf("GPL-3.0-only")]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Where a licence text stands in a file, in grams, and how much of it is there."""

    start: int
    licence: str
    similarity: float


def _stretches(data: bytes) -> tuple[list[_Stretch], bytes]:
    """Every licence text inside `data`, each licence once, in order; and the text around them.

    The best explanation is taken first; it leaves the others fewer grams, so that they are measured again
    when their turn comes: a measure that is out of date is never too low.
    """
    texts = _references()
    hashed = grams(data)
    rows = texts.rows(hashed.hashes)
    counts = _count(rows, texts.starts, texts.members, len(texts.ids))
    wanted = counts >= MIN_SIMILARITY * texts.sizes
    bounds, places = _places(rows, texts.starts, texts.members, wanted, counts)
    explained = np.zeros(len(rows), np.bool_)
    seen = np.zeros(len(texts.keys), np.int32)
    found: dict[str, _Stretch] = {}
    queue = [(-float("inf"), reference) for reference in np.flatnonzero(wanted).tolist()]
    while queue:
        known, index = heapq.heappop(queue)
        size, length = int(texts.sizes[index]), int(texts.lengths[index])
        hits = places[bounds[index] : bounds[index + 1]]
        hits = hits[~explained[hits]]
        start, most = _best_stretch(hits, rows, seen, length)
        if most < MIN_SIMILARITY * size:
            continue
        score = -texts.score(index, most)
        heapq.heappush(queue, (score, index))
        if score == known:
            _explain(hits, rows, seen, length, most, explained)
            licence = texts.ids[index]
            if licence not in found or start < found[licence].start:
                found[licence] = _Stretch(start, licence, most / size)
    return sorted(found.values(), key=lambda stretch: stretch.start), hashed.without(explained)


@dataclass(frozen=True)
class _References:
    """Which references hold a gram, as sorted rows.

    Attributes:
        ids: of the references.
        lengths: grams of each reference, one after another.
        sizes: different grams of each reference.
        keys: [rows], sorted.
        starts: [rows + 1], where a row's members begin.
        members: references, sorted inside a row.
    """

    ids: tuple[str, ...]
    lengths: NDArray[np.int64]
    sizes: NDArray[np.int64]
    keys: NDArray[np.uint64]
    starts: NDArray[np.int64]
    members: NDArray[np.int16]

    def rows(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each gram, -1 for one that no reference has."""
        rows = np.searchsorted(self.keys, wanted)
        rows[rows == len(self.keys)] = 0
        return np.where(self.keys[rows] == wanted, rows, -1)

    def score(self, index: int, hits: int) -> float:
        """How well a reference explains a stretch; approved licences win a tie."""
        approved = 0.5 if catalogue()[self.ids[index]].osi else 0.0
        return hits - _MISSING_COST * (int(self.sizes[index]) - hits) + approved


@cache
def _references() -> _References:
    ids, keys = [], []
    with (files(__package__) / "data" / "texts.jsonl.xz").open("rb") as packed:
        for line in lzma.decompress(packed.read()).splitlines():
            row = json.loads(line)
            hashed = grams(row["text"].encode()).hashes
            if len(hashed) >= _MIN_GRAMS:
                ids.append(row["id"])
                keys.append(hashed)
    different = [np.unique(hashed) for hashed in keys]
    sizes = np.array([len(hashed) for hashed in different])
    every, members = np.concatenate(different), np.repeat(np.arange(len(ids), dtype=np.int16), sizes)
    order = np.argsort(every, kind="stable")
    unique, starts = np.unique(every[order], return_index=True)
    return _References(
        tuple(ids),
        lengths=np.array([len(hashed) for hashed in keys]),
        sizes=sizes,
        keys=unique,
        starts=np.append(starts, len(every)).astype(np.int64),
        members=members[order],
    )


@compiled
def _count(
    rows: NDArray[np.int64], starts: NDArray[np.int64], members: NDArray[np.int16], num_references: int
) -> NDArray[np.int64]:
    """Grams of the text that each reference has: no stretch can have more."""
    counts = np.zeros(num_references, np.int64)
    for row in rows:
        if row >= 0:
            for member in members[starts[row] : starts[row + 1]]:
                counts[member] += 1
    return counts


@compiled
def _places(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    members: NDArray[np.int16],
    wanted: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the text has a gram of each wanted reference: their bounds and the places, in order."""
    bounds = np.zeros(len(wanted) + 1, np.int64)
    for reference in range(len(wanted)):
        bounds[reference + 1] = bounds[reference] + (counts[reference] if wanted[reference] else 0)
    places = np.empty(bounds[-1], np.int64)
    filled = bounds[:-1].copy()
    for position in range(len(rows)):
        row = rows[position]
        if row >= 0:
            for member in members[starts[row] : starts[row + 1]]:
                if wanted[member]:
                    places[filled[member]] = position
                    filled[member] += 1
    return bounds, places


@compiled
def _best_stretch(
    hits: NDArray[np.int64], rows: NDArray[np.int64], seen: NDArray[np.int32], length: int
) -> tuple[int, int]:
    """Where the first stretch of `length` grams with the most different hits begins, and how many these are.

    `seen` is all zeros, and so again afterwards.
    """
    begin = best = most = inside = 0
    for end in range(len(hits)):
        seen[rows[hits[end]]] += 1
        inside += seen[rows[hits[end]]] == 1
        while hits[end] - hits[begin] >= length:
            seen[rows[hits[begin]]] -= 1
            inside -= seen[rows[hits[begin]]] == 0
            begin += 1
        if inside > most:
            most, best = inside, hits[begin]
    for place in hits[begin:]:
        seen[rows[place]] = 0
    return best, most


@compiled
def _explain(
    hits: NDArray[np.int64],
    rows: NDArray[np.int64],
    seen: NDArray[np.int32],
    length: int,
    most: int,
    explained: NDArray[np.bool_],
) -> None:
    """Mark the best stretch and all others that are as good within a hundredth: copies of one text.

    Less good ones wait: another licence may explain them better.
    """
    wanted = most - length // 100
    begin = inside = 0
    for end in range(len(hits)):
        seen[rows[hits[end]]] += 1
        inside += seen[rows[hits[end]]] == 1
        while hits[end] - hits[begin] >= length:
            seen[rows[hits[begin]]] -= 1
            inside -= seen[rows[hits[begin]]] == 0
            begin += 1
        broken = end + 1 == len(hits) or hits[end + 1] != hits[end] + 1
        if inside >= wanted and (broken or inside == most):
            explained[hits[begin] : hits[end] + 1] = True
            for place in hits[begin : end + 1]:
                seen[rows[place]] = 0
            begin, inside = end + 1, 0
    for place in hits[begin:]:
        seen[rows[place]] = 0
