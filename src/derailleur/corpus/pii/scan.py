"""Scans a text with every detector and resolves overlaps."""

from collections.abc import Iterator

import numpy as np

from derailleur.corpus.pii.assignments import KEY_VALUES, PASSWORD_VALUES
from derailleur.corpus.pii.email import EMAIL
from derailleur.corpus.pii.ip_address import IPV4, IPV6
from derailleur.corpus.pii.keys import KEYS
from derailleur.corpus.pii.private_key import PRIVATE_KEY
from derailleur.corpus.pii.spans import Detector, Hit, Span, longest_wins
from derailleur.corpus.pii.triggers import Triggers
from derailleur.corpus.pii.urls import USERINFO

DETECTORS: tuple[Detector, ...] = (
    *(EMAIL, IPV4, IPV6, PRIVATE_KEY, USERINFO, KEY_VALUES, PASSWORD_VALUES),
    *KEYS,
)

_MAX_REPEATED = 100  # keys of a text that are looked for without their context, for the time to be linear

_TRIGGERS = Triggers(DETECTORS)


def scan(content: bytes) -> list[Span]:
    """Find personal data in a UTF-8 text; spans are in characters, sorted, without overlaps."""
    hits = _TRIGGERS.hits(content)
    if not hits:
        return []
    text = content.decode()
    if len(text) < len(content):
        hits = _in_characters(hits, content)
    return longest_wins(set(_spans(text, hits)))


def _in_characters(hits: dict[int, list[Hit]], content: bytes) -> dict[int, list[Hit]]:
    """The same with positions in characters instead of bytes."""
    characters = np.zeros(len(content) + 1, np.int64)  # before each byte
    np.cumsum(np.frombuffer(content, np.int8) >= -0x40, out=characters[1:])  # bytes that go on are 0x80-0xbf
    return {
        detector: [Hit(*places) for places in characters[np.array(of_detector)].tolist()]
        for detector, of_detector in hits.items()
    }


def _spans(text: str, hits: dict[int, list[Hit]]) -> Iterator[Span]:
    keys: set[str] = set()
    for detector, of_detector in hits.items():
        for span in DETECTORS[detector].find(text, of_detector):
            yield span
            if span.tag == "KEY":
                keys.add(text[span.start : span.end])
    # a key stays one where it is repeated without what gave it away
    for key in sorted(keys)[:_MAX_REPEATED]:
        yield from (Span(start, start + len(key), "KEY") for start in _occurrences(text, key))


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value)
    while start >= 0:
        yield start
        start = text.find(value, start + len(value))
