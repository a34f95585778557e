"""The stage: every preset scored, resumed where it was killed, retention as defined."""

import json
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli.main import main
from derailleur.errors import UserError
from derailleur.evaluation import EvaluateConfig, evaluate
from derailleur.evaluation.retention import retention
from derailleur.evaluation.scores import ScoreFile
from derailleur.evaluation.speed import Regime, SpeedConfig

CONFIG = EvaluateConfig.model_validate(
    {
        "max_bytes": 1500,
        "infilling": {"num_problems": 6, "max_tokens": 6},
        "recall": {"edges_tokens": [4, 8, 32], "num_per_bucket": 4},
        "speed": {"batches": [1, 2], "contexts": [16, 64], "steps": 2, "warmup": 1},
    }
)
QUALITY = {
    "bits_per_byte",
    "next_token_accuracy",
    "infilling_exact_match",
    "identifier_recall",
    "recall_gain_nats",
}
METRICS = QUALITY | {"decode_tokens_per_second"}


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def evaluated(
    model: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("evaluate")
    return out, evaluate(CONFIG, model, corpus, out)


def test_one_line_a_preset_and_metric(evaluated: tuple[Path, dict[str, Any]]) -> None:
    written = rows(evaluated[0])
    keys = [(row["preset"], row["metric"], row.get("batch"), row.get("context_tokens")) for row in written]
    assert len(keys) == len(set(keys)) == 2 + 2 * (5 + 4)
    for preset in ("full", "fast"):
        assert {row["metric"] for row in written if row["preset"] == preset} == METRICS
    assert {row["metric"] for row in written if row["preset"] is None} == {"gzip", "xz"}


def test_results_repeat_the_scores(evaluated: tuple[Path, dict[str, Any]]) -> None:
    out, results = evaluated
    written = {(row["preset"], row["metric"]): row["value"] for row in rows(out)}
    for row in results["presets"]:
        for metric in QUALITY:
            assert row[metric] == written[row["preset"], metric]
        assert [(s["batch"], s["context_tokens"]) for s in row["speed"]] == [
            (1, 16),
            (1, 64),
            (2, 16),
            (2, 64),
        ]
        assert [s["speed_only"] for s in row["speed"]] == [False, True, False, True]
    assert [row["placement"] for row in results["presets"]] == ["FF", "GS"]
    assert results["anchors"]["gzip"] > results["anchors"]["xz"] * 0.5
    assert results["infilling_problems"] == 6 and results["recall_places"] > 0
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_retention_of_likelihood_is_inverted(evaluated: tuple[Path, dict[str, Any]]) -> None:
    full, fast = evaluated[1]["presets"]
    assert full["retention"]["bits_per_byte"] == 1
    assert fast["retention"]["bits_per_byte"] == full["bits_per_byte"] / fast["bits_per_byte"]
    assert fast["retention"]["next_token_accuracy"] == pytest.approx(
        fast["next_token_accuracy"] / full["next_token_accuracy"]
    )


def test_there_is_no_retention_where_full_attention_scores_nothing() -> None:
    kept = retention(
        {"infilling_exact_match": 0.5, "bits_per_byte": 2.0, "recall_gain_nats": -0.2},
        {"infilling_exact_match": 0.0, "bits_per_byte": 1.0, "recall_gain_nats": -0.1},
    )
    assert kept == {"infilling_exact_match": None, "bits_per_byte": 0.5, "recall_gain_nats": None}


def test_a_killed_evaluation_goes_on_where_it_was(
    evaluated: tuple[Path, dict[str, Any]], model: Path, corpus: Path, tmp_path: Path
) -> None:
    lines = (evaluated[0] / "scores.jsonl").read_text().splitlines(keepends=True)
    for kept in (3, len(lines) - 2):
        # A mark on the finished lines shows that they are not measured again; the next one is torn.
        marked = [json.dumps(json.loads(line) | {"mark": 1}) + "\n" for line in lines[:kept]]
        out = tmp_path / str(kept)
        out.mkdir()
        (out / "scores.jsonl").write_text("".join(marked) + lines[kept][:20])
        results = evaluate(CONFIG, model, corpus, out)
        written = rows(out)
        assert [row.get("mark") for row in written] == [1] * kept + [None] * (len(lines) - kept)
        assert [row["metric"] for row in written] == [json.loads(line)["metric"] for line in lines]
        for ours, whole in zip(results["presets"], evaluated[1]["presets"], strict=True):
            assert ours["bits_per_byte"] == whole["bits_per_byte"]
            assert ours["infilling_exact_match"] == whole["infilling_exact_match"]


def test_a_score_cut_between_its_two_lines_is_measured_again(
    evaluated: tuple[Path, dict[str, Any]], model: Path, corpus: Path, tmp_path: Path
) -> None:
    lines = (evaluated[0] / "scores.jsonl").read_text().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if '"next_token_accuracy"' in line)
    (tmp_path / "scores.jsonl").write_text("".join(lines[:cut]))
    results = evaluate(CONFIG, model, corpus, tmp_path)
    assert results["presets"][0]["next_token_accuracy"] == evaluated[1]["presets"][0]["next_token_accuracy"]


