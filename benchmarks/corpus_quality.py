"""How right a near-dedup is: its survivors against an exact join of all documents.

The join is a prefix filter (Chaudhuri et al. 2006, Bayardo et al. 2007): two sets alike enough must share one
of their rarest elements. It shares no code with what it judges.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import ceil

_WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
BINS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Pair:
    """Two documents and the exact Jaccard similarity of their shingle sets."""

    left: str
    right: str
    similarity: float


@dataclass(frozen=True)
class Quality:
    """What became of the pairs over the threshold.

    Attributes:
        num_pairs: over the threshold.
        both_stayed: those of them of which neither document was dropped.
        bins: by lower bound of similarity, pairs and those of which at most one document stayed.
        num_dropped: documents.
        unjustified: dropped documents without a survivor over the threshold.
    """

    num_pairs: int
    both_stayed: int
    num_dropped: int
    unjustified: int
    bins: Mapping[float, tuple[int, int]]

    @property
    def missed(self) -> float:
        """Share of pairs that both stayed."""
        return self.both_stayed / max(self.num_pairs, 1)


def shingle_set(content: bytes, size: int) -> frozenset[tuple[bytes, ...]]:
    """The word shingles of a text themselves; nothing is hashed."""
    words = _WORD.findall(content)
    return frozenset(zip(*(words[first:] for first in range(size)), strict=False))


def exact_join(sets: Mapping[str, Set[tuple[bytes, ...]]], threshold: float) -> list[Pair]:
    """All pairs whose Jaccard similarity reaches the threshold."""
    ordered = _rarest_first(sets)
    index: dict[int, list[str]] = defaultdict(list)
    elements: dict[str, frozenset[int]] = {}
    pairs = []
    for name in sorted(ordered, key=lambda name: (len(ordered[name]), name)):  # the smaller set first
        own, size = ordered[name], len(ordered[name])
        prefix = own[: size - ceil(threshold * size - 1e-9) + 1] if size else []
        others = {other for element in prefix for other in index[element]}
        mine = frozenset(own)
        for other in sorted(others):
            theirs = elements[other]
            if len(theirs) >= threshold * size:
                common = len(mine & theirs)
                similarity = common / (size + len(theirs) - common)
                if similarity >= threshold:
                    pairs.append(Pair(*sorted((name, other)), similarity))
        for element in prefix:
            index[element].append(name)
        elements[name] = mine
    return sorted(pairs, key=lambda pair: (pair.left, pair.right))


def _rarest_first(sets: Mapping[str, Set[tuple[bytes, ...]]]) -> dict[str, list[int]]:
    """Every set as numbers, which are small for shingles that few documents have; ascending."""
    counts: dict[tuple[bytes, ...], int] = defaultdict(int)
    for shingles in sets.values():
        for shingle in shingles:
            counts[shingle] += 1
    numbers = {shingle: number for number, shingle in enumerate(sorted(counts, key=lambda s: (counts[s], s)))}
    return {name: sorted(numbers[shingle] for shingle in shingles) for name, shingles in sets.items()}


def judge(pairs: Sequence[Pair], names: Set[str], kept: Set[str]) -> Quality:
    """Compare survivors with the exact pairs."""
    dropped = names - kept
    bins = {low: [0, 0] for low in BINS}
    both_stayed, justified = 0, set()
    for pair in pairs:
        stayed = {pair.left, pair.right} & kept
        both_stayed += len(stayed) == 2
        if len(stayed) == 1:
            justified |= {pair.left, pair.right} - kept
        counts = bins[max(low for low in BINS if low <= pair.similarity)]
        counts[0] += 1
        counts[1] += len(stayed) < 2
    return Quality(
        num_pairs=len(pairs),
        both_stayed=both_stayed,
        num_dropped=len(dropped),
        unjustified=len(dropped - justified),
        bins={low: (total, resolved) for low, (total, resolved) in bins.items()},
    )
