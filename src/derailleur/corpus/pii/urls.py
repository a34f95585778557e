"""Passwords and tokens in URLs: `scheme://user:password@host`."""

from collections.abc import Iterator, Sequence

from derailleur.corpus.pii.look_alikes import is_password, is_random
from derailleur.corpus.pii.spans import Detector, Hit, Shape, Span

_MIN_KEY = 24  # characters; what is shorter is a password even where it is random


def _find(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        password = text[hit.start : hit.end]
        if len(password) >= _MIN_KEY and is_random(password):
            yield Span(hit.start, hit.end, "KEY")
        elif is_password(password, bare=False):
            yield Span(hit.start, hit.end, "PASSWORD")


USERINFO = Detector("passwords in URLs", (Shape.USERINFO,), _find)
