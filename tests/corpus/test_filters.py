"""Line statistics against plain Python, and the bounds of the basic filters."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.documents import Document
from derailleur.corpus.filters import FilterConfig, Filters, LineStatistics, line_statistics


def twin(text: str) -> LineStatistics:
    lines = re.split("\r\n|\r|\n", text)
    if not lines[-1]:
        lines.pop()  # what follows the last line end is no line
    alphanumeric = sum(c.isalnum() or not c.isascii() for c in text)
    return LineStatistics(
        num_lines=len(lines),
        num_characters=len(text),
        longest_line=max(map(len, lines), default=0),
        mean_line=sum(map(len, lines)) / max(len(lines), 1),
        alphanumeric_share=alphanumeric / max(len(text), 1),
    )


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from("aZ09_@[`{/: \t\n\r\x7fé漢𝄞")))
def test_statistics_equal_plain_python(text: str) -> None:
    assert line_statistics(text.encode()) == twin(text)


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("x" * 1000 + "\n" + "y\n" * 20, None, None),
        ("x" * 1001 + "\n" + "y\n" * 20, "long_line", "1001 characters"),
        ("é" * 1000 + "\n" + "y\n" * 20, None, None),
        (("x" * 100 + "\n") * 9, None, None),
        (("x" * 101 + "\r\n") * 9, "mean_line_length", "101.0 characters"),
        ("ab======\n", "alphanumeric_share", "0.222"),
        ("abc=====\n" * 9, None, None),
    ],
)
def test_bounds(text: str, reason: str | None, detail: str | None) -> None:
    document = Document("", "r", "a.py", "Python", "train", "", None, text.encode())
    verdict = Filters(FilterConfig(order=("basic",))).judge(document).verdict
    assert (verdict and verdict.reason, verdict and verdict.detail) == (reason, detail)
