"""Redaction: nothing planted is left, nothing else changes, equal values stay equal, code stays code."""

import ast
import ipaddress
import json
import re
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.pii import PiiConfig, redact, scan
from derailleur.corpus.pii.files import redact_files, scan_file
from derailleur.corpus.pii.generator.kinds import kinds, spell
from derailleur.corpus.pii.generator.places import fits, lines_with
from derailleur.errors import DataError

GITHUB = "ghp_" + "a1B2" * 9
KEY_BLOCK = "-----BEGIN PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA\n" * 9 + "-----END PRIVATE KEY-----"

PYTHON = f'''
"""Grüße von jürgen@corp.de."""
import ipaddress
TOKEN, AGAIN = "{GITHUB}", f"\\n{GITHUB}"
NETWORK = ipaddress.ip_network("52.14.0.0/16")
HOSTS = ["52.14.3.99", "2a00:1450:4001::200e", "192.168.1.1"]
KEY = b"""{KEY_BLOCK}
"""
SAME_KEY = ("{KEY_BLOCK.replace(chr(10), chr(92) + 'n"' + chr(10) + '  "')}")
MAIL = "\\nalice@corp.com,bob@corp.com\\tcarol@corp.com" + r"\\alice@corp.com" + 'user@example.com'
'''

SECRETS = [
    *("jürgen@corp.de", GITHUB, "52.14.0.0", "52.14.3.99", "2a00:1450:4001::200e", "MIIEpAIBAAKCAQEA"),
    *("alice@", "bob@", "carol@"),
]


def redacted(text: str, repository: str = "r", **keys: str) -> str:
    return redact(text.encode(), PiiConfig.model_validate(keys), repository=repository)[0].decode()


@pytest.mark.parametrize("style", ["values", "placeholders"])
def test_no_planted_secret_is_left_and_nothing_new_is_found(style: str) -> None:
    text = redacted(PYTHON, style=style)
    assert not [secret for secret in SECRETS if secret in text]
    assert scan(text.encode()) == []
    assert "user@example.com" in text
    assert "192.168.1.1" in text


@pytest.mark.parametrize("style", ["values", "placeholders"])
def test_only_the_spans_change(style: str) -> None:
    content, redactions = redact(PYTHON.encode(), PiiConfig(style=style), repository="r")
    text = content.decode()
    position = offset = 0
    for redaction in redactions:
        between = PYTHON[position : redaction.span.start]
        assert text[offset : offset + len(between)] == between
        offset += len(between)
        assert text[offset : offset + len(redaction.replacement)] == redaction.replacement
        offset += len(redaction.replacement)
        position = redaction.span.end
    assert text[offset:] == PYTHON[position:]
    assert len(redactions) == 12


def test_python_stays_python() -> None:
    tree = ast.parse(redacted(PYTHON))
    values = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in ("HOSTS", "KEY", "SAME_KEY")
    }
    first, second, third = values["HOSTS"]
    assert ipaddress.IPv4Address(first) in ipaddress.ip_network("172.16.0.0/12")
    assert ipaddress.IPv6Address(second) in ipaddress.ip_network("fd00::/8")
    assert third == "192.168.1.1"
    [network] = re.findall(r'ip_network\("(.*)"\)', redacted(PYTHON))
    ipaddress.ip_network(network)  # still a network without host bits


def test_equal_values_get_equal_replacements_inside_a_repository() -> None:
    text = "alice@corp.com bob@corp.com alice@corp.com"
    first, second, third = redacted(text).split()
    assert first == third != second
    assert redacted("bob@corp.com") == second, "in every file"
    assert redacted("bob@corp.com", repository="other") != second
    assert redacted("bob@corp.com", salt="s") != second
    assert re.fullmatch(r"[a-z]{5}@example\.com", first)


def test_placeholders() -> None:
    text = f"a@corp.com 52.14.3.99 {GITHUB} {KEY_BLOCK}"
    assert redacted(text, style="placeholders") == "<EMAIL> <IP_ADDRESS> <KEY> <PRIVATE_KEY>"


def test_untouched_content_is_the_same_object() -> None:
    content = "größe = 1\r\n".encode()
    assert redact(content, PiiConfig(), repository="r") == (content, [])


