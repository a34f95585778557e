"""One HTML page on which a person checks what was redacted: every example before and after, by kind.

The page shows the values themselves, since nobody could judge a redaction without them: it says so, and
only its owner may read the file. It loads nothing, and whatever a source file holds is shown as text.
"""

import base64
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


class Sample:
    """A random sample of each tag. It depends on the findings and the seed alone, not on their order."""

    def __init__(self, examples_per_tag: int, *, seed: int = 0) -> None:
        self._size = examples_per_tag
        self._seed = seed
        self._drawn: dict[Tag, list[tuple[int, int, Finding]]] = {tag: [] for tag in TAGS}
        self.counts: Counter[Tag] = Counter()

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if it is drawn."""
        entry = (-_draw(finding, self._seed), self.counts.total(), finding)  # the smallest draws stay
        self.counts[finding.tag] += 1
        drawn = self._drawn[finding.tag]
        (heapq.heappush if len(drawn) < self._size else heapq.heappushpop)(drawn, entry)

    def by_tag(self) -> dict[Tag, list[Finding]]:
        """What was drawn, by place."""
        return {
            tag: sorted(
                (finding for *_, finding in drawn), key=lambda finding: (finding.source, finding.line)
            )
            for tag, drawn in self._drawn.items()
            if drawn
        }


def write_review(
    found: Iterable[Finding],
    out: Path,
    *,
    examples_per_tag: int = 100,
    seed: int = 0,
    title: str = "Redactions",
    counts: Mapping[str, int] | None = None,
) -> dict[Tag, int]:
    """Write the page, with a random sample where there are many.

    Args:
        counts: how many redactions there are by tag, where `found` is samples of them drawn with the same
            size and seed.

    Returns:
        How many redactions there were, by tag.
    """
    sample = Sample(examples_per_tag, seed=seed)
    for finding in found:
        sample.add(finding)
    counted = sample.counts if counts is None else Counter({tag: counts[tag] for tag in TAGS})
    with private_text(out) as stream:
        stream.writelines(_page(title, counted, sample.by_tag()))
    return {tag: counted[tag] for tag in TAGS if counted[tag]}


def write_findings(found: Mapping[Tag, Sequence[Finding]], path: Path) -> None:
    """Write findings as JSON lines that only their owner may read."""
    with private_text(path) as stream:
        for finding in (finding for findings in found.values() for finding in findings):
            stream.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")


def read_findings(path: Path) -> Iterator[Finding]:
    """The findings that `write_findings` wrote."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line)
            yield Finding(**values | {"pieces": tuple(Piece(**piece) for piece in values["pieces"])})


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
