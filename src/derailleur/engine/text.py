"""From generated tokens to text that may be shown: whole characters only, cut before a stop string."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """What the engine needs of a tokenizer."""

    eos_id: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, which may begin and end inside a character."""
        ...


class StopText:
    """Text with stop strings: holds back what may turn out to be the beginning of one.

    Attributes:
        stopped: whether a stop string was found; nothing comes after it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = [string for string in stop if string]
        self._held = ""

    def push(self, token: int) -> str:
        """The text that can be shown now that this token is known."""
        text = self._cut(self._held + self._utf8.decode(self._tokenizer.decode_bytes([token])))
        held = max((_overlap(text, string) for string in self._stop), default=0)
        shown = len(text) if self.stopped else len(text) - held
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """The rest of the text."""
        text, self._held = self._held, ""
        return "" if self.stopped else self._cut(text + self._utf8.decode(b"", final=True))

    def _cut(self, text: str) -> str:
        found = [place for place in (text.find(string) for string in self._stop) if place >= 0]
        self.stopped = bool(found)
        return text[: min(found)] if found else text


def _overlap(text: str, string: str) -> int:
    """The longest end of `text` that is a beginning of `string`, short of all of it."""
    longest = min(len(text), len(string) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
