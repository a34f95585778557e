"""One pass over a text's bytes that says which detectors could find anything in it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.pii.spans import Detector, Shape

_MAX_DETECTORS = 64  # one bit each

_AT, _DOT, _COLON, _ZERO, _NINE = (ord(character) for character in "@.:09")
_IS_LOCAL = np.array([chr(b).isalnum() or chr(b) in "._%+-" or b >= 0x80 for b in range(256)])
_IS_HEX = np.array([chr(b) in "0123456789abcdefABCDEF" for b in range(256)])


class Triggers:
    """All detectors' literals, looked up by their first two bytes."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        assert len(detectors) <= _MAX_DETECTORS
        self._shape_masks = np.zeros(len(Shape), np.uint64)
        by_pair: dict[bytes, list[tuple[bytes, int]]] = {}
        for number, detector in enumerate(detectors):
            for trigger in detector.triggers:
                if isinstance(trigger, Shape):
                    self._shape_masks[trigger] |= np.uint64(1 << number)
                else:
                    assert len(trigger) >= 2, f"{trigger!r} is too short"
                    by_pair.setdefault(trigger[:2], []).append((trigger[2:], 1 << number))
        self._build_table(by_pair)

    def _build_table(self, by_pair: dict[bytes, list[tuple[bytes, int]]]) -> None:
        self._first = np.zeros(1 << 16, np.int16)  # of a pair's literals, plus one; 0 means none
        rests: list[bytes] = []
        masks: list[int] = []
        last: list[bool] = []
        for pair, literals in by_pair.items():
            self._first[pair[0] << 8 | pair[1]] = len(rests) + 1
            rests.extend(rest for rest, _ in literals)
            masks.extend(mask for _, mask in literals)
            last.extend([False] * (len(literals) - 1) + [True])
        self._rests = np.frombuffer(b"".join(rests) + b"\0", np.uint8)
        self._offsets = np.cumsum([0, *map(len, rests)])
        self._masks = np.array(masks, np.uint64)
        self._last = np.array(last, np.bool_)

    def scan(self, data: NDArray[np.uint8]) -> int:
        """A bit for each detector one of whose triggers is in the UTF-8 text `data`."""
        return int(
            _scan(
                data,
                self._first,
                self._rests,
                self._offsets,
                self._masks,
                self._last,
                self._shape_masks,
            )
        )


@compiled
def _scan(
    data: NDArray[np.uint8],
    first: NDArray[np.int16],
    rests: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    masks: NDArray[np.uint64],
    last: NDArray[np.bool_],
    shape_masks: NDArray[np.uint64],
) -> np.uint64:
    found = np.uint64(0)
    dots = 0  # numbers followed by a dot, right before this place
    digits = colons = 0  # in the run of hexadecimal digits and colons that ends at this place
    after_four = False  # the first colon of that run came after four digits
    before = np.uint8(0)
    for position in range(len(data)):
        byte = data[position]
        literal = first[np.int64(before) << 8 | np.int64(byte)] - 1
        while literal >= 0:
            if _continues(data, position + 1, rests, offsets[literal], offsets[literal + 1]):
                found |= masks[literal]
            literal = -1 if last[literal] else literal + 1
        if byte == _AT:
            if _IS_LOCAL[before] and position + 1 < len(data) and _IS_LOCAL[data[position + 1]]:
                found |= shape_masks[0]
        elif byte == _DOT:
            dots = dots + 1 if _ZERO <= before <= _NINE else 0
        elif _ZERO <= byte <= _NINE:
            if dots >= 3:
                found |= shape_masks[1]
        else:
            dots = 0
        if byte == _COLON:
            after_four = digits == 4 if colons == 0 else after_four
            colons += 1
            if after_four and colons >= 2:
                found |= shape_masks[2]
        elif _IS_HEX[byte]:
            digits += 1
        else:
            digits = colons = 0
        before = byte
    return found


@compiled
def _continues(
    data: NDArray[np.uint8], position: int, rests: NDArray[np.uint8], start: int, stop: int
) -> bool:
    if position + stop - start > len(data):
        return False
    index = 0
    while index < stop - start and data[position + index] == rests[start + index]:
        index += 1
    return index == stop - start