ADDRESS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6, network="2000::/3").map(str),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(st.ip_addresses(v=6, network="2000::/3"), st.integers(0, 128)).map(lambda p: f"{p[0]}/{p[1]}"),
    st.from_regex(r"[a-z]{1,9}\.?[a-z0-9]{1,5}@[a-z]{2,9}\.(com|org|de|dev)", fullmatch=True),
    st.just(GITHUB),
    st.text('ab1.:@/-\\n"é ', max_size=9),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(ADDRESS, st.sampled_from([" ", "\n", ", ", '"', "\\n"]))))
def test_redacting_twice_is_redacting_once(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + separator for piece, separator in pieces)
    once = redacted(text)
    assert GITHUB not in once
    assert scan(once.encode()) == []


PLANTED = [
    (kind, language)
    for file in ("values.yaml", "look_alikes.yaml")
    for group in kinds(file).values()
    for kind in group
    for language in ("python", "java", "yaml", "xml", "env", "json")
    if fits(kind, language)
]


def planted(number: int) -> str:
    """Lines of a generated benchmark."""
    random = Random(number)
    kind, language = random.choice(PLANTED)
    return lines_with(spell(random.choice(kind.templates), random), kind, language, random).text


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["\n", " ", ""])), max_size=6),
    st.sampled_from(["values", "placeholders"]),
)
def test_only_spans_change_and_nothing_is_left(pieces: list[tuple[int, str]], style: str) -> None:
    text = "".join(planted(number) + separator for number, separator in pieces)
    config = PiiConfig.model_validate({"style": style})
    content, redactions = redact(text.encode(), config, repository="r")
    after = content.decode()
    position = 0
    shift = 0
    replacements: dict[tuple[str, str], set[str]] = {}
    for redaction in redactions:
        span = redaction.span
        assert after[position + shift : span.start + shift] == text[position : span.start]
        assert after[span.start + shift :].startswith(redaction.replacement)
        replacements.setdefault((span.tag, text[span.start : span.end]), set()).add(redaction.replacement)
        position = span.end
        shift += len(redaction.replacement) - (span.end - span.start)
    assert after[position + shift :] == text[position:]
    assert all(len(of_one_value) == 1 for of_one_value in replacements.values())
    assert scan(content) == []
    assert redact(content, config, repository="r") == (content, [])


@pytest.mark.parametrize(
    ("text", "placeholders"),
    [
        ("ada@corp.com", "<EMAIL>"),  # at the very start
        (f"{GITHUB} {GITHUB}", "<KEY> <KEY>"),
        ("52.14.3.99,52.14.3.98;", "<IP_ADDRESS>,<IP_ADDRESS>;"),  # one character between them
        ("ada@corp.com\nbob@corp.com", "<EMAIL>\n<EMAIL>"),
        ("<ada@corp.com><bob@corp.com>", "<<EMAIL>><<EMAIL>>"),
        ("https://ada:Kestrel42x@corp.com/x", "https://ada:<PASSWORD>@corp.com/x"),  # no e-mail address in it
        ("password = 'Kestrel-42-raven'", "password = '<PASSWORD>'"),
    ],
)
def test_no_character_is_added_or_lost_around_a_value(text: str, placeholders: str) -> None:
    assert redacted(text, style="placeholders") == placeholders


