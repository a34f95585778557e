"""Source code of tests, taken apart just far enough to find its statements and the operands of an assertion.

For JavaScript and Java. No parser: tests that are written in another way than expected are refused by their
readers, and judged in a mode that needs no reading.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_COMMENT = r"(?P<comment>//[^\n]*|/\*.*?(?:\*/|(?P<endless>\Z)))"
_QUOTED = r"'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\""
_REGEX = r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/"
_BEFORE_REGEX = re.compile(r"(?:^|[(,=:\[!&|?{};+*%<>~^-]|\breturn|\btypeof)$")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Syntax(Enum):
    """The patterns of comments and quoted text, by language."""

    JAVASCRIPT = re.compile(rf"{_COMMENT}|{_QUOTED}|`(?:\\.|[^`\\])*`|(?P<regex>{_REGEX})", re.DOTALL)
    JAVA = re.compile(rf'{_COMMENT}|"""(?:\\.|[^\\])*?"""|{_QUOTED}', re.DOTALL)


class UnreadableError(ValueError):
    """Source code that is not taken apart here; nobody's fault."""


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of source code.

    Attributes:
        text: as it is written.
        mask: as long, with blanks for comments and for what stands between quotes.
    """

    text: str
    mask: str

    @classmethod
    def read(cls, text: str, syntax: Syntax) -> "Code":
        """Mask a text.

        Raises:
            UnreadableError: for a comment or string that does not end, and a template with code in it.
        """
        mask = _mask(text, syntax)
        if any(mask.count(quote) % 2 for quote in "'\"`"):
            raise UnreadableError("a string that does not end")
        return cls(text, mask)

    def __getitem__(self, part: slice) -> "Code":
        return Code(self.text[part], self.mask[part])

    def strip(self) -> "Code":
        """Without white space and comments at both ends."""
        start = len(self.mask) - len(self.mask.lstrip())
        return self[start : max(start, len(self.mask.rstrip()))]

    def unwrapped(self) -> "Code":
        """Without brackets around all of it."""
        code = self.strip()
        while code.mask.startswith("(") and code.closing(0) == len(code.mask) - 1:
            code = code[1:-1].strip()
        return code

    def closing(self, opening: int) -> int:
        """Where the bracket that opens at `opening` closes.

        Raises:
            UnreadableError: if it does not.
        """
        for position, depth in self._depths(opening):
            if depth == 0:
                return position
        raise UnreadableError("a bracket that does not close")

    def end_of_statement(self, start: int) -> int:
        """Where the next semicolon outside brackets is.

        Raises:
            UnreadableError: if there is none.
        """
        opened = 0
        for position in range(start, len(self.mask)):
            opened += (self.mask[position] in "([{") - (self.mask[position] in ")]}")
            if opened == 0 and self.mask[position] == ";":
                return position
        raise UnreadableError("a statement that does not end")

    def split(self, separator: str) -> list["Code"]:
        """At the separators, a regular expression, that are in no bracket; stripped."""
        inside = [False] * (len(self.mask) + 1)
        start = None
        for position, depth in self._depths(0):
            if depth and start is None:
                start = position
            elif not depth and start is not None:
                inside[start : position + 1] = [True] * (position + 1 - start)
                start = None
        if start is not None:
            raise UnreadableError("a bracket that does not close")
        parts, begin = [], 0
        for match in re.finditer(separator, self.mask):
            if not inside[match.start()]:
                parts.append(self[begin : match.start()].strip())
                begin = match.end()
        return [*parts, self[begin:].strip()]

    def _depths(self, start: int) -> Iterator[tuple[int, int]]:
        """Every bracket from `start` on, with how many are open behind it."""
        expected: list[str] = []
        for position in range(start, len(self.mask)):
            character = self.mask[position]
            if character in _CLOSING:
                expected.append(_CLOSING[character])
            elif character in ")]}":
                if not expected or expected.pop() != character:
                    raise UnreadableError("a bracket that was not opened")
            else:
                continue
            yield position, len(expected)


def _mask(text: str, syntax: Syntax) -> str:
    pattern: re.Pattern[str] = syntax.value
    mask, position = "", 0
    while match := pattern.search(text, position):
        mask += text[position : match.start()]
        found = match.groupdict()
        if found["endless"] is not None or (match.group().startswith("`") and "${" in match.group()):
            raise UnreadableError("a comment that does not end, or a template with code in it")
        if found.get("regex") and not _BEFORE_REGEX.search(mask.rstrip()[-8:]):
            mask += "/"  # a division
            position = match.start() + 1
            continue
        blank = re.sub(r"[^\n]", " ", match.group())
        mask += blank if found["comment"] else match.group()[0] + blank[1:-1] + match.group()[-1]
        position = match.end()
    return mask + text[position:]
