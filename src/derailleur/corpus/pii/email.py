"""E-mail addresses.

Reserved domains, git remotes, the user of a URL, decorators, package versions and `a @ b` are not any.
"""

import re
from collections.abc import Iterator, Sequence

from derailleur.corpus.pii.spans import Detector, Hit, Shape, Span, starts_after_escape

_MAX_LOCAL = 64  # characters, RFC 5321

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = re.compile(rf"@((?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[^\W\d_]{{2,24}}))(?![\w-])")

# reserved by RFC 2606 and RFC 6761; example.edu, used in the same way; SSH's names of algorithms
_RESERVED = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|org|net|edu)|example|invalid|localhost|test)|openssh\.com|libssh\.org",
    re.IGNORECASE,
)

_VERSION = re.compile(r"v?\d+\.\d+|\d+x\.", re.IGNORECASE)  # pkg@1.2.rc, icon@2x.png

_URL_BEFORE = re.compile(r"://[^\s/?#\"'<>]{0,96}\Z")  # scheme://user:password@host

_REMOTE = re.compile(r":(?![0-9]+/)[\w.~-]*/")  # user@host:path/to/repository.git, but not a port

# what follows the last dot in a file name or a matrix product, and is no top-level domain
_NO_TOP_LEVEL_DOMAIN = frozenset(
    (
        *("bmp", "css", "gif", "html", "ico", "jpeg", "jpg", "js", "json", "png", "svg", "tiff", "txt"),
        *("webp", "xml", "yaml", "yml"),
        *("conj", "data", "dot", "grad", "inverse", "real", "reshape", "shape", "transpose", "value"),
        *("values", "weight"),
        *("device", "mount", "scope", "service", "slice", "socket", "target", "timer"),  # systemd's units
    )
)


def _find(text: str, hits: Sequence[Hit]) -> Iterator[Span]:
    for hit in hits:
        if domain := _DOMAIN.match(text, hit.position):
            start = _local_start(text, hit.position)
            if start < hit.position and not _is_look_alike(text, start, domain):
                yield Span(start, domain.end(), "EMAIL")


def _local_start(text: str, at_sign: int) -> int:
    start = at_sign
    while start > max(0, at_sign - _MAX_LOCAL) and (text[start - 1].isalnum() or text[start - 1] in "._%+-"):
        start -= 1
    if start < at_sign and starts_after_escape(text, start):
        start += 1
    while start < at_sign and not text[start].isalnum() and text[start] != "_":
        start += 1
    return start


def _is_look_alike(text: str, start: int, domain: re.Match[str]) -> bool:
    name = domain[1]
    return bool(
        _RESERVED.fullmatch(name)
        or _VERSION.match(name)
        or name.rpartition(".")[2] in _NO_TOP_LEVEL_DOMAIN
        or text[start : domain.start()] == "git"
        or _REMOTE.match(text, domain.end())
        or _URL_BEFORE.search(text, max(0, start - 100), start)
        or text.startswith("(", domain.end())  # a @ b.method()
        or name.startswith(("self.", "cls."))
    )


EMAIL = Detector("e-mail addresses", (Shape.AT_SIGN,), _find)
