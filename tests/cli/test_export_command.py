"""`derailleur export`: what it writes, what it says beforehand, what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from derailleur.cli.main import main
from derailleur.engine import Engine
from derailleur.model import Decoder, DecoderConfig, load_config, save_model
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, PresetQuality, Presets, load_presets
from derailleur.tokens import Tokenizer

PLACEMENTS = {"full": "FFF", "balanced": "FSG", "fast": "GKG"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage = tmp_path_factory.mktemp("export") / "distill"
    tokenizer = Tokenizer.train(["def f(x):\n    return x\n"], vocab_size=270)
    tokenizer.save(stage / "tokenizer")
    sizes: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 16,
        "num_layers": 3,
        "num_heads": 2,
        "num_kv_heads": 1,
        "head_dim": 8,
        "intermediate_size": 24,
        "max_positions": 64,
        "qk_norm": True,
        "mixers": {"F": {}, "S": {"window_tokens": 8}, "K": {}, "G": {}},
    }
    decoder = Decoder(DecoderConfig.model_validate(sizes))
    decoder.reset_parameters(0)
    quality = PresetQuality(measured=-2.5)
    presets = [Preset(name=n, placement=Placement(x), quality=quality) for n, x in PLACEMENTS.items()]
    Presets(presets).save(stage / "model")
    save_model(decoder, stage / "model", tokenizer_from=stage / "tokenizer")
    return stage


def export(*arguments: object) -> int:
    return main(["export", *(str(argument) for argument in arguments)])


def texts(folder: Path, *letters: str) -> list[list[int]]:
    engine = Engine(folder, Tokenizer.load(folder))
    prompts = [[5, 6, 7, 8], [9] * 20]
    written = (engine.generate(prompts, placement=Placement(x), max_tokens=20) for x in letters)
    return [generation.tokens for generations in written for generation in generations]


def test_thin(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "thin"
    assert export(folder, "--format", "thin", "--presets", "balanced,fast", "--out", out) == 0
    assert load_config(out).banks == ("FG", "SK", "G")
    presets = load_presets(out)
    assert dict(presets) == {"balanced": Placement("FSG"), "fast": Placement("GKG")}
    assert presets.default == "balanced" and presets.details[1].quality == PresetQuality(measured=-2.5)
    assert texts(out, "FSG", "GKG") == texts(folder / "model", "FSG", "GKG")
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 0
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert export(folder, "--format", "thin", "--presets", "balanced,fast", "--out", out) == 0
    assert (out / "model.safetensors").stat().st_mtime_ns == before, "written again"


def test_one_placement(folder: Path, tmp_path: Path) -> None:
    assert export(folder, "--format", "hf", "--placement", "fast", "--out", tmp_path / "fast") == 0
    assert dict(load_presets(tmp_path / "fast")) == {"fast": Placement("GKG")}
    assert export(folder, "--format", "hf", "--placement", "2S G", "--out", tmp_path / "runs") == 0
    assert dict(load_presets(tmp_path / "runs")) == {"fixed": Placement("SSG")}
    assert texts(tmp_path / "runs", "SSG") == texts(folder / "model", "SSG")
    assert export(folder, "--format", "hf", "--placement", "all-fa", "--out", tmp_path / "plain") == 0
    assert json.loads((tmp_path / "plain" / "config.json").read_text())["model_type"] == "qwen3"
    assert not (tmp_path / "plain" / "presets.json").exists()
    assert main(["import", str(tmp_path / "plain"), "--out", str(tmp_path / "again")]) == 0
    assert texts(tmp_path / "again" / "model", "FFF") == texts(folder / "model", "FFF")


def test_dry_run_says_what_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [folder, "--format", "thin", "--presets", "fast", "--json"]
    assert export(*call, "--dry-run", "--out", tmp_path / "out") == 0
    planned = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out").exists()
    assert export(*call, "--out", tmp_path / "out") == 0
    written = json.loads(capsys.readouterr().out)
    assert planned == written | {"mapping": planned["mapping"]}
    assert {"presets.json", "tokenizer.json", "config.json"} <= set(planned["files"])
    assert all((tmp_path / "out" / name).is_file() for name in planned["files"])
    assert export(folder, "--format", "hf", "--dry-run") == 0
    assert "would write a checkpoint in derailleur layout" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "thin", "--presets", "full,fasst"], "unknown preset 'fasst'; did you mean 'fast'"),
        (["--format", "thin", "--presets", "GKG"], "unknown preset 'GKG'"),
        (["--format", "thin"], "--format thin needs --presets A,B or --placement"),
        (["--format", "hf", "--placement", ""], "placement '': expected letters"),
        (["--format", "hf", "--presets", ""], "unknown preset ''"),
        (["--format", "hf", "--placement", "GG"], "placement 'GG' has 2 layers, the model has 3"),
        (["--format", "hf", "--placement", "fast", "--presets", "fast"], "not allowed with"),
        (["--format", "gguf"], "invalid choice: 'gguf'"),
    ],
)
def test_wrong_calls_are_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(folder, *arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert export(folder, "--format", "hf", "--placement", "fast", "--out", tmp_path) == 2
    assert "not empty and not written by export" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
