"""`evaluate multipl-e` and `evaluate infill --problems`, and stage evaluate with problem files."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli import main
from derailleur.config import validate
from derailleur.errors import UserError
from derailleur.evaluation import EvaluateConfig, evaluate
from derailleur.evaluation.benchmark import judging as judging_module
from derailleur.evaluation.benchmark.judging import Judging

WriteRows = Callable[[Path, list[dict[str, Any]]], Path]


@pytest.fixture(autouse=True)
def without_a_sandbox(judging: Judging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging_module.Judging, "in_sandbox", lambda *_, **__: judging)


@pytest.fixture
def completions(write_rows: WriteRows, tmp_path: Path) -> Path:
    rows = [
        {"id": f"add_{n}", "completion": f"    # VERDICT {word}"}
        for n, word in enumerate(("passed", "passed", "sandbox"))
    ]
    return write_rows(tmp_path / "mine.jsonl", rows)


def test_a_file_of_completions(
    multipl_e: Path, completions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "multipl-e", str(completions), "--problems", str(multipl_e), "--no-cache"]
    assert main([*command, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    [row] = results["presets"]
    assert row["scores"][0]["value"] == 1.0 and row["scores"][0]["num_left_out"] == 1
    assert results["settings"]["back_end"] == "none"
    assert results["settings"]["toolchains"]["python"].startswith("3.")
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "100.0%" in printed and "1 samples not counted" in " ".join(printed.split())
    assert main([*command, "--out", str(tmp_path / "out"), "--samples", "2"]) == 2
    assert "num_samples: 2 asked for, there are 1" in capsys.readouterr().err


def test_nothing_is_left_where_nothing_is_kept(
    multipl_e: Path, completions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unkept = tmp_path / "unkept"
    unkept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(unkept))
    assert main(["evaluate", "multipl-e", str(completions), "--problems", str(multipl_e), "--no-cache"]) == 0
    assert not list(unkept.iterdir())


def test_a_file_of_completions_has_no_presets(
    multipl_e: Path, completions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "multipl-e", str(completions), "--problems", str(multipl_e), "--preset", "fast"]
    assert main(command) == 2
    assert "mine.jsonl: a file of completions has no presets, got 'fast'" in capsys.readouterr().err


def test_every_preset_of_a_model(
    model: Path, multipl_e: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", "multipl-e", str(model), "--problems", str(multipl_e), "--no-cache"]
    command += ["--out", str(out), "--samples", "2", "--k", "1", "2", "--max_tokens", "6", "--json"]
    assert main(command) == 0
    results = json.loads(capsys.readouterr().out)
    assert [(row["preset"], row["placement"]) for row in results["presets"]] == [
        ("full", "FF"),
        ("fast", "GS"),
    ]
    assert all(row["tokens_per_second"] > 0 for row in results["presets"])
    assert set(results["model"]["sha256"]) >= {"config.json", "tokenizer.json", "model.safetensors"}
    assert results["settings"]["runs"] == [
        {"temperature": 0.2, "k": [1]},
        {"temperature": 0.8, "k": [2]},
    ]
    assert len((out / "samples.jsonl").read_text().splitlines()) == 2 * 2 * 3 * 2
    assert json.loads((out / "manifest.json").read_text())["config"]["max_tokens"] == 6
    written = (out / "samples.jsonl").read_bytes()
    assert main(command) == 0  # done before
    assert (out / "samples.jsonl").read_bytes() == written


def test_without_a_sandbox_nothing_is_generated(
    model: Path,
    multipl_e: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(**_: Any) -> Any:
        raise UserError("no sandbox works here")

    monkeypatch.undo()
    monkeypatch.setattr(judging_module, "open_sandbox", refuse)
    out = tmp_path / "out"
    command = ["evaluate", "multipl-e", str(model), "--problems", str(multipl_e), "--out", str(out)]
    assert main(command) == 2
    assert "no sandbox works here" in capsys.readouterr().err
    assert not (out / "completions.jsonl").exists()


def test_lines_of_a_model(model: Path, lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "infill", str(model), "--problems", str(lines), "--preset", "fast", "--no-cache"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("exact", "braces", "code"))


@pytest.mark.parametrize(
    ("task", "problems", "message"),
    [
        ("infill", "humaneval-py.jsonl", "its problems are for `derailleur evaluate multipl-e --problems`"),
        ("multipl-e", "fim-js.jsonl", "its problems are for `derailleur evaluate infill --problems`"),
        ("multipl-e", "nowhere.jsonl", "nowhere.jsonl: no such file"),
    ],
)
def test_mistakes(
    task: str,
    problems: str,
    message: str,
    model: Path,
    multipl_e: Path,
    lines: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", task, str(model), "--problems", str(tmp_path / problems)]) == 2
    assert message in capsys.readouterr().err


def test_a_k_beyond_the_samples_is_refused(
    model: Path, multipl_e: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "multipl-e", str(model), "--problems", str(multipl_e), "--samples", "5"]
    assert main([*command, "--k", "10"]) == 2
    assert "pass@10 needs at least 10 samples of each problem, got 5" in capsys.readouterr().err


def test_stage_evaluate_puts_problems_to_every_preset(
    model: Path, multipl_e: Path, lines: Path, tmp_path: Path
) -> None:
    values = {
        "tasks": ("problems",),
        "benchmark": {"problems": (str(multipl_e), str(lines), "builtin"), "max_tokens": 4},
    }
    results = evaluate(validate(EvaluateConfig, values), model, None, tmp_path)
    found = results["problems"]
    names = [described["name"] for described in found["sets"]]
    assert names[:2] == ["humaneval-py", "fim-js"] and "builtin-java" in names
    assert len(found["presets"]) == 2 * len(names)
    counts = {row["set"]: row["counts"] for row in found["presets"]}
    assert counts["builtin-java"]["prompt_too_long"] > 25  # the model reads 48 tokens
    assert (tmp_path / "problems" / "samples.jsonl").is_file()
    without = validate(EvaluateConfig, {"tasks": ("problems",)})
    assert evaluate(without, model, None, tmp_path / "none")["problems"] is None
