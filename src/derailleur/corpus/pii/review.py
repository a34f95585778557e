"""One HTML page on which a person checks what was redacted: every example before and after, by kind.

The page shows the values themselves, since nobody could judge a redaction without them: it says so, and
only its owner may read the file. It loads nothing, and whatever a source file holds is shown as text.
"""

import base64
import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from derailleur.corpus.pii.files import private_text
from derailleur.corpus.pii.redact import Redaction
from derailleur.corpus.pii.spans import TAGS, Tag

_CONTEXT_LINES = 2
_CONTEXT_CHARACTERS = 240  # of the context on either side
_MAX_SHOWN = 400  # characters of one value or of what lies between two


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text.

    Attributes:
        before: how it was.
        after: how it is now; None if it stayed.
        subject: whether this is the redaction that the example is about, not one in its context.
    """

    before: str
    after: str | None = None
    subject: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One redaction with its context.

    Attributes:
        source: the file or the row that it is in.
        line: where it starts, from 1.
    """

    source: str
    line: int
    tag: Tag
    pieces: tuple[Piece, ...]


def findings(source: str, text: str, redactions: Sequence[Redaction]) -> Iterator[Finding]:
    """The redactions of one text, as `redact` returns them.

    Args:
        text: before redaction.
    """
    line = 1
    counted = 0
    for number, redaction in enumerate(redactions):
        span = redaction.span
        line += text.count("\n", counted, span.start)
        counted = span.start
        first, last = _context(text, span.start, span.end)
        pieces: list[Piece] = []
        position = first
        for other in _inside(redactions, number, first, last):
            pieces.append(Piece(_shortened(text[position : other.span.start])))
            value = _shortened(text[other.span.start : other.span.end])
            pieces.append(Piece(value, other.replacement, other is redaction))
            position = other.span.end
        pieces.append(Piece(_shortened(text[position:last])))
        yield Finding(source, line, span.tag, tuple(pieces))


def _context(text: str, start: int, end: int) -> tuple[int, int]:
    """Some lines on both sides, cut where they are long."""
    lowest, highest = max(0, start - _CONTEXT_CHARACTERS), min(len(text), end + _CONTEXT_CHARACTERS)
    first, last = start, end - 1
    for _ in range(_CONTEXT_LINES + 1):
        if first >= lowest:
            first = text.rfind("\n", lowest, first)
        if last < highest:
            last = text.find("\n", last + 1, highest)
            last = highest if last < 0 else last
    return max(first + 1, lowest), last


def _inside(redactions: Sequence[Redaction], number: int, first: int, last: int) -> Sequence[Redaction]:
    """The redactions around one that lie wholly in its context."""
    low = high = number
    while low > 0 and redactions[low - 1].span.start >= first:
        low -= 1
    while high + 1 < len(redactions) and redactions[high + 1].span.end <= last:
        high += 1
    return redactions[low : high + 1]


def _shortened(text: str) -> str:
    if len(text) <= _MAX_SHOWN:
        return text
    half = _MAX_SHOWN // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"


def write_review(
    found: Iterable[Finding],
    out: Path,
    *,
    examples_per_tag: int = 100,
    seed: int = 0,
    title: str = "Redactions",
) -> dict[Tag, int]:
    """Write the page, with a random sample where there are many.

    The sample depends on the findings and the seed alone, not on their order.

    Returns:
        How many redactions there were, by tag.
    """
    counts: Counter[Tag] = Counter()
    samples: dict[Tag, list[tuple[int, int, Finding]]] = {tag: [] for tag in TAGS}
    for number, finding in enumerate(found):
        counts[finding.tag] += 1
        sample = samples[finding.tag]
        entry = (-_draw(finding, seed), number, finding)  # the smallest draws stay
        (heapq.heappush if len(sample) < examples_per_tag else heapq.heappushpop)(sample, entry)
    shown = {
        tag: sorted((finding for *_, finding in sample), key=lambda finding: (finding.source, finding.line))
        for tag, sample in samples.items()
        if sample
    }
    with private_text(out) as stream:
        stream.writelines(_page(title, counts, shown))
    return {tag: counts[tag] for tag in TAGS if counts[tag]}


def _draw(finding: Finding, seed: int) -> int:
    place = f"{seed}\0{finding.source}\0{finding.line}\0{finding.pieces}"
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:8])


def _page(title: str, counts: Counter[Tag], shown: dict[Tag, list[Finding]]) -> Iterator[str]:
    templates = files(__package__)
    script = (templates / "review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string((templates / "review.html.j2").read_text(encoding="utf-8"))
    return template.generate(
        title=title,
        counts=counts,
        shown=shown,
        style=(templates / "review.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=digest,  # the policy lets this script run, and none that a source file brought along
    )
