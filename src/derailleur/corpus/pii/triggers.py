"""One pass over a text's bytes that says where which detectors could find anything in it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.pii.spans import Detector, Hit, Shape

PASSWORD_NAMES = ("pass", "pwd", "_pw")
KEY_NAMES = ("key", "secret", "token", "auth", "credential", "apikey", "bearer", "_pat", "Pat", "sig")
"""What the names of secrets hold, in small letters, capitals, or with a capital first."""

_AT, _DOT, _COLON, _ZERO, _NINE = (ord(character) for character in "@.:09")
_SPACE, _TAB, _NEWLINE, _RETURN, _BACKSLASH, _DASH = (ord(character) for character in " \t\n\r\\-")
_EQUALS, _COMMA, _PARENTHESIS, _GREATER, _LESS, _BANG = (ord(character) for character in "=,(><!")

_LOCAL, _HEX, _NAME, _CLOSE, _QUOTE, _BARE_END, _CODE, _PREFIX, _TYPE, _ALNUM = (1 << n for n in range(10))


def _classes() -> NDArray[np.int64]:
    """For each byte, the classes that it belongs to."""
    table = np.zeros(256, np.int64)
    alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for flag, members in (
        (_LOCAL, alnum + "._%+-"),
        (_HEX, "0123456789abcdefABCDEF"),
        (_NAME, alnum + "_-"),
        (_CLOSE, "\"'`\\]"),
        (_QUOTE, "\"'`"),
        (_BARE_END, "\"'`;,&<>|)]}\\" + "".join(map(chr, range(33)))),
        (_CODE, "([{$"),
        (_PREFIX, "bBrRuUfFL@"),
        (_TYPE, alnum + "_.[]|?<>&"),
        (_ALNUM, alnum),
    ):
        table[[ord(character) for character in members]] |= flag
    table[128:] |= _LOCAL
    return table


_CLASSES = _classes()

_MAX_NAME = 24  # bytes of a name after the part that makes it one of a secret
_MAX_VALUE = 512  # bytes; what is longer is data
_MIN_KEY, _MIN_PASSWORD = 16, 4


class Triggers:
    """All detectors' literals, looked up by their first two bytes, and their shapes."""

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._detectors: dict[int, list[int]] = {}  # of a trigger; shapes come before literals
        by_literal: dict[bytes, int] = {}
        for number, detector in enumerate(detectors):
            for trigger in detector.triggers:
                if not isinstance(trigger, Shape):
                    assert len(trigger) >= 2, f"{trigger!r} is too short"
                    trigger_id = by_literal.setdefault(trigger, len(Shape) + len(by_literal))
                else:
                    trigger_id = int(trigger)
                self._detectors.setdefault(trigger_id, []).append(number)
        ids = [(literal, number) for literal, number in by_literal.items()]
        ids += [(b"://", int(Shape.USERINFO))]
        ids += [(name, int(Shape.PASSWORD_VALUE)) for name in _spellings(PASSWORD_NAMES)]
        ids += [(name, int(Shape.KEY_VALUE)) for name in _spellings(KEY_NAMES)]
        self._build_table(ids)

    def _build_table(self, ids: list[tuple[bytes, int]]) -> None:
        by_pair: dict[bytes, list[tuple[bytes, int]]] = {}
        for literal, number in ids:
            by_pair.setdefault(literal[:2], []).append((literal[2:], number))
        self._first = np.zeros(1 << 16, np.int16)  # of a pair's literals, plus one; 0 means none
        rests: list[bytes] = []
        numbers: list[int] = []
        last: list[bool] = []
        for pair, literals in by_pair.items():
            self._first[pair[0] << 8 | pair[1]] = len(rests) + 1
            rests.extend(rest for rest, _ in literals)
            numbers.extend(number for _, number in literals)
            last.extend([False] * (len(literals) - 1) + [True])
        self._rests = np.frombuffer(b"".join(rests) + b"\0", np.uint8)
        self._offsets = np.cumsum([0, *map(len, rests)])
        self._numbers = np.array(numbers, np.int64)
        self._last = np.array(last, np.bool_)

    def hits(self, content: bytes) -> dict[int, list[Hit]]:
        """The hits of each detector that has any, by its number; positions in bytes, in order."""
        data = np.frombuffer(content, np.uint8)
        found = self._scan(data)
        hits: dict[int, list[Hit]] = {}
        for trigger, *place in found.tolist():
            for detector in self._detectors.get(trigger, ()):
                hits.setdefault(detector, []).append(Hit(*place))
        return hits

    def _scan(self, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        capacity = 256
        while True:
            rows = np.empty((capacity, 4), np.int64)
            arguments = (self._first, self._rests, self._offsets, self._numbers, self._last)
            count = _scan(data, *arguments, rows)
            if count <= capacity:
                return rows[:count]
            capacity = count


def _spellings(names: Sequence[str]) -> list[bytes]:
    spelled = {form for name in names for form in (name, name.upper(), name.capitalize())}
    return [name.encode() for name in sorted(spelled)]


@compiled
def _scan(
    data: NDArray[np.uint8],
    first: NDArray[np.int16],
    rests: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    numbers: NDArray[np.int64],
    last: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> int:
    """Write (trigger, position, start, end) of each hit; returns their number, more than fit or not."""
    count = 0
    dots = 0  # numbers followed by a dot, right before this place
    digits = colons = 0  # in the run of hexadecimal digits and colons that ends at this place
    after_four = False  # the first colon of that run came after four digits
    before = np.uint8(0)
    for position in range(len(data)):
        byte = data[position]
        literal = first[np.int64(before) << 8 | np.int64(byte)] - 1
        while literal >= 0:
            stop = position + 1 + offsets[literal + 1] - offsets[literal]
            if _continues(data, position + 1, stop, rests, offsets[literal]):
                trigger = numbers[literal]
                start, end = position - 1, stop
                if trigger == Shape.USERINFO:
                    start, end = _userinfo(data, stop)
                elif trigger == Shape.KEY_VALUE:
                    start, end = _value(data, position - 1, stop, False)
                elif trigger == Shape.PASSWORD_VALUE:
                    start, end = _value(data, position - 1, stop, True)
                if end > 0:
                    count = _write(rows, count, trigger, position - 1, start, end)
            literal = -1 if last[literal] else literal + 1
        if byte == _AT:
            if (
                position + 1 < len(data)
                and _CLASSES[before] & _LOCAL
                and _CLASSES[data[position + 1]] & _LOCAL
            ):
                count = _write(rows, count, Shape.AT_SIGN, position, position, position + 1)
        elif byte == _DOT:
            dots = dots + 1 if _ZERO <= before <= _NINE else 0
        elif _ZERO <= byte <= _NINE:
            if dots == 3 and before == _DOT:
                count = _write(rows, count, Shape.DOTTED_QUAD, position, position, position + 1)
        else:
            dots = 0
        if byte == _COLON:
            after_four = digits == 4 if colons == 0 else after_four
            colons += 1
            if after_four and colons == 2:
                count = _write(rows, count, Shape.HEX_COLONS, position, position, position + 1)
        elif _CLASSES[byte] & _HEX:
            digits += 1
        else:
            digits = colons = 0
        before = byte
    return count


@compiled
def _write(rows: NDArray[np.int64], count: int, trigger: int, position: int, start: int, end: int) -> int:
    if count < len(rows):
        rows[count, 0], rows[count, 1], rows[count, 2], rows[count, 3] = trigger, position, start, end
    return count + 1


@compiled
def _continues(
    data: NDArray[np.uint8], position: int, stop: int, rests: NDArray[np.uint8], offset: int
) -> bool:
    if stop > len(data):
        return False
    while position < stop and data[position] == rests[offset]:
        position += 1
        offset += 1
    return position == stop


@compiled
def _userinfo(data: NDArray[np.uint8], position: int) -> tuple[int, int]:
    """The password of `user:password@` at `position`, or (0, 0)."""
    start = 0
    for place in range(position, min(len(data), position + _MAX_VALUE)):
        byte = data[place]
        if byte == _AT:
            return (start, place) if 0 < start < place else (0, 0)
        if byte == _COLON and start == 0:
            start = place + 1
        elif byte <= _SPACE or _CLASSES[byte] & _QUOTE or byte in (_LESS, _GREATER, 0x2F, _BACKSLASH):
            break
    return 0, 0


@compiled
def _value(data: NDArray[np.uint8], name: int, position: int, is_password: bool) -> tuple[int, int]:
    """The value that is assigned to the name around `name`, which goes on at `position`, or (0, 0).

    Understands `name = "value"`, `"name": "value"`, `name: type = "value"`, `name := value`,
    `name != "value"`, `"name" => "value"`, `name("value")`, `("name", "value")`, `"name", default="value"`,
    `<name>value</name>`, `--name value`, and bare values up to a blank, a quote or one of `;,&<>|)]}`.
    """
    size = len(data)
    position = _skip(data, position, _MAX_NAME, _NAME)
    after_close = _skip(data, position, 3, _CLOSE)
    closed = after_close > position
    position = _skip_blanks(data, after_close)
    blank = position > after_close
    hopped = _hop(data, position)
    position = _skip_blanks(data, hopped)
    if position >= size:
        return 0, 0
    byte = data[position]
    must_quote = in_element = False
    if byte in (_EQUALS, _COLON) or (byte == _BANG and position + 1 < size and data[position + 1] == _EQUALS):
        is_colon = byte == _COLON
        stop = min(size, position + 3)
        position += 1
        while position < stop and (data[position] == _EQUALS or data[position] == _GREATER):
            position += 1
            is_colon = False
        position = _skip_blanks(data, position)
        if is_colon:
            position = _skip_type(data, position)
    elif byte == _COMMA and closed:
        must_quote = True
        position = _skip_blanks(data, position + 1)
    elif byte == _PARENTHESIS and not blank and not closed:
        must_quote = True
        position += 1
    elif byte == _GREATER and not blank:
        in_element = True
        position += 1
    elif not (blank and not closed and _is_flag(data, name)):
        return 0, 0
    return _literal(data, position, is_password, must_quote, in_element)


@compiled
def _literal(
    data: NDArray[np.uint8], position: int, is_password: bool, must_quote: bool, in_element: bool
) -> tuple[int, int]:
    """The quoted or bare value at `position`, if it could be a secret, or (0, 0)."""
    size = len(data)
    after_prefix = _skip(data, position, 2, _PREFIX)
    if after_prefix < size and _CLASSES[data[after_prefix]] & _QUOTE:
        position = after_prefix
    escaped = position + 1 < size and data[position] == _BACKSLASH and _CLASSES[data[position + 1]] & _QUOTE
    if escaped:
        position += 1
    quote = np.uint8(0)
    if position < size and _CLASSES[data[position]] & _QUOTE:
        quote = data[position]
        position += 1
    elif must_quote:
        return 0, 0
    start = position
    stop = min(size, start + _MAX_VALUE)
    letters = digits = 0
    while position < stop:
        byte = data[position]
        if quote:
            if byte == quote or (escaped and byte == _BACKSLASH):
                break
            if byte <= _SPACE:
                return 0, 0
            position += byte == _BACKSLASH
        elif _CLASSES[byte] & _BARE_END:
            break
        elif _CLASSES[byte] & _CODE:
            return 0, 0
        digits += _ZERO <= byte <= _NINE
        letters += (_CLASSES[byte] & _ALNUM) > 0
        position += 1
    if position > stop or (position == stop and stop < size) or (quote and position == size):
        return 0, 0
    if in_element and (position == size or data[position] != _LESS):
        return 0, 0
    length = position - start
    special = length - letters  # letters count digits too
    if is_password:
        enough = length >= _MIN_PASSWORD and (quote > 0 or in_element or digits > 0 or special > 0)
    else:
        enough = length >= _MIN_KEY and (digits > 0 or length >= 20)
    return (start, position) if enough else (0, 0)


@compiled
def _skip(data: NDArray[np.uint8], position: int, limit: int, flag: int) -> int:
    stop = min(len(data), position + limit)
    while position < stop and _CLASSES[data[position]] & flag:
        position += 1
    return position


@compiled
def _skip_blanks(data: NDArray[np.uint8], position: int) -> int:
    stop = min(len(data), position + 32)
    while position < stop and (data[position] == _SPACE or data[position] == _TAB):
        position += 1
    return position


@compiled
def _skip_type(data: NDArray[np.uint8], position: int) -> int:
    """Past `type =`, if that is what is at `position`."""
    after = _skip_blanks(data, _skip(data, position, 32, _TYPE))
    if after + 1 < len(data) and after > position and data[after] == _EQUALS and data[after + 1] != _EQUALS:
        return _skip_blanks(data, after + 1)
    return position


@compiled
def _hop(data: NDArray[np.uint8], position: int) -> int:
    """Past `, default` or a line end and `value`, if that is what is at `position`."""
    place = position
    stop = min(len(data), position + 40)
    while place < stop and (
        data[place] == _COMMA or data[place] == _SPACE or data[place] == _NEWLINE or data[place] == _RETURN
    ):
        place += 1
    for word in (b"value", b"default"):
        if place + len(word) < len(data):
            same = True
            for index in range(len(word)):
                same = same and data[place + index] == word[index]
            if same:
                return _skip(data, place + len(word), 1, _CLOSE)
    return position


@compiled
def _is_flag(data: NDArray[np.uint8], name: int) -> bool:
    """Whether the name around `name` is that of an option on a command line."""
    start = name
    while start > 0 and name - start < _MAX_NAME and _CLASSES[data[start - 1]] & _NAME:
        start -= 1
    return start + 1 < len(data) and data[start] == _DASH and data[start + 1] == _DASH
