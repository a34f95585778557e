"""`pii benchmark`, `generate` and `review` from the command line; the other actions are with the corpus."""

import json
from pathlib import Path

import pytest

from derailleur.cli import main
from derailleur.corpus.pii import recognizer


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    rows = [
        {"id": "a", "content": "x ada@corp.com", "spans": [{"start": 2, "end": 14, "tag": "EMAIL"}]},
        {
            "id": "b",
            "content": "x 1234567",
            "spans": [{"start": 2, "end": 9, "tag": "API_KEY", "kind": "pin"}],
        },
    ]
    path = tmp_path / "annotated.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_benchmark(annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = tmp_path / "errors.jsonl"
    assert main(["pii", "benchmark", str(annotated), "--json", "--errors", str(errors)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == 2
    assert result["scores"]["EMAIL"]["f1"] == 1.0
    assert result["scores"]["KEY"] == {"TP": 0, "FP": 0, "FN": 1, "precision": 0, "recall": 0, "f1": 0}
    assert [json.loads(line)["value"] for line in errors.read_text().splitlines()] == ["1234567"]
    assert errors.stat().st_mode & 0o077 == 0
    assert main(["pii", "benchmark", str(annotated)]) == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines()[1:6]] == [
        "EMAIL",
        "IP_ADDRESS",
        "KEY",
        "PASSWORD",
        "all",
    ]
    assert "missed: pin 1 of 1" in text
    assert "worst rows: b (FP 0, FN 1)" in text


def test_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 30)
    out = tmp_path / "out.jsonl"
    arguments = ["pii", "generate", str(tmp_path / "a.py"), "--out", str(out), "--files", "8", "--seed", "2"]
    assert main([*arguments, "--mix", "seed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(out.read_text().splitlines()) == 8
    assert main(["pii", "benchmark", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["EMAIL"]["recall"] == 1.0


def test_review(annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "review.html"
    assert main(["pii", "review", str(annotated), "--out", str(page), "--style", "placeholders"]) == 0
    assert capsys.readouterr().out.endswith("review.html: 1 EMAIL\n")
    assert "ada@corp.com" in page.read_text()


def test_redact_runs_anew_where_a_key_of_the_recognizer_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        recognizer, "TokenClassifier", lambda config, folder: lambda texts: [[] for _ in texts]
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "a.py").write_text("x = 1\n")
    for threshold in (0.25, 0.75):
        arguments = ["pii", "redact", str(tmp_path / "a.py"), "--out", str(tmp_path / "out")]
        keys = ["--recognizer.model", str(tmp_path / "model"), "--recognizer.threshold", str(threshold)]
        assert main([*arguments, *keys]) == 0
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["config"]["recognizer"]["threshold"] == threshold


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmark", "{tmp}/nope.jsonl"], "nope.jsonl: no such file"),
        (["benchmark", "{tmp}/bad.jsonl"], "bad.jsonl:1: 'spans' must be a list of objects, got nothing"),
        (["scan", "{tmp}/bad.jsonl", "--recognizer.model", "{tmp}"], "no config.json"),
        (["generate", "{tmp}/nope", "--out", "{tmp}/o"], "nope: no such file or folder"),
        (["generate", "{tmp}", "--out", "{tmp}/o", "--mix", "easy"], "mix: Input should be 'seed' or 'hard'"),
        (["generate", "{tmp}", "--out", "{tmp}/o", "--sed", "1"], "unknown key 'sed'; did you mean 'seed'?"),
        (["review", "{tmp}/nope", "--out", "{tmp}/o"], "nope: no such file"),
        (
            ["review", "{tmp}/bad.jsonl", "--out", "{tmp}/o", "--examples", "0"],
            "argument --examples: expected a number from 1, got '0'",
        ),
        (["review", "{tmp}/bad.jsonl"], "--out"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": 1, "content": ""}\n')
    assert main(["pii", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("derailleur:")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize("action", ["benchmark", "generate", "review"])
def test_help_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["pii", action, "--help"])
    assert stopped.value.code == 0
    assert f"example: derailleur pii {action}" in capsys.readouterr().out
