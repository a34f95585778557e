import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.corpus.licences.catalogue import catalogue, licence_class
from derailleur.corpus.licences.expression import All, AnyOf, Expression, Leaf, all_of, any_of, leaves, parse

LEAVES = st.builds(
    Leaf,
    st.sampled_from(
        ["MIT", "Apache-2.0", "GPL-2.0-or-later", "LGPL-2.1-only", "Apache-2.0+", "LicenseRef-x"]
    ),
    st.sampled_from(["", "", "Classpath-exception-2.0"]),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts, min_size=2, max_size=3).map(all_of)
        | st.lists(parts, min_size=2, max_size=3).map(any_of)
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_an_expression_survives_its_own_text(expression: Expression) -> None:
    assert parse(str(expression)) == expression


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["(", ")", "AND", "or", "WITH", "MIT", "+"])).map(" ".join)
)
def test_any_text_is_an_expression_or_none(text: str) -> None:
    expression = parse(text)
    assert expression is None or parse(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mit", "MIT"),
        ("MIT OR Apache-2.0 AND ISC", "MIT OR Apache-2.0 AND ISC"),
        ("(MIT OR Apache-2.0) AND ISC", "(MIT OR Apache-2.0) AND ISC"),
        ("((MIT))", "MIT"),
        ("MIT and mit", "MIT"),
        ("GPL-2.0", "GPL-2.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("GPL-2.0-or-later", "GPL-2.0-or-later"),
        ("Apache-2.0+", "Apache-2.0+"),
        ("gpl-2.0 with linux-syscall-note", "GPL-2.0-only WITH Linux-syscall-note"),
        ("GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("Frobnicate-1.0", "Frobnicate-1.0"),
    ],
)
def test_how_expressions_are_written(text: str, written: str) -> None:
    assert str(parse(text)) == written


@pytest.mark.parametrize(
    "text", ["", "MIT OR", "AND MIT", "MIT Apache-2.0", "(MIT", "MIT)", "MIT WITH", "é", "MIT;"]
)
def test_what_is_no_expression(text: str) -> None:
    assert parse(text) is None


def test_nesting_without_end_is_no_expression() -> None:
    assert parse("(" * 400 + "MIT" + ")" * 400) is None


def test_structure() -> None:
    expression = parse("MIT OR (ISC AND Zlib)")
    assert expression == AnyOf((Leaf("MIT"), All((Leaf("ISC"), Leaf("Zlib")))))
    assert [leaf.licence for leaf in leaves(expression)] == ["MIT", "ISC", "Zlib"]


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("MIT", "permissive"),
        ("BSD-3-Clause", "permissive"),
        ("CC0-1.0", "public_domain"),
        ("MPL-2.0", "weak_copyleft"),
        ("LGPL-2.1-only", "weak_copyleft"),
        ("GPL-3.0-or-later", "strong_copyleft"),
        ("AGPL-3.0-only", "strong_copyleft"),
        ("CC-BY-SA-4.0", "strong_copyleft"),
        ("CC-BY-4.0", "permissive"),
        ("CC-BY-NC-SA-4.0", "non_commercial"),
        ("CC-BY-ND-4.0", "restricted"),
        ("BUSL-1.1", "restricted"),
        ("JSON", "restricted"),
        ("BSD-3-Clause-No-Nuclear-License", "restricted"),
        ("LicenseRef-proprietary", "proprietary"),
        ("LicenseRef-else", "unknown"),
        ("Apache-2.0+", "permissive"),
    ],
)
def test_classes(licence: str, kind: str) -> None:
    assert licence_class(licence) == kind


def test_an_exception_that_allows_linking_weakens_copyleft() -> None:
    assert licence_class("GPL-2.0-only", "Classpath-exception-2.0") == "weak_copyleft"
    assert licence_class("GPL-2.0-only", "Autoconf-exception-2.0") == "strong_copyleft"


def test_every_listed_licence_has_a_class_and_spells_itself() -> None:
    assert len(catalogue()) > 700
    assert sum(not licence.deprecated for licence in catalogue().values()) > 650
    for name, licence in catalogue().items():
        assert licence_class(name) != "unknown"
        if not licence.deprecated:
            assert parse(name) == Leaf(name)
