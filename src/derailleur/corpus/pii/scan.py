"""Scans a text with every detector and resolves overlaps."""

from collections.abc import Iterable, Iterator

import numpy as np

from derailleur.corpus.pii.email import EMAIL
from derailleur.corpus.pii.ip_address import IPV4, IPV6
from derailleur.corpus.pii.keys import KEYS
from derailleur.corpus.pii.private_key import PRIVATE_KEY
from derailleur.corpus.pii.spans import Detector, Span, longest_wins
from derailleur.corpus.pii.triggers import Triggers

DETECTORS: tuple[Detector, ...] = (EMAIL, IPV4, IPV6, PRIVATE_KEY, *KEYS)

_TRIGGERS = Triggers(DETECTORS)


def scan(content: bytes) -> list[Span]:
    """Find personal data in a UTF-8 text; spans are in characters, sorted, without overlaps."""
    triggered = _TRIGGERS.scan(np.frombuffer(content, np.uint8))
    if not triggered:
        return []
    text = content.decode()
    detectors = [detector for number, detector in enumerate(DETECTORS) if triggered >> number & 1]
    return longest_wins(set(_spans(text, detectors)))


def _spans(text: str, detectors: Iterable[Detector]) -> Iterator[Span]:
    for detector in detectors:
        found = list(detector.find(text))
        yield from (Span(start, end, detector.tag) for start, end in found)
        if detector.tag == "KEY":  # a key stays one where it is repeated without what gave it away
            for key in {text[start:end] for start, end in found}:
                yield from (Span(start, start + len(key), "KEY") for start in _occurrences(text, key))


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value)
    while start >= 0:
        yield start
        start = text.find(value, start + len(value))
