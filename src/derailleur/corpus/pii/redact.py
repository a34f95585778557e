"""Replaces personal data. The same value in the same repository always gets the same replacement.

Replacements are derived from a hash of the value, so that they need no state and depend on no order. They
are made so that source code stays source code: they hold no quote, backslash or line end, an address stays
an address, and scanning the result again finds nothing.
"""

import hashlib
import ipaddress
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.pii.recognizer import RecognizerConfig, load_recognizer
from derailleur.corpus.pii.scan import scan
from derailleur.corpus.pii.spans import Span, Tag, longest_wins

_ALPHANUMERIC = string.ascii_lowercase + string.digits
_EXAMPLE = "example"  # what a detector takes for no key and no password, wherever it stands
_KEY_CHARACTERS = 32
_PRIVATE_PREFIX = 12  # of 172.16.0.0/12


class PiiConfig(Config):
    """How personal data is replaced."""

    style: Literal["values", "placeholders"] = Field(
        "values", description="values (abcde@example.com) or placeholders (<EMAIL>)"
    )
    recognizer: RecognizerConfig | None = Field(
        None, description="a model that finds names beside what the detectors find; none by default"
    )
    salt: str = Field("", description="secret text mixed into replacements, so that none can be guessed back")


@dataclass(frozen=True, slots=True)
class Redaction:
    """One replacement; never the value that was there.

    Attributes:
        span: where it was, in characters of the text before redaction.
    """

    span: Span
    replacement: str

    def as_json(self) -> dict[str, str | int]:
        """Plain values for a log."""
        return {
            "tag": self.span.tag,
            "start": self.span.start,
            "end": self.span.end,
            "replacement": self.replacement,
        }


def find(content: bytes, config: PiiConfig) -> list[Span]:
    """All personal data in one UTF-8 text: the detectors' and an opted-in recognizer's.

    Returns:
        Spans in characters, sorted, without overlaps.
    """
    spans = scan(content)
    if config.recognizer is None:
        return spans
    [recognized] = load_recognizer(config.recognizer)([content.decode()])
    return longest_wins({*spans, *recognized})


def redact(content: bytes, config: PiiConfig, *, repository: str) -> tuple[bytes, list[Redaction]]:
    """Replace the personal data of one UTF-8 text.

    Args:
        repository: the scope in which equal values get equal replacements.

    Returns:
        The text, unchanged bytes if nothing was found, and what was replaced.
    """
    spans = find(content, config)
    if not spans:
        return content, []
    text = content.decode()
    redactions = [
        Redaction(span, _replacement(text[span.start : span.end], span.tag, config, repository))
        for span in spans
    ]
    return _apply(text, redactions).encode(), redactions


def _apply(text: str, redactions: Sequence[Redaction]) -> str:
    pieces = []
    position = 0
    for redaction in redactions:
        pieces += [text[position : redaction.span.start], redaction.replacement]
        position = redaction.span.end
    return "".join(pieces) + text[position:]


def _replacement(value: str, tag: Tag, config: PiiConfig, repository: str) -> str:
    if config.style == "placeholders":
        return f"<{tag}>"
    address, slash, prefix = value.partition("/") if tag == "IP_ADDRESS" else (value, "", "")
    key = "\0".join((config.salt, repository, tag, address))
    number = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
    match tag:
        case "EMAIL":
            return f"{_spell(number, string.ascii_lowercase, 5)}@example.com"
        case "IP_ADDRESS":
            private = _private_address(number, version=6 if ":" in address else 4)
            return _network(private, prefix) if slash else private
        case "KEY" | "PRIVATE_KEY":
            return _spell(number, _ALPHANUMERIC, _KEY_CHARACTERS - len(_EXAMPLE)) + _EXAMPLE
        case "PASSWORD":
            return _EXAMPLE + _spell(number, _ALPHANUMERIC, 5)
        case "NAME":
            return _spell(number, string.ascii_lowercase, 5).capitalize()
        case "USERNAME":
            return "user" + _spell(number, string.ascii_lowercase, 5)


def _private_address(number: int, *, version: Literal[4, 6]) -> str:
    """An address in 172.16.0.0/12 or in fd00::/8; never a network's first or last."""
    if version == 6:
        return str(ipaddress.IPv6Address((0xFD << 120) | (number % 2**120)))
    high, rest = divmod(number, 254)
    return str(ipaddress.IPv4Address("172.16.0.0") + (high % 2**12 << 8) + rest + 1)


def _network(private: str, prefix: str) -> str:
    """A private address's network; the address with the prefix where that is wider than the private range."""
    try:
        network = ipaddress.ip_interface(f"{private}/{prefix}").network
    except ValueError:  # in what a recognizer takes for an address, anything may follow the slash
        return private
    return f"{private}/{prefix}" if network.prefixlen < _PRIVATE_PREFIX else str(network)


def _spell(number: int, alphabet: str, length: int) -> str:
    letters = []
    for _ in range(length):
        number, letter = divmod(number, len(alphabet))
        letters.append(alphabet[letter])
    return "".join(letters)
