"""The data card: strangers' names stay text, its front matter is the hub's, the salt is never shown."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from derailleur.corpus import CurateConfig
from derailleur.corpus.data_card import data_card
from derailleur.corpus.documents import SCHEMA
from derailleur.corpus.pii import TAGS

COUNT = {"files_kept": 3, "bytes_kept": 3_000_000}
HOSTILE = (
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "&lt;b&gt; `code` *a* _b_ **c** ~~d~~ a | b \\| c \\",
    "line\nline\r\n# title\x00\x1b[31m\u2028\u202e",
    "https://evil.example and <https://evil.example> and @someone and $x^2$",
    "\udcff",
)


def results(**changes: Any) -> dict[str, Any]:
    return {
        "files_seen": 5,
        "kept": 3,
        "bytes_kept": 3_000_000,
        "splits": {"train": {"files": 3, "bytes": 3_000_000}, "heldout": {"files": 0, "bytes": 0}},
        "by_source": {"django": COUNT},
        "by_language": {"Python": COUNT | {"files_seen": 5, "bytes_seen": 5_000_000}},
        "by_licence": {"MIT": COUNT},
        "dropped": {"near_duplicate": 2},
        "quarantined": {},
        "near_dedup": {"cluster_sizes": {"3": 1}},
        "pii": dict.fromkeys(TAGS, 0),
        "filters": [],
        "contamination": {},
    } | changes


def card(config: CurateConfig | None = None, **changes: Any) -> str:
    return data_card(config or CurateConfig(), results(**changes), checksums="c" * 64, version="1")


def front_matter(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return loaded


def cells(text: str, title: str) -> list[Token]:
    """The first cell of every row of a section's table, as a reader of Markdown understands it."""
    body = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    starts = [number for number, token in enumerate(tokens) if token.type == "tr_open"]
    return [tokens[number + 2] for number in starts[1:]]


def shown(name: str) -> str:
    return "".join(c if c.isprintable() else " " for c in name).strip()


def assert_is_text(cell: Token, name: str) -> None:
    assert cell.children is not None
    assert {child.type for child in cell.children} <= {"text", "text_special"}
    assert "".join(child.content for child in cell.children) == shown(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text(name: str) -> None:
    text = card(by_source={name: COUNT}, by_licence={name: COUNT}, by_language={name: COUNT})
    for title in ("Sources", "Languages", "Licences"):
        [cell] = cells(text, title)
        assert_is_text(cell, name)
    assert "://" not in re.sub(r"\\.", "", text), "no address becomes a link by itself"
    assert text.isprintable() or all(c == "\n" or c.isprintable() for c in text)


@given(st.text(min_size=1).filter(lambda name: shown(name) != ""))
def test_any_name_is_text(name: str) -> None:
    [cell] = cells(card(by_source={name: COUNT}), "Sources")
    assert_is_text(cell, name)


def test_a_long_table_is_cut_with_a_number() -> None:
    text = card(by_licence={f"L{number}": COUNT for number in range(45)})
    assert len(cells(text, "Licences")) == 41
    assert "| ... and 5 more |" in text


def test_the_salt_is_never_shown() -> None:
    config = CurateConfig.model_validate({"pii": {"salt": "s3cret-salt"}})
    text = card(config)
    assert "s3cret" not in text
    block = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    assert block["pii"].pop("salt") == "(not shown)"
    CurateConfig.model_validate(block)  # the rest makes the corpus again
    assert "(not shown)" not in card(), "there is none to hide"


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT"], {"license": "mit"}),
        (["Apache-2.0"], {"license": "apache-2.0"}),
        (["MIT OR Apache-2.0"], {"license": "other", "license_name": "mixed"}),
        (["LicenseRef-own\nlicense: mit"], {"license": "other", "license_name": "mixed"}),
        (["MIT", "unknown"], {"license": "other", "license_name": "mixed"}),
        (["unknown"], {"license": "other", "license_name": "unknown"}),
        (["LicenseRef-unknown"], {"license": "other", "license_name": "unknown"}),
        (["LicenseRef-BSD"], {"license": "other", "license_name": "mixed"}),
        ([], {"license": "other", "license_name": "unknown"}),
    ],
)
def test_only_a_lone_licence_is_the_licence_of_all(licences: list[str], expected: dict[str, str]) -> None:
    values = front_matter(card(by_licence=dict.fromkeys(licences, COUNT)))
    assert {key: value for key, value in values.items() if key.startswith("license")} == expected


@pytest.mark.parametrize(
    ("kept", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (5_000_000, "1M<n<10M"),
        (10**11, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_the_size_has_the_hubs_name(kept: int, category: str) -> None:
    assert front_matter(card(kept=kept, files_seen=kept))["size_categories"] == [category]


def test_the_front_matter_names_the_files_and_no_split_that_is_reserved() -> None:
    text = card()
    assert text.startswith("---\n")
    assert front_matter(text)["configs"] == [{"config_name": "default", "data_files": "documents-*.parquet"}]
    files = text.split("\n## Files\n")[1].split("\n## ")[0]
    assert all(f"`{name}`" in files for name in SCHEMA.names)
    assert text.index("## Limits") < text.index("## Make it again")
