from pathlib import Path

import pytest

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.licences import (
    UNKNOWN,
    FileLicence,
    LicenceConfig,
    LicencePolicy,
    OptOut,
    Statement,
    file_licence,
    judge_licence,
)
from derailleur.errors import ConfigError, DataError

PERMISSIVE = LicenceConfig(policy="permissive").load()


def reason(policy: LicencePolicy, *licences: str) -> str:
    verdict = judge_licence(FileLicence(licences, "header"), policy)
    return verdict.reason if verdict else ""


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (("MIT",), ""),
        (("CC0-1.0",), ""),
        (("MIT", "Apache-2.0"), ""),
        (("GPL-3.0-only",), "licence_not_allowed"),
        (("MIT OR GPL-3.0-only",), ""),
        (("MIT AND GPL-3.0-only",), "licence_not_allowed"),
        (("MIT", "GPL-3.0-only"), "licence_not_allowed"),
        (("(MIT OR GPL-2.0-only) AND ISC",), ""),
        ((UNKNOWN,), "licence_unknown"),
        ((f"MIT OR {UNKNOWN}",), ""),
        ((f"MIT AND {UNKNOWN}",), "licence_unknown"),
        ((f"GPL-2.0-only AND {UNKNOWN}",), "licence_not_allowed"),
        (("no expression at all",), "licence_unknown"),
        (("Abstyles",), "licence_not_allowed"),
        ((), "no_licence"),
    ],
)
def test_the_permissive_policy(licences: tuple[str, ...], expected: str) -> None:
    assert reason(PERMISSIVE, *licences) == expected


def test_recording_drops_nothing() -> None:
    record = LicenceConfig().load()
    for licences in (("GPL-3.0-only",), (UNKNOWN,), (), ("LicenseRef-proprietary",), ("LicenseRef-mine",)):
        assert reason(record, *licences) == ""


def test_an_identifier_counts_before_its_class_and_deny_before_allow() -> None:
    policy = LicencePolicy(
        allow=("permissive", "MPL-2.0", "GPL-2.0-only WITH Linux-syscall-note"), deny=("JSON", "WTFPL")
    )
    assert reason(policy, "MPL-2.0") == ""
    assert reason(policy, "MPL-1.1") == "licence_not_allowed"
    assert reason(policy, "WTFPL") == "licence_not_allowed"
    assert reason(policy, "GPL-2.0-only WITH Linux-syscall-note") == ""
    assert reason(policy, "GPL-2.0-only") == "licence_not_allowed"
    assert reason(LicencePolicy(allow=("MIT",), deny=("permissive",)), "MIT") == ""
    assert reason(LicencePolicy(allow=("MIT",), deny=("MIT",)), "MIT") == "licence_not_allowed"


def test_the_detail_names_the_licence_and_where_it_was_found() -> None:
    verdict = judge_licence(FileLicence(("GPL-2.0-only",), "file", "lib/COPYING (0.99)"), PERMISSIVE)
    assert verdict == Verdict("dropped", "licence_not_allowed", "GPL-2.0-only (file: lib/COPYING (0.99))")


def test_a_policy_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("allow: [permissive, public_domain, mpl-2.0]\nunknown: keep\nno_licence: keep\n")
    policy = LicenceConfig(policy=str(path)).load()
    assert policy.allow == ("permissive", "public_domain", "MPL-2.0")
    assert reason(policy, UNKNOWN) == "" == reason(policy)
    assert reason(policy, "MPL-2.0") == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("allow: [MIT, Apache-2]", "did you mean 'Apache-2.0'"),
        ("alow: [MIT]", "did you mean 'allow'"),
        ("allow: [MIT OR ISC]", "unknown licence or class 'MIT OR ISC'"),
        ("unknown: perhaps", "unknown"),
    ],
)
def test_a_wrong_policy_file_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        LicenceConfig(policy=str(path)).load()
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_policy_file_that_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        LicenceConfig(policy="nowhere.yaml").load()


HEADER = Statement(("MIT",), "header")
FILE = Statement(("GPL-2.0-only",), "file", "COPYING (1.00)")


def test_the_most_specific_source_is_the_licence() -> None:
    assert file_licence([HEADER, FILE], "nearest") == FileLicence(("MIT",), "header")
    assert file_licence([Statement((), "header"), FILE]) == FileLicence(
        ("GPL-2.0-only",), "file", "COPYING (1.00)"
    )
    assert file_licence([]) == FileLicence()


def test_the_strictest_asks_for_all_where_sources_differ() -> None:
    both = file_licence([HEADER, FILE])
    assert both == FileLicence(("MIT", "GPL-2.0-only"), "header+file", "COPYING (1.00)")
    assert judge_licence(both, PERMISSIVE) is not None


def test_a_source_that_repeats_another_is_no_conflict() -> None:
    choice = Statement(("MIT OR Apache-2.0",), "file", "LICENSE-MIT (1.00)")
    assert file_licence([choice, Statement(("MIT",), "declared")]).source == "file"
    later = Statement(("GPL-2.0-or-later",), "header")
    assert file_licence([later, FILE]) == FileLicence(("GPL-2.0-or-later",), "header")


def test_what_is_not_recognised_counts_only_where_nothing_is() -> None:
    unknown = Statement((UNKNOWN,), "file", "LICENSE (no known licence)")
    assert file_licence([HEADER, unknown]) == FileLicence(("MIT",), "header")
    assert file_licence([unknown, Statement(("ISC",), "declared", "package.json")]).licences == ("ISC",)
    assert file_licence([Statement((), "header"), unknown]).licences == (UNKNOWN,)


def test_opt_outs_of_owners_and_repositories(tmp_path: Path) -> None:
    lines, array, rows = tmp_path / "list.txt", tmp_path / "list.json", tmp_path / "list.jsonl"
    lines.write_text("# asked in March\nAnna\nbob/Tools  # this one alone\n\n")
    array.write_text('["carl/*", {"repository": "dora/x", "since": 2024}]')
    rows.write_text('"emil"\n{"owner": "fritz"}\n\n')
    opted = OptOut.load([lines, array, rows])
    for name in ("anna/any", "ANNA/Other", "Bob/tools", "carl/x", "Dora/X", "emil/y", "fritz/z", "anna"):
        assert opted.covers(name)
        assert opted.judge(name) == Verdict("dropped", "opted_out", name)
    for name in ("bob/other", "dora/y", "annabel/x", "x/anna"):
        assert not opted.covers(name)
        assert opted.judge(name) is None
    assert not OptOut().covers("anyone/at-all")


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.txt", "fine\nhttps://example.org/a/b\n", "a.txt:2"),
        ("a.txt", "two words\n", "a.txt:1"),
        ("a.jsonl", '"x"\n{"name": "y"}\n', "a.jsonl:2"),
        ("a.jsonl", "{\n", "a.jsonl:1: not JSON"),
        ("a.json", '{"a": 1}', "a.json: expected a JSON array"),
        ("a.json", '["x", 5]', "a.json: entry 2"),
    ],
)
def test_a_wrong_list_of_opt_outs_names_its_line(tmp_path: Path, name: str, text: str, where: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        OptOut.load([tmp_path / name])
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        OptOut.load([tmp_path / "none.txt"])