def test_a_password_stays_equal_and_unfound() -> None:
    text = redacted(
        "password = 'Kestrel-42-raven'\ndb_password = 'Kestrel-42-raven'\npassword = 'Sierra-77-onyx'"
    )
    first, second, third = re.findall(r"'(.*)'", text)
    assert first == second != third
    assert first.isalnum()
    assert scan(text.encode()) == []


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rows = [
        {"id": "a", "content": "x = 'alice@corp.com'", "stars": 3, "repository": "one"},
        {"id": 7, "content": "nothing é", "note": None},
        {"id": "c", "content": "y = 'alice@corp.com'", "repository": "one"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    with pa.output_stream(tmp_path / "packed.jsonl.zst", compression="zstd") as stream:
        stream.write((json.dumps(rows[0]) + "\n").encode())
    table = pa.table({"id": ["p"], "content": ["z = 'alice@corp.com'"], "n": [5]})
    pq.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "settings.py").write_bytes(b"\xef\xbb\xbfa = 'bob@corp.com'\r\n")
    return [tmp_path / name for name in ("rows.jsonl", "packed.jsonl.zst", "rows.parquet", "settings.py")]


def test_files_are_scanned_by_rows(files: list[Path]) -> None:
    found = [(s.id, [(p.start, p.end, p.tag) for p in s.spans]) for file in files for s in scan_file(file)]
    email = [(5, 19, "EMAIL")]
    assert found == [
        *(("a", email), ("7", []), ("c", email), ("a", email), ("p", email)),
        (str(files[3]), [(6, 18, "EMAIL")]),
    ]


def test_a_table_without_rows_stays_as_it_is(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array([], pa.string()), "content": pa.array([], pa.string())})
    pq.write_table(table, tmp_path / "empty.parquet")
    results = redact_files(PiiConfig(), [tmp_path / "empty.parquet"], tmp_path / "out")
    assert (results["files"], results["texts"]) == (1, 0)
    assert pq.read_table(tmp_path / "out" / "empty.parquet").equals(table)


def test_files_are_redacted_in_their_own_format(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    results = redact_files(PiiConfig(style="placeholders"), files, out)
    assert results["texts"] == 6
    assert results["redacted_texts"] == results["pii"]["EMAIL"] == 5
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert rows == [
        {"id": "a", "content": "x = '<EMAIL>'", "stars": 3, "repository": "one"},
        {"id": 7, "content": "nothing é", "note": None},
        {"id": "c", "content": "y = '<EMAIL>'", "repository": "one"},
    ]
    with pa.input_stream(out / "packed.jsonl.zst", compression="zstd") as stream:
        assert json.loads(stream.read())["content"] == "x = '<EMAIL>'"
    assert pq.read_table(out / "rows.parquet").to_pylist() == [
        {"id": "p", "content": "z = '<EMAIL>'", "n": 5}
    ]
    assert (out / "settings.py").read_bytes() == b"\xef\xbb\xbfa = '<EMAIL>'\r\n"
    log = [json.loads(line) for line in (out / "redactions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in log] == ["a", "c", "a", "p", str(files[3])]
    assert "corp.com" not in (out / "redactions.jsonl").read_text()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"id": 1, "content": "x"}\n{"id": 2}\n', r"a\.jsonl:2: no key 'content'"),
        ("a.jsonl", b'{"id": 1, "content": 5}\n', r"a\.jsonl:1: 'content' must be a string, got int"),
        ("a.jsonl", b'{"id": 1, "content": "x"\n', r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b"[]\n", r"a\.jsonl:1: expected an object"),
        ("a.jsonl", b'\n\n"\xff"\n', r"a\.jsonl:3: not UTF-8"),
        (
            "a.jsonl",
            b'{"id": 1, "content": "\\ud800"}\n',
            r"a\.jsonl:1: 'content' holds half a surrogate pair",
        ),
        ("a.jsonl.gz", b"no gzip", r"a\.jsonl\.gz: cannot be read"),
        ("a.parquet", b"no parquet", r"a\.parquet: cannot be read"),
        ("a.py", b"\xff", r"a\.py: not UTF-8 at byte 0"),
    ],
)
def test_bad_files_are_one_line_errors(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        list(scan_file(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_bad_parquet_columns_are_one_line_errors(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "text": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column 'content'; it has id, text"):
        list(scan_file(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"id": ["a", None], "content": ["x", "y"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="1 nulls in column 'id'"):
        list(scan_file(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"id": ["a"], "content": [b"\xff"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        list(scan_file(tmp_path / "a.parquet"))


def test_missing_and_clashing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nope: no such file"):
        list(scan_file(tmp_path / "nope"))
    with pytest.raises(DataError, match="expected a file"):
        list(scan_file(tmp_path))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x")
    with pytest.raises(DataError, match=r"two files would be called 'a\.py'"):
        redact_files(PiiConfig(), [tmp_path / "one/a.py", tmp_path / "two/a.py"], tmp_path / "out")
