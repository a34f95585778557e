import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli import main
from derailleur.placement.presets import load_presets

pytestmark = pytest.mark.usefixtures("formula_seconds")

OPTIONS = """--quality.window_tokens 24 --quality.num_windows 2 --quality.num_random 8 --quality.rounds 1
    --speed.batches [4] --speed.contexts [2000] --search.batch 4 --search.context 2000"""

Call = Callable[..., int]


@pytest.fixture
def model(supernet_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(supernet_folder, tmp_path / "stage" / "model"))


@pytest.fixture
def call(model: Path, tokens_folder: Path, tmp_path: Path) -> Call:
    """Runs one step on the supernet with small settings."""

    def run(step: str, *more: str, folder: Path = model.parent) -> int:
        paths = [str(folder), "--data", str(tokens_folder), "--out", str(tmp_path / "place")]
        return main(["place", step, *paths, *OPTIONS.split(), *more])

    return run


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_step_by_step(call: Call, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "place"
    assert call("measure", "--json") == 0
    assert printed(capsys)["num_layers"] == 3
    assert not (out / "cost.json").exists()
    measured = (out / "speed.jsonl").read_bytes()
    assert call("fit", "--json") == 0
    assert "loo_spearman" in printed(capsys)["surrogate"]
    assert not (out / "manifest.json").exists()
    assert call("search", "--write-presets") == 0
    text = capsys.readouterr().out
    assert "leave-one-out Spearman" in text
    for name, placement in load_presets(out).items():
        assert name in text
        assert str(placement) in text
    assert (out / "speed.jsonl").read_bytes().startswith(measured)
    assert load_presets(model).details == load_presets(out).details
    manifest = (out / "manifest.json").read_bytes()
    assert call("search", "--json") == 0  # presets.json in the model's folder changes nothing
    assert printed(capsys)["presets"][0]["name"] == "full"
    assert call("measure") == 0
    assert (out / "manifest.json").read_bytes() == manifest


def test_presets_are_only_written_into_the_model_if_asked(call: Call, model: Path) -> None:
    assert call("search") == 0
    assert not (model / "presets.json").exists()


def test_another_seed_keeps_the_old_result_aside(call: Call, tmp_path: Path) -> None:
    assert call("measure") == 0
    old = (tmp_path / "place/quality.jsonl").read_bytes()
    assert call("measure", "--seed", "1") == 0
    [previous] = tmp_path.glob("place.previous-*")
    assert (previous / "quality.jsonl").read_bytes() == old
    assert (tmp_path / "place/quality.jsonl").read_bytes() != old


def test_a_configuration_file(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "place.yaml"
    file.write_text("presets: [slow, quick]\n")
    assert call("search", "--config", str(file), "--json") == 0
    assert [preset["name"] for preset in printed(capsys)["presets"]] == ["slow", "quick"]


def test_help_has_an_example_and_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", "--help"]) == 0
    assert "example: derailleur place search" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["place", "search", "--help"])
    text = capsys.readouterr().out
    assert "example: derailleur place search" in text
    assert "--search.min_count" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["guess", "x"], "expected a step, got 'guess'; known: measure, fit, search"),
        (["fit", "x"], "place fit: the following arguments are required: --data, --out"),
        (["fit", "MISSING", "--data", "x", "--out", "x"], "MISSING: no config.json"),
        (["fit", "x", "--data", "x", "--out", "x", "--search.bach", "1"], "did you mean 'search.batch'?"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["place", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("derailleur: ")
    assert message in line


def test_a_teacher_is_refused(call: Call, teacher_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("fit", folder=teacher_folder) == 2
    assert f"{teacher_folder}: a teacher with full attention alone" in capsys.readouterr().err


def test_a_foreign_folder_is_left_alone(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place/notes.txt").write_text("mine")
    assert call("measure") == 2
    assert "not empty and not written by place" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "place").iterdir()] == ["notes.txt"]
