"""From generated tokens to text that may be shown: whole characters only, cut before a stop string."""

from collections.abc import Sequence
from typing import Protocol


class TextStream(Protocol):
    """Decodes one text token by token; gives out whole characters only."""

    def push(self, token: int) -> str:
        """The text that has become certain with this token."""
        ...

    def finish(self) -> str:
        """What is left when no token follows."""
        ...


class Tokenizer(Protocol):
    """What the engine needs of a tokenizer."""

    @property
    def eos_id(self) -> int:
        """The token after which a text ends."""
        ...

    def stream(self) -> TextStream:
        """A decoder for a new text."""
        ...


class StopText:
    """Text with stop strings: holds back what may turn out to be the beginning of one.

    Attributes:
        stopped: whether a stop string was found; nothing comes after it.
    """

    def __init__(self, stream: TextStream, stop: Sequence[str]) -> None:
        self.stopped = False
        self._stream = stream
        self._stop = [string for string in stop if string]
        self._held = ""

    def push(self, token: int) -> str:
        """The text that can be shown now that this token is known."""
        text = self._cut(self._held + self._stream.push(token))
        held = max((_overlap(text, string) for string in self._stop), default=0)
        shown = len(text) if self.stopped else len(text) - held
        self._held = text[shown:]
        return text[:shown]

    def finish(self) -> str:
        """The rest of the text."""
        text, self._held = self._held, ""
        return "" if self.stopped else self._cut(text + self._stream.finish())

    def _cut(self, text: str) -> str:
        found = [place for place in (text.find(string) for string in self._stop) if place >= 0]
        self.stopped = bool(found)
        return text[: min(found)] if found else text


def _overlap(text: str, string: str) -> int:
    """The longest end of `text` that is a beginning of `string`, short of all of it."""
    longest = min(len(text), len(string) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(string[:n])), 0)
