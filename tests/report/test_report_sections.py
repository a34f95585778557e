"""What the sections read, count and claim."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import DataError
from derailleur.report import evaluation, units
from derailleur.report.frontier import majority
from derailleur.report.headline import headline
from derailleur.report.look import ramp
from derailleur.report.markup import join
from derailleur.report.placement import measured_placements, read_frontier
from derailleur.report.presets import Preset
from derailleur.report.run_folder import RunFolder
from derailleur.report.speed import Speed, read_speeds, regimes, where_full_attention_wins
from derailleur.report.training import panels, plot_losses


def preset(name: str, letters: str) -> Preset:
    return Preset(name, letters, 1.0, None, None, "#000000", "o")


PRESETS = [preset("full", "FF"), preset("fast", "GG")]


def test_a_torn_last_line_is_dropped_and_a_broken_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    run, path = RunFolder(tmp_path), tmp_path / "place/quality.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert run.lines("place/quality.jsonl") == [{"a": 1}, {"a": 2}]
    path.write_text('{"a": 1}\nnot json\n{"a": 3}\n')
    with pytest.raises(DataError, match=r"quality\.jsonl:2: not JSON"):
        run.lines("place/quality.jsonl")


def test_measured_placements_get_the_speed_of_the_cost_model(run_folder: Path) -> None:
    run = RunFolder(run_folder)
    rows = {row["placement"]: row for row in measured_placements(run)}
    assert rows["FFFFFFFF"]["speed"] == 1
    for point in read_frontier(run):
        if point["placement"] in rows:
            assert rows[point["placement"]]["speed"] == pytest.approx(point["speed"])


@pytest.mark.parametrize(
    ("full", "fast", "says"),
    [
        (100.0, 150.0, "All-FA is the fastest in <strong>none</strong> of 1 measured regimes."),
        (100.0, 80.0, "All-FA is the fastest in 1 of 1 measured regimes"),
    ],
)
def test_it_is_said_plainly_where_full_attention_wins(full: float, fast: float, says: str) -> None:
    speeds = [Speed("full", 1, 1024, full, False), Speed("fast", 1, 1024, fast, False)]
    assert says in join(where_full_attention_wins(speeds, PRESETS))


def test_a_win_is_told_with_both_speeds() -> None:
    speeds = [
        Speed("full", 1, 2048, 321, False),
        Speed("fast", 1, 2048, 123, False),
        Speed("full", 16, 2048, 100, False),
        Speed("fast", 16, 2048, 999, False),
    ]
    sentence = join(where_full_attention_wins(speeds, PRESETS))
    assert "1 of 2" in sentence and "1 request at 2k context (321 against 123 tokens/s)" in sentence
    assert "16 requests" not in sentence


def test_speeds_are_grouped_by_regime(run_folder: Path) -> None:
    speeds = read_speeds(RunFolder(run_folder))
    grouped = regimes(speeds)
    assert list(grouped) == [(b, c) for b in (1, 16) for c in (1024, 2048, 8192)]
    assert sum(len(row) for row in grouped.values()) == len(speeds) == 24


def test_training_logs_are_parted_by_phase(run_folder: Path) -> None:
    found = {
        panel.name: panel for panel in panels("distill", RunFolder(run_folder).lines("distill/metrics.jsonl"))
    }
    align, mixers, placements = (
        found[name] for name in ("loss-distill-align", "mixers-distill-align", "heldout-distill-stochastic")
    )
    assert [curve.label for curve in mixers.curves] == ["swa", "kda", "gdn"]
    assert [curve.label for curve in placements.curves] == ["all-fa", "all-swa", "all-kda", "all-gdn"]
    assert all(curve.heldout and len(curve.values) == 9 for curve in placements.curves)
    assert max(align.curves[0].tokens) < min(found["loss-distill-stochastic"].curves[0].tokens)
    assert "heldout-distill-align" not in found


def test_a_mixer_that_the_report_has_no_words_for_is_drawn_after_the_others() -> None:
    rows = [{"tokens": n, "mixer_loss": {"other": 0.2, "gdn": 0.1}} for n in range(3)]
    (panel,) = panels("distill", rows)
    assert [curve.label for curve in panel.curves] == ["gdn", "other"]


def test_a_long_log_is_averaged_down_and_keeps_its_mean() -> None:
    losses = np.random.default_rng(0).normal(2, 1, 4000)
    rows = [{"step": i, "tokens": i, "loss": float(loss)} for i, loss in enumerate(losses)]
    (panel,) = panels("pretrain", rows)
    (curve,) = panel.curves
    assert len(curve.values) == 400
    assert np.mean(curve.values) == pytest.approx(losses.mean())


def test_losses_that_are_missing_or_not_finite_are_left_out() -> None:
    rows = [
        {"tokens": 1, "loss": None},
        {"tokens": 2, "loss": float("nan")},
        {"loss": 1.0},
        {"tokens": 4, "loss": 1.5},
    ]
    (panel,) = panels("finetune", rows)
    assert (panel.curves[0].tokens, panel.curves[0].values) == ([4.0], [1.5])


def test_an_unfinished_stage_shows_its_log(unfinished_run: Callable[[str], Path]) -> None:
    run = unfinished_run("pretrain")
    (run / "pretrain/manifest.json").unlink()
    assert RunFolder(run).results("pretrain") == {}
    (panel,) = panels("pretrain", RunFolder(run).lines("pretrain/metrics.jsonl"))
    assert [curve.label for curve in panel.curves] == ["training", "held out"]


@given(count=st.integers(1, 40))
def test_presets_go_from_ink_to_the_accent(count: int) -> None:
    colours = [ramp(index, count) for index in range(count)]
    assert colours[0] == "#1d232b"
    assert count == 1 or colours[-1] == "#7b3fe4"


def test_majority_and_units() -> None:
    assert (majority("FSSG"), majority("FFSS"), majority("G")) == ("S", "F", "G")
    durations = [units.duration(seconds) for seconds in (0.42, 42, 295, 1020, 7500)]
    assert durations == ["0.4 s", "42 s", "4.9 min", "17 min", "2.1 h"]
    assert (units.context(8192), units.context(1000), units.plural(1, "file")) == ("8k", "1,000", "1 file")
    assert [units.count(n) for n in (1540, 856_000, 4_120_000)] == ["1,540", "856 k", "4.12 M"]
    assert units.data_size(1.9e9) == "1.9 GB"


def test_an_evaluation_of_speed_alone_is_reported(run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    manifest = json.loads((run / "evaluate/manifest.json").read_text())
    results = manifest["results"]
    results["anchors"], results["infilling_problems"] = {"gzip": None, "xz": None}, None
    for row in results["presets"]:
        unmeasured = ("bits_per_byte", "next_token_accuracy", "infilling_exact_match")
        row |= dict.fromkeys(unmeasured) | {
            "infilling_interval": None,
            "retention": dict.fromkeys(unmeasured),
        }
    (run / "evaluate/manifest.json").write_text(json.dumps(manifest))
    assert "Bits per byte were not measured" in evaluation.section(RunFolder(run)).render()
    assert "5.1×" in headline(RunFolder(run)) and "bits per byte, held out" not in headline(RunFolder(run))


def test_full_attention_that_is_off_by_nothing_is_not_drawn_on_a_logarithmic_axis() -> None:
    rows = [
        {"tokens": n, "phase": "stochastic", "mixer_loss": {"fa": 0.0 if n < 3 else 0.1}} for n in range(6)
    ]
    (panel,) = panels("distill", rows)
    drawn = np.concatenate([line.get_ydata() for line in plot_losses(panel).axes[0].lines])
    assert np.isnan(drawn).sum() == 6 and np.nanmin(drawn) == 0.1
