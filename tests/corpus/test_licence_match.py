"""Licence texts against SPDX's, with a plain twin of the measure as oracle."""

import json
import lzma
import random
import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.licences.catalogue import RESTRICTED
from derailleur.corpus.licences.match import MIN_SIMILARITY, _references, match_licence
from derailleur.corpus.licences.words import grams, phrase_text


def texts() -> dict[str, str]:
    packed = (files("derailleur.corpus.licences") / "data" / "texts.jsonl.xz").read_bytes()
    rows = [json.loads(line) for line in lzma.decompress(packed).splitlines()]
    return {row["id"]: row["text"] for row in rows}


TEXTS = texts()
MATCHED = _references().ids


def plain_grams(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9\x80-\U0010ffff]+", grams(text.encode()).text.decode("utf-8", "replace"))
    return list(zip(words, words[1:], words[2:], strict=False))


def plain_similarity(text: str, licence: str) -> float:
    """Different grams of the licence in the best stretch of its length, tried one after another."""
    wanted, there = plain_grams(TEXTS[licence]), plain_grams(text)
    length = len(wanted)
    best = max(
        len(set(wanted) & set(there[start : start + length]))
        for start in range(max(len(there) - length, 0) + 1)
    )
    return best / len(set(wanted))


def test_every_text_is_found_as_itself() -> None:
    """But for a few that hold another licence's text whole, with little beside it."""
    others = {}
    for licence in MATCHED:
        match = match_licence(TEXTS[licence].encode())
        if match is None or match.spdx != licence:
            others[licence] = match and match.spdx
    assert len(others) < 0.03 * len(MATCHED), others
    assert not set(others) & {
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "GPL-2.0-only",
        "MPL-2.0",
    }


@pytest.mark.parametrize("licence", ["MIT", "BSD-3-Clause", "ISC", "Zlib", "BSL-1.0"])
def test_similarity_is_that_of_the_plain_measure(licence: str) -> None:
    chooser = random.Random(licence)
    words = TEXTS[licence].split(" ")
    for _ in range(3):
        changed = words.copy()
        changed[chooser.randrange(len(words))] = "changed"
        text = f"Some words before {' '.join(changed)} and after it"
        match = match_licence(text.encode())
        assert match is not None
        assert match.spdx == licence
        assert match.similarity == pytest.approx(plain_similarity(text, licence))


@pytest.mark.parametrize(
    "layout",
    [
        lambda text: text.upper(),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n".join(f" * {line}" for line in text.split("\n")),
        lambda text: re.sub(r"\s+", "\n", text),
        lambda text: text.replace("<year> <copyright holders>", "1999-2024 Jane Doe <jane@example.org>"),
        lambda text: "The MIT License (MIT)\n=====================\n\n" + text,
    ],
)
def test_layout_and_holders_do_not_matter(layout: object) -> None:
    assert callable(layout)
    match = match_licence(layout(TEXTS["MIT"]).encode())
    assert match is not None
    assert match.spdx == "MIT"
    assert match.similarity > 0.97


def test_bundled_licences_are_found_in_their_order() -> None:
    text = "\n\n----\n\n".join(
        TEXTS[id] for id in ("BSD-3-Clause", "MIT", "Apache-2.0", "MIT", "BSD-2-Clause")
    )
    match = match_licence(text.encode())
    assert match is not None
    assert match.spdx == "BSD-3-Clause AND MIT AND Apache-2.0 AND BSD-2-Clause"


def test_many_copies_of_one_licence_are_no_longer_licence_that_holds_it() -> None:
    match = match_licence("\n\n".join([TEXTS["MIT"]] * 12).encode())  # FSL-1.1-MIT ends with the text of MIT
    assert match is not None
    assert match.spdx == "MIT"


def test_a_choice_that_the_text_offers() -> None:
    text = f"Dual licensed under MIT or Apache.\n\n{TEXTS['MIT']}\n\n{TEXTS['Apache-2.0']}"
    match = match_licence(text.encode())
    assert match is not None
    assert match.spdx == "MIT OR Apache-2.0"


def test_a_limit_of_use_beside_a_known_text_is_not_overlooked() -> None:
    clause = (
        'The Software is provided under the License, subject to the "Commons Clause" License Condition.\n\n'
    )
    match = match_licence((clause + TEXTS["Apache-2.0"]).encode())
    assert match is not None
    assert match.spdx == f"Apache-2.0 AND {RESTRICTED}"


def test_the_lesser_licence_with_the_general_one_that_it_adds_to() -> None:
    match = match_licence(f"{TEXTS['LGPL-3.0-only']}\n\n{TEXTS['GPL-3.0-only']}".encode())
    assert match is not None
    assert match.spdx == "LGPL-3.0-only"


def test_a_statement_in_place_of_a_text() -> None:
    match = match_licence(b"This package is distributed under the terms of the MIT license.\n")
    assert match is not None
    assert (match.spdx, match.by) == ("MIT", "notice")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"hello", b"All of this is mine." * 100])
def test_what_matches_nothing(data: bytes) -> None:
    assert match_licence(data) is None


def test_a_licence_that_was_changed_much_is_not_that_licence() -> None:
    words = TEXTS["MIT"].split(" ")
    changed = " ".join("other" if number % 9 == 0 else word for number, word in enumerate(words))
    assert plain_similarity(changed, "MIT") < MIN_SIMILARITY
    match = match_licence(changed.encode())
    assert match is None or match.by == "notice"


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(["MIT", "ISC", "Zlib", "BSL-1.0"]), min_size=1, max_size=4), st.text(max_size=80)
)
def test_any_row_of_licences_is_taken_apart(ids: list[str], between: str) -> None:
    match = match_licence(f"\n{between}\n".join(TEXTS[id] for id in ids).encode())
    assert match is not None
    assert set(re.split(" AND | OR ", match.spdx)) == set(ids)


@given(st.binary(max_size=200))
def test_words_without_what_is_explained(data: bytes) -> None:
    hashed = grams(data)
    nothing = hashed.hashes == 0
    assert hashed.without(nothing) == hashed.text
    assert phrase_text(hashed.without(~nothing)) == (b"" if len(nothing) else phrase_text(hashed.text))
