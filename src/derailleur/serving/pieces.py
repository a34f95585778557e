"""Which parts of a streamed text a draft proposed."""

import codecs
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from pydantic import BaseModel, Field

from derailleur.engine import Delta, Request
from derailleur.tokens import Tokenizer


class TextPiece(BaseModel):
    """Text between two changes of who proposed it."""

    text: str
    accepted: bool = Field(description="Whether it is a draft's proposal that the target accepted.")


class Pieces:
    """The pieces of the texts of one call.

    Args:
        requests: of the call, which share a draft or have none.
    """

    def __init__(self, requests: Sequence[Request], tokenizer: Tokenizer) -> None:
        drafts = requests[0].draft is not None
        self._origins = [_Origins(tokenizer) for _ in requests] if drafts else None

    def of(self, place: int, delta: Delta) -> list[TextPiece] | None:
        """The text of a delta in pieces, to be called with every one; None where nothing drafts."""
        return self._origins[place].pieces(delta) if self._origins else None


class _Origins:
    """Where the characters of one text come from; one of several tokens belongs to the last of them.

    The engine holds text back that may be the beginning of a stop string, so a delta's text is not that of
    its tokens; but what it shows is always the next part of the text of all tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._accepted: list[bool] = []  # of every character that was not shown yet

    def pieces(self, delta: Delta) -> list[TextPiece]:
        for place, token in enumerate(delta.tokens):
            text = self._utf8.decode(self._tokenizer.decode_bytes([token]))
            self._accepted += [place < delta.num_accepted] * len(text)
        shown, self._accepted = self._accepted[: len(delta.text)], self._accepted[len(delta.text) :]
        # A character that was never completed is replaced at the text's end, by no token.
        shown += [False] * (len(delta.text) - len(shown))
        return [
            TextPiece(text="".join(character for character, _ in run), accepted=accepted)
            for accepted, run in groupby(zip(delta.text, shown, strict=True), key=itemgetter(1))
        ]
