"""`curate`, `dedup` and `pii` from the command line: results, and one line for a user's mistake."""

import json
from pathlib import Path

import pytest

from derailleur.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.py").write_text("MAIL = 'alice@corp.com'\n")
    (folder / "b.py").write_text("x = [1, 2, 3]\n")
    (folder / "c.bin").write_bytes(b"\0")
    return folder


def test_curate_prints_counts(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["curate", str(source), "--out", str(tmp_path / "out"), "--languages", "Python"]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "unknown language" in table
    assert "EMAIL" in table
    assert main([*arguments, "--json"]) == 0, "done before, the same counts"
    results = json.loads(capsys.readouterr().out)
    assert (results["files_seen"], results["kept"], results["pii"]["EMAIL"]) == (3, 2, 1)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["results"] == results
    assert manifest["config"]["languages"] == ["Python"]


def test_curate_writes_its_page_again_where_it_is_missing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["curate", str(source), "--out", str(out), "--languages", "Python", "--workers", "1"]
    assert main(arguments) == 0
    page = out / "report.html"
    text = page.read_bytes()
    assert list((out / "plots").glob("*.svg"))
    page.unlink()
    assert main(arguments) == 0
    assert page.read_bytes() == text


def test_a_page_that_cannot_be_drawn_loses_no_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    out = tmp_path / "out"
    arguments = ["curate", str(source), "--out", str(out), "--languages", "Python", "--workers", "1"]
    with monkeypatch.context() as patched:
        patched.setattr("derailleur.report.report_corpus", fail)
        with pytest.raises(OSError, match="no space"):
            main(arguments)
    manifest = (out / "manifest.json").read_bytes()
    assert main(arguments) == 0
    assert (out / "manifest.json").read_bytes() == manifest, "the stage was done"
    assert (out / "report.html").is_file()


def test_dedup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "content": "x"}, {"id": "b", "content": "x"}, {"id": "c", "content": "y"}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["dedup", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == {"exact_duplicate": 1, "near_duplicate": 0}
    assert (tmp_path / "out/kept.parquet").is_file()
    assert (tmp_path / "out/clusters.parquet").is_file()


def test_pii_scan(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.jsonl").write_text(
        '{"id": "row", "content": "é bob@corp.com"}\n{"id": "b", "content": ""}\n'
    )
    files = [str(source / "a.py"), str(tmp_path / "r.jsonl")]
    assert main(["pii", "scan", *files, "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"id": files[0], "spans": [{"start": 8, "end": 22, "tag": "EMAIL"}]},
        {"id": "row", "spans": [{"start": 2, "end": 14, "tag": "EMAIL"}]},
        {"id": "b", "spans": []},
    ]
    assert main(["pii", "scan", *files]) == 0
    text = capsys.readouterr().out
    assert f"{files[0]}:1: EMAIL at characters 8-22" in text
    assert "2 EMAIL" in text
    assert "alice" not in text, "a secret is never printed"


def test_pii_redact(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["pii", "redact", str(source / "a.py"), "--out", str(out), "--style", "placeholders"]) == 0
    assert "EMAIL" in capsys.readouterr().out
    assert (out / "a.py").read_text() == "MAIL = '<EMAIL>'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curate", "{tmp}/nope", "--out", "{tmp}/out"], "nope: no such file or folder"),
        (["curate", "{tmp}/source", "--out", "{tmp}/source/out"], "lies inside the source"),
        (
            ["curate", "{tmp}/source", "--out", "{tmp}/out", "--lnguages", "[Java]"],
            "did you mean 'languages'",
        ),
        (["curate", "{tmp}/source", "--out", "{tmp}/out", "--heldout_fraction", "1"], "heldout_fraction"),
        (["curate", "{tmp}/source"], "--out"),
        (["dedup", "{tmp}/nope.jsonl", "--out", "{tmp}/out"], "nope.jsonl: no such file"),
        (["dedup", "{tmp}/source/a.py", "--out", "{tmp}/out"], "expected a .parquet or .jsonl file"),
        (["pii", "find"], "expected an action, got 'find'"),
        (["pii", "scan", "{tmp}/source"], "expected a file"),
        (["pii", "scan", "{tmp}/source/c.bin", "{tmp}/nope"], "nope: no such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("derailleur:")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize("command", [["curate"], ["dedup"], ["pii"], ["pii", "scan"], ["pii", "redact"]])
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main([*command, "--help"]) == 0
    except SystemExit as stopped:  # argparse's way
        assert stopped.code == 0
    assert f"example: derailleur {command[0]}" in capsys.readouterr().out
