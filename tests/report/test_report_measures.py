"""The sections about recall, kinds of holes and languages."""

import json
import shutil
from pathlib import Path

from derailleur.report import evaluation, recall, units
from derailleur.report.run_folder import RunFolder
from derailleur.report.section import Plot


def with_rows(run_folder: Path, tmp_path: Path, **values: object) -> RunFolder:
    """The run with other values in every preset's row of stage evaluate."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    manifest = json.loads((run / "evaluate/manifest.json").read_text())
    for row in manifest["results"]["presets"]:
        row |= values
    (run / "evaluate/manifest.json").write_text(json.dumps(manifest))
    return RunFolder(run)


def test_the_plot_of_recall_has_a_line_a_preset_and_its_numbers(run_folder: Path) -> None:
    section = recall.section(RunFolder(run_folder))
    plot, table = section.blocks
    assert isinstance(plot, Plot) and isinstance(table, str)
    assert list(plot.data) == ["full", "strong", "swift", "light"]
    (axes,) = plot.figure.axes
    assert len(axes.collections) == 4  # the intervals
    assert {text.get_text() for text in axes.texts} == {"full", "strong", "swift", "light"}
    assert "6.0\N{NO-BREAK SPACE}% guessed" in table
    full, light = plot.data["full"], plot.data["light"]
    lead = section.render()
    assert f"{full[0]['gain_nats']:.1f} nats to full" in lead
    assert f"{light[-1]['gain_nats']:.1f}." in lead


def test_a_single_distance_is_told_once(run_folder: Path, tmp_path: Path) -> None:
    results = json.loads((run_folder / "evaluate/manifest.json").read_text())["results"]
    one = results["presets"][0]["recall"][:1]
    lead = recall.section(with_rows(run_folder, tmp_path, recall=one)).render().partition("<figure")[0]
    assert lead.count(" back is worth ") == 1 and f"{one[0]['gain_nats']:.1f} to light." in lead


def test_recall_beyond_the_trained_context_is_marked(run_folder: Path, tmp_path: Path) -> None:
    results = json.loads((run_folder / "evaluate/manifest.json").read_text())["results"]
    buckets = results["presets"][0]["recall"]
    buckets[-1] |= {"beyond_context": True, "gain_nats": -0.01}
    text = recall.section(with_rows(run_folder, tmp_path, recall=buckets)).render()
    assert "500 to 1,000 tokens*" in text and "beyond the trained context" in text
    assert "-0.0" not in text.replace("-0.0,", "")


def test_a_run_without_recall_says_so(run_folder: Path, tmp_path: Path) -> None:
    section = recall.section(with_rows(run_folder, tmp_path, recall=[], recall_gain_nats=None))
    assert not section.blocks and "not measured" in section.render()


def test_holes_and_languages_have_tables_where_there_are_several(run_folder: Path, tmp_path: Path) -> None:
    hole = {"problems": 7, "exact_match": 0.25, "interval": [0.1, 0.5], "retention": None}
    infilling = [hole | {"cut": cut, "edit_similarity": 0.62} for cut in ("single-line", "arguments")]
    score = {"bits_per_byte": 1.25, "next_token_accuracy": 0.5, "tokens": 9, "bytes": 30}
    plain = evaluation.section(RunFolder(run_folder)).render()
    assert "Infilling by kind" not in plain and "By language" not in plain
    run = with_rows(run_folder, tmp_path, infilling=infilling, languages={"Java": score, "Python": score})
    text = evaluation.section(run).render()
    assert "arguments" in text and "7 holes; 7 holes." in text and "similar 62.0" in text
    assert "By language" in text and "Java" in text and "1.250" in text


def test_no_zero_has_a_sign() -> None:
    assert (units.signed(-0.04, 1), units.signed(-0.06, 1), units.signed(None, 1)) == ("0.0", "-0.1", "–")
    assert units.percent(-0.0001) == "0.0\N{NO-BREAK SPACE}%"
