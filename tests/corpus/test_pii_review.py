"""The review page: before and after, escaped, sampled by seed, for its owner's eyes only."""

import re
import stat
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.pii import PiiConfig, Redaction, redact
from derailleur.corpus.pii.review import Finding, findings, write_review
from derailleur.corpus.pii.spans import Span


def found_in(text: str, source: str = "a.py") -> list[Finding]:
    _, redactions = redact(text.encode(), PiiConfig(style="placeholders"), repository="")
    return list(findings(source, text, redactions))


def before(finding: Finding) -> str:
    return "".join(piece.before for piece in finding.pieces)


def after(finding: Finding) -> str:
    return "".join(piece.before if piece.after is None else piece.after for piece in finding.pieces)


def test_context_is_some_lines_on_both_sides() -> None:
    lines = [f"line {number}" for number in range(9)]
    lines[4] = "ask ada@corp.com or bob@corp.com"
    first, second = found_in("\n".join(lines))
    assert before(first) == before(second) == "\n".join(lines[2:7])
    assert after(first) == "line 2\nline 3\nask <EMAIL> or <EMAIL>\nline 5\nline 6"
    assert (first.line, second.line) == (5, 5)
    assert [p.before for p in first.pieces if p.subject] == ["ada@corp.com"]
    assert [p.before for p in second.pieces if p.subject] == ["bob@corp.com"]


def test_long_lines_and_values_are_cut() -> None:
    [finding] = found_in("x" * 5_000 + " ada@corp.com " + "y" * 5_000)
    assert len(before(finding)) == 12 + 2 * 240
    text = "k" * 10_000
    [finding] = findings("a", text, [Redaction(Span(0, 10_000, "KEY"), "K")])
    assert "[... 9,600 characters ...]" in before(finding)
    assert after(finding) == "K"


@settings(deadline=None)
@given(
    st.text(alphabet="ab\n", max_size=900),
    st.lists(st.integers(0, 900), max_size=12, unique=True).map(sorted),
)
def test_contexts_are_parts_of_the_text(text: str, cuts: list[int]) -> None:
    cuts = [cut for cut in cuts if cut <= len(text)]
    redactions = [Redaction(Span(start, end, "KEY"), "<KEY>") for start, end in list(pairwise(cuts))[::2]]
    for finding, redaction in zip(findings("a", text, redactions), redactions, strict=True):
        if "[..." not in before(finding):
            assert before(finding) in text
        assert [piece.subject for piece in finding.pieces].count(True) == 1
        assert finding.line == text[: redaction.span.start].count("\n") + 1


class Tags(HTMLParser):
    """Which elements a page has, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} & ada@corp.com '\" <!--"


def test_file_contents_are_text(tmp_path: Path) -> None:
    write_review(found_in(EVIL, source="<b>.py"), tmp_path / "r.html", title="<i>")
    page = (tmp_path / "r.html").read_text()
    parsed = Tags()
    parsed.feed(page)
    assert parsed.names.count("script") == 1
    assert not {"img", "b.py", "link", "iframe"} & set(parsed.names)
    assert EVIL in parsed.text
    assert "<b>.py" in parsed.text
    assert not re.search(r"<[^>]*(?:src|href)=|https?://|url\(", page), "it loads nothing"
    assert "default-src 'none'" in page


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    write_review(found_in("ada@corp.com"), tmp_path / "r.html")
    assert stat.S_IMODE((tmp_path / "r.html").stat().st_mode) == 0o600
    assert "shows the values" in (tmp_path / "r.html").read_text()


def test_a_sample_depends_on_the_seed_and_not_on_the_order(tmp_path: Path) -> None:
    found = [
        finding
        for number in range(50)
        for finding in found_in(f"user{number}@corp.com and 52.14.3.{number}", source=f"{number:02}.py")
    ]
    pages = []
    for name, order, seed in (("a", found, 0), ("b", found[::-1], 0), ("c", found, 1)):
        counts = write_review(order, tmp_path / name, examples_per_tag=5, seed=seed)
        assert counts == {"EMAIL": 50, "IP_ADDRESS": 50}
        pages.append((tmp_path / name).read_text())
    assert pages[0] == pages[1] != pages[2]
    assert pages[0].count("<article>") == 10
    assert "A random 5 of 50." in pages[0]


def test_nothing_found(tmp_path: Path) -> None:
    assert write_review([], tmp_path / "r.html") == {}
    assert "Nothing was redacted." in (tmp_path / "r.html").read_text()


def test_a_page_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Finding]:
        yield from found_in("ada@corp.com")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_review(broken(), tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
