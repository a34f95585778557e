"""`pii benchmark` and the generator: exact counts, bad rows named, exact spans, the same bytes again."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from derailleur.corpus.pii.benchmark import benchmark, read_annotated
from derailleur.corpus.pii.generator import GeneratorConfig, generate
from derailleur.corpus.pii.generator.bases import is_suspect
from derailleur.corpus.pii.spans import Span
from derailleur.errors import DataError

TAGS = ("EMAIL", "IP_ADDRESS", "KEY")


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def span(start: int, end: int, tag: str, kind: str = "") -> dict[str, Any]:
    return {"start": start, "end": end, "tag": tag} | ({"kind": kind} if kind else {})


def test_scores_by_tag(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "content": "x" * 50, "spans": [span(0, 10, "EMAIL"), span(20, 30, "API_KEY", "hex")]},
        {"id": "b", "content": "é" * 50, "spans": [span(0, 10, "SSH_KEY"), span(20, 30, "NAME")]},
        {"id": "c", "content": "x" * 50, "spans": [span(0, 10, "AMBIGUOUS")], "look_alikes": []},
    ]
    found = {
        "a": [Span(0, 9, "EMAIL"), Span(20, 28, "KEY")],  # the second is a character too short
        "b": [Span(0, 10, "PRIVATE_KEY")],
        "c": [Span(0, 10, "EMAIL"), Span(20, 30, "IP_ADDRESS")],
    }
    order = iter(found.values())
    errors = io.StringIO()
    result = benchmark(
        write_rows(tmp_path / "r.jsonl", *rows), lambda _: next(order), tags=TAGS, errors=errors
    )
    json_scores = result.as_json()
    counts = {tag: [s["TP"], s["FP"], s["FN"]] for tag, s in json_scores["scores"].items()}
    assert counts == {"EMAIL": [1, 0, 0], "IP_ADDRESS": [0, 1, 0], "KEY": [1, 1, 1]}
    assert [json_scores["all"][key] for key in ("TP", "FP", "FN")] == [2, 2, 1]
    assert json_scores["not_looked_for"] == {"NAME": 1}
    assert json_scores["kinds"] == {"hex": {"found": 0, "annotated": 1}}
    assert json_scores["worst_rows"] == [{"id": "a", "FP": 1, "FN": 1}, {"id": "c", "FP": 1, "FN": 0}]
    mistakes = [json.loads(line) for line in errors.getvalue().splitlines()]
    assert [(m["id"], m["error"], m["tag"], m["start"]) for m in mistakes] == [
        ("a", "missed", "KEY", 20),
        ("a", "false alarm", "KEY", 20),
        ("c", "false alarm", "IP_ADDRESS", 20),
    ]


GOOD = span(0, 1, "EMAIL")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "content": "x"}, r"r\.jsonl:2: 'spans' must be a list of objects, got nothing"),
        ({"id": "a", "content": "x", "spans": {}}, r":2: 'spans' must be a list of objects, got dict"),
        ({"id": "a", "content": "x", "spans": [5]}, r":2: spans\[0\]: expected an object, got int"),
        ({"id": 1, "content": "x", "spans": [GOOD, span(0, 2, "EMAIL")]}, r"spans\[1\]: 'start' 0"),
        ({"id": 1, "content": "x", "spans": [span(0, 0, "EMAIL")]}, r"no span of 1 characters"),
        ({"id": "a", "content": "x", "spans": [span(-1, 1, "EMAIL")]}, r"'start' -1 and 'end' 1"),
        ({"id": "a", "content": "x", "spans": [GOOD | {"start": "0"}]}, r"'start' must be an integer"),
        ({"id": "a", "content": "x", "spans": [GOOD | {"end": True}]}, r"'end' must be an integer, got True"),
        ({"id": "a", "content": "x", "spans": [span(0, 1, "MAIL")]}, r":2: spans\[0\]: unknown 'tag' 'MAIL'"),
        ({"id": "a", "content": "x", "spans": [{"start": 0, "end": 1}]}, r"unknown 'tag' None"),
        ({"id": "a", "content": "x", "spans": [], "look_alikes": 1}, r"'look_alikes' must be a list"),
        ({"id": "a", "spans": []}, r":2: no key 'content'"),
    ],
)  # fmt: skip
def test_bad_rows_are_one_line_errors(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = write_rows(tmp_path / "r.jsonl", {"id": 0, "content": "x", "spans": []}, row)
    with pytest.raises(DataError, match=message) as raised:
        list(read_annotated(path))
    assert "\n" not in str(raised.value)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "a.py").write_text("def f(x):\n    return x + 1\n" * 20 + "MAIL = 'ada@real.org'\n")
    (folder / "B.java").write_text("class B {\n    int x = 1;\n}\n" * 9)
    (folder / "c.js").write_text("const x = 1;\nfunction f() {\n}\n" * 9)
    (folder / "d.json").write_text("{\n" + '  "x": 1,\n' * 20 + '  "y": 2\n}\n')
    (folder / "e.yaml").write_text("x: 1\ny: two\n" * 9)
    (folder / "f.md").write_text("# Title\n\nText of a paragraph.\n" * 9)
    (folder / "short.py").write_text("x = 1\n")
    return folder


@pytest.mark.parametrize("mix", ["seed", "hard"])
def test_generated_spans_hold_planted_values(sources: Path, tmp_path: Path, mix: str) -> None:
    config = GeneratorConfig.model_validate({"mix": mix, "seed": 3, "files": 60})
    counts = generate(config, [sources], tmp_path / "a.jsonl")
    rows = list(read_annotated(tmp_path / "a.jsonl"))
    assert len(rows) == counts["rows"] == 60
    assert set(counts["languages"].values()) == {10}
    for row in rows:
        for annotation in row.spans:
            value = row.content[annotation.start : annotation.end]
            assert value == value.strip()
            assert (annotation.tag == "EMAIL") == ("@" in value), value
            assert (annotation.tag == "IP_ADDRESS") == bool(
                re.fullmatch(r"(\d+\.){3}[\d/]+|[\da-fA-F/]*:[\da-fA-F:/]+", value)
            )
            assert not re.search(r"[⟦⟧]|\{\w+(:\d+)?\}", value)
        assert "⟦" not in row.content
        assert "{value}" not in row.content
        assert "ada@real.org" not in row.content
    if mix == "seed":
        assert {tag: counts["spans"][tag] for tag in TAGS} == {"EMAIL": 29, "IP_ADDRESS": 15, "KEY": 5}


def test_the_same_seed_gives_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(GeneratorConfig(seed=seed, files=20), [sources], tmp_path / name)
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third


def test_sources_without_a_usable_file(sources: Path, tmp_path: Path) -> None:
    config = GeneratorConfig(files=1)
    with pytest.raises(DataError, match="nope: no such file or folder"):
        generate(config, [tmp_path / "nope"], tmp_path / "o")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no file of a known language"):
        generate(config, [tmp_path / "empty"], tmp_path / "o")
    with pytest.raises(DataError, match="no source file has enough lines"):
        generate(config, [sources / "short.py"], tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "line",
    [
        "mail me: bob@corp.com",
        "HOST = '52.1.2.3'",
        "2a00:1450:4001::200e",
        "x = 'AKIA2345ABCD2345EFGH'",
        "password = 'hunter'",
        "api_key: abcdef",
        "-----BEGIN PRIVATE KEY-----",
        "postgres://bob:hunter@host/db",
    ],
)
def test_lines_that_might_hold_something_are_left_out_of_base_files(line: str) -> None:
    assert is_suspect(line)


@pytest.mark.parametrize("line", ["@app.route", "x = a @ b", "token = next(tokens)", "for i in range(10):"])
def test_lines_of_plain_code_stay(line: str) -> None:
    assert not is_suspect(line)