def test_a_model_without_presets_is_evaluated_at_full_attention(
    model: Path, corpus: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in model.iterdir():
        if file.name != "presets.json":
            (plain / file.name).write_bytes(file.read_bytes())
    config = CONFIG.model_copy(update={"tasks": ("loss",)})
    results = evaluate(config, plain, corpus, tmp_path / "out")
    assert [row["placement"] for row in results["presets"]] == ["FF"]
    assert results["presets"][0]["infilling_exact_match"] is None
    assert results["presets"][0]["speed"] == []


def test_speed_alone_needs_no_corpus_and_loss_does(model: Path, tmp_path: Path) -> None:
    speed = CONFIG.model_copy(update={"tasks": ("speed",), "presets": ("all-kda",)})
    (row,) = evaluate(speed, model, None, tmp_path / "speed")["presets"]
    assert (row["preset"], row["placement"]) == ("all-kda", "KK")
    assert all(s["tokens_per_second"] > 0 for s in row["speed"])
    assert row["retention"] == {m: None for m in QUALITY}
    with pytest.raises(UserError, match="--corpus"):
        evaluate(CONFIG, model, None, tmp_path / "loss")


def test_the_largest_regime_is_measured_first() -> None:
    regimes = list(SpeedConfig(batches=(1, 16), contexts=(8192, 1024)).regimes)
    assert regimes == [Regime(16, 8192), Regime(16, 1024), Regime(1, 8192), Regime(1, 1024)]


def test_a_later_line_of_the_same_score_counts(tmp_path: Path) -> None:
    scores = ScoreFile(tmp_path / "scores.jsonl")
    for value in (1.0, 2.0):
        scores.append({"preset": "full", "placement": "FF", "metric": "bits_per_byte", "value": value})
    assert ScoreFile(tmp_path / "scores.jsonl").value("full", "bits_per_byte") == 2.0


@pytest.mark.parametrize("task", ["loss", "infill", "recall", "speed"])
def test_every_task_is_a_command(
    model: Path, corpus: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    options = [] if task == "speed" else ["--corpus", str(corpus)]
    small = ["--max-bytes", "1500", "--infilling.num-problems", "3", "--infilling.max-tokens", "4"]
    small += ["--recall.edges-tokens", "[4, 8, 32]"]
    small += ["--speed.contexts", "[16]", "--speed.steps", "1"]
    command = ["evaluate", task, str(model), *options, "--preset", "full", "all-swa", *small]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "all-swa" in shown and "SS" in shown
    assert ("xz" in shown) == (task == "loss")  # bits per byte, which are no exact match
    assert main([*command, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["preset"] for row in results["presets"]] == ["full", "all-swa"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate", "wit", "x"], "expected a task, got 'wit'"),
        (["evaluate", "loss", "x"], "--corpus"),
        (["evaluate", "speed", "nowhere"], "nowhere: no config.json"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_an_unknown_preset_and_a_wrong_key_are_one_line(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "speed", str(model), "--preset", "fats"]) == 2
    assert "did you mean 'fast'" in capsys.readouterr().err
    assert main(["evaluate", "speed", str(model), "--speed.contxts", "[16]"]) == 2
    assert "did you mean 'speed.contexts'" in capsys.readouterr().err
    recall = ["evaluate", "recall", str(model), "--corpus", "x", "--recall.edges-tokens", "[250, 100]"]
    assert main(recall) == 2
    assert "recall.edges_tokens: expected bounds that ascend" in capsys.readouterr().err


def test_loss_is_told_apart_by_language_and_adds_up(
    model: Path, corpus: Path, evaluated: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in corpus.read_text().splitlines()]
    for number, row in enumerate(lines):
        row["language"] = ("Python", "Java")[number % 2]
    told_apart = tmp_path / "files.jsonl"
    told_apart.write_text("".join(json.dumps(row) + "\n" for row in lines))
    config = CONFIG.model_copy(update={"tasks": ("loss",)})
    whole, row = evaluated[1], evaluate(config, model, told_apart, tmp_path / "out")["presets"][0]
    assert whole["presets"][0]["languages"] == {}
    assert list(row["languages"]) == ["Java", "Python"]
    parts = row["languages"].values()
    num_bytes = sum(part["bytes"] for part in parts)
    assert num_bytes == whole["heldout"]["bytes"]
    mean = sum(part["bits_per_byte"] * part["bytes"] for part in parts) / num_bytes
    assert row["bits_per_byte"] == pytest.approx(mean)
    assert row["bits_per_byte"] == pytest.approx(whole["presets"][0]["bits_per_byte"])


def test_every_kind_of_hole_has_a_row_and_single_lines_are_the_score(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts = ["single-line", "arguments", "random-span"]
    command = ["evaluate", "infill", str(model), "--corpus", str(corpus), "--max-bytes", "1500"]
    command += ["--infilling.cuts", f"[{', '.join(cuts)}]", "--infilling.num-problems", "3"]
    command += ["--infilling.max-tokens", "4", "--infilling.max-block-tokens", "5"]
    assert main([*command, "--json", "--out", str(tmp_path / "out")]) == 0
    for row in json.loads(capsys.readouterr().out)["presets"]:
        assert {own["cut"] for own in row["infilling"]} == set(cuts)
        assert row["infilling"][0]["exact_match"] == row["infilling_exact_match"]
        assert all(0 <= own["edit_similarity"] <= 1 and own["problems"] == 3 for own in row["infilling"])
    assert main(command) == 0
    assert "arguments" in capsys.readouterr().out
