"""Private-key blocks in PEM and PGP armour, also where they are spelled as string literals."""

import re
from collections.abc import Iterator, Sequence

from derailleur.corpus.pii.spans import Detector, Hit, Span

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_MAX_BODY = 20_000  # characters; an RSA key of 16,384 bits has about 13,000

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/=]{16,}")
_MIN_BASE64 = 32  # characters: an Ed25519 key has 64
_MIN_SHARE = 0.5  # of the body; the rest is quotes, `\n` and header lines
# a block that is cut off: base64 lines with quotes, `\\n` and line ends between them
_CUT_OFF_BODY = re.compile(r"(?:(?:[\s\"',+]|\\[nr]){0,64}+[A-Za-z0-9+/=]{16,512}+){1,600}")


def _find(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for begin in (match for hit in hits if (match := _BEGIN.match(text, hit.position))):
        start = begin.end()
        limit = min(start + _MAX_BODY, len(text))
        next_begin = text.find("-----BEGIN", start, limit)
        end = _END.search(text, start, limit if next_begin < 0 else next_begin)
        if end and _is_key(text[start : end.start()]):
            yield Span(begin.start(), end.end(), "PRIVATE_KEY")
        elif not end and (body := _CUT_OFF_BODY.match(text, start, limit)) and _is_key(body[0]):
            yield Span(begin.start(), body.end(), "PRIVATE_KEY")


def _is_key(body: str) -> bool:
    """Whether it is base64 rather than code between two constants, or an elided example."""
    in_runs = sum(map(len, _BASE64_RUN.findall(body)))
    return in_runs >= _MIN_BASE64 and in_runs >= _MIN_SHARE * len("".join(body.split()))


PRIVATE_KEY = Detector("private keys", (b"-----BEGIN ",), _find)
