"""Model cards: from real manifests, twice the same, and never a reason to train again."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from derailleur.card import CARD, CardConfig, write_card
from derailleur.cli.main import main
from derailleur.errors import CheckpointError
from derailleur.io import write_json
from derailleur.model import Decoder, DecoderConfig, save_model
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, PresetQuality, Presets, PresetSpeed
from derailleur.runs import input_fingerprint

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_layers": 3,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 8,
    "intermediate_size": 24,
    "max_positions": 64,
}
MIXERS = {"mixers": {"F": {}, "S": {"window_tokens": 8}, "K": {}, "G": {}}}
DATA = {"sequence_length": 64, "batch_size": 4, "fim_rate": 0.5}
PHASE = {"steps": 30, "optimizer": {"name": "muon", "learning_rate": 0.004}}


def checkpoint(folder: Path, **fields: Any) -> None:
    decoder = Decoder(DecoderConfig.model_validate(SIZES | fields))
    save_model(decoder, folder)


def manifest(folder: Path, stage: str, inputs: dict[str, Path], config: Any, results: Any) -> None:
    write_json(
        folder / "manifest.json",
        {
            "stage": stage,
            "fingerprint": stage,
            "config": config,
            "inputs": {role: str(path) for role, path in inputs.items()},
            "results": results,
            "machine": "An engine of 1843, 2 cores",
            "seconds": 3.0,
        },
    )


def trained(seconds: float) -> dict[str, Any]:
    return {"steps": 30, "tokens": 7680, "seconds": seconds, "parameters": 12345}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run as `derailleur run` leaves it, but for the weights' worth."""
    run = tmp_path / "quick"
    curated = {
        "files_seen": 1200,
        "kept": 1000,
        "bytes_kept": 2_500_000,
        "dropped": {"near_duplicate": 150, "empty": 50},
        "languages": {"Python": 900, "Java": 100},
        "pii": {"EMAIL": 30, "KEY": 2},
        "splits": {"train": {"files": 990}, "heldout": {"files": 10}},
    }
    manifest(run / "curate", "curate", {"source-0": Path("/home/someone/secret/project")}, {}, curated)
    tokenized = {"vocab_size": 50, "tokens": {"train": 900_000}, "bytes_per_token": 2.5}
    manifest(run / "tokenize", "tokenize", {"corpus": run / "curate"}, {"tokenizer": None}, tokenized)
    checkpoint(run / "pretrain" / "model")
    pretrained = {"data": DATA, **PHASE}
    manifest(run / "pretrain", "pretrain", {"tokens": run / "tokenize"}, pretrained, trained(60.0))
    sampled = {"data": DATA, "alignment": PHASE, "train_full_attention": False}
    distilled = sampled | {"stochastic": {**PHASE, "sampling": {"strategy": "full_layout"}}}
    inputs = {"teacher": run / "pretrain", "tokens": run / "tokenize"}
    checkpoint(run / "distill" / "model", **MIXERS)
    manifest(run / "distill", "distill", inputs, distilled, trained(90.0))
    placed = {
        "placements_measured": 64,
        "placements_timed": 11,
        "regime": {"batch": 16, "context": 8192},
    }
    manifest(run / "place", "place", {"model": run / "distill", "tokens": run / "tokenize"}, {}, placed)
    checkpoint(run / "model", **MIXERS)
    speed = (PresetSpeed(batch=16, context=8192, measured=450.0),)
    presets = [
        Preset(name=name, placement=Placement(x), quality=PresetQuality(confirmed=-1.25), speed=speed)
        for name, x in (("full", "FFF"), ("fast", "GKG"))
    ]
    Presets(presets).save(run / "model")
    manifest(run / "model", "model", {"model": run / "distill", "place": run / "place"}, {}, {"files": []})
    return run


def evaluated(run: Path, *, xz: float) -> None:
    speeds = [
        {"batch": b, "context_tokens": c, "tokens_per_second": b * 100.0} for b, c in ((1, 1024), (16, 8192))
    ]
    rows = [
        {
            "preset": name,
            "placement": letters,
            "bits_per_byte": bits,
            "next_token_accuracy": 0.5,
            "infilling_exact_match": None,
            "retention": {"bits_per_byte": 1.25 / bits},
            "speed": speeds,
        }
        for name, letters, bits in (("full", "FFF", 1.25), ("fast", "GKG", 1.5))
    ]
    results = {
        "presets": rows,
        "anchors": {"gzip": 1.9, "xz": xz},
        "heldout": {"documents": 7, "bytes": 49_000},
        "infilling_problems": None,
    }
    manifest(run / "evaluate", "evaluate", {"model": run / "model", "corpus": run / "curate"}, {}, results)


def card_of(folder: Path, settings: CardConfig | None = None) -> tuple[dict[str, Any], str]:
    write_card(folder, settings)
    text = (folder / CARD).read_text()
    _, header, body = text.split("---\n", 2)
    assert not list(folder.glob(".*tmp*"))
    return yaml.safe_load(header), body


def test_a_supernet_of_a_run(run: Path) -> None:
    evaluated(run, xz=1.64)
    header, body = card_of(run / "model")
    assert header == {
        "license": "unknown",
        "language": ["code"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["code", "derailleur", "supernet", "python", "java"],
    }
    for line in (
        "# quick",
        "One checkpoint, 2 speeds",
        "It continues and fills in code (Python, Java)",
        "| preset | placement | bits per byte | retention | next-token accuracy |",
        "| fast | `GKG` | 1.500 | 83.3\N{NO-BREAK SPACE}% |",
        "gzip needs 1.90 and xz 1.64",
        "tokens/s are of the whole batch, on An engine of 1843, 2 cores.",
        "derailleur serve FOLDER --preset fast",
        'from_pretrained("FOLDER", placement="fast")',
        "| `S` sliding window, 8 tokens | all |",
        "1,000 of 1,200 files of `project` kept",
        "150 near duplicate, 50 empty",
        "distilled at full layout random placements (30 steps)",
        "64 placements measured for quality",
        "no vision encoder",
        "- Weights: unspecified",
        "do not take it for permission",
    ):
        assert line in body, line
    assert "someone" not in body, "a path of somebody's machine"
    assert "infilled exactly" not in body, "a column without a score"
    assert "too small" not in body
    order = [body.index(f"- **{stage}**") for stage in ("curate", "tokenize", "pretrain", "distill", "place")]
    assert order == sorted(order)


def test_settings(run: Path) -> None:
    settings = CardConfig(
        name="Quick",
        license="bigcode-openrail-m",
        data_license="various permissive",
        data_card="https://example.org/data",
        base_model="bigcode/santacoder",
    )
    header, body = card_of(run / "model", settings)
    assert header["license"] == "bigcode-openrail-m" and header["base_model"] == "bigcode/santacoder"
    assert "# Quick" in body and "Data card: https://example.org/data" in body
    assert "bigcode-model-license-agreement" in body and "Attachment A restricts" in body
    assert "unspecified" not in body
    assert "| fast | `GKG` | -1.250 | 450 |" in body, "without an evaluation, what the search measured"


def test_stages_and_fixed_placements(run: Path, tmp_path: Path) -> None:
    header, body = card_of(run / "pretrain" / "model")
    assert "# quick: pretrain" in body and "supernet" not in header["tags"]
    assert "a teacher" in body and "## Presets" not in body and "distill**" not in body
    _, body = card_of(run / "distill" / "model")
    assert "None yet: `derailleur place search` finds them." in body and "many speeds" in body
    checkpoint(tmp_path / "fixed", **MIXERS, banks=["G", "K", "G"])
    header, body = card_of(tmp_path / "fixed")
    assert "fixed-placement" in header["tags"] and "at the fixed placement `1G 1K 1G`" in body
    assert "| `K` Kimi Delta Attention | 1 |" in body and "## How it was made" not in body


def test_a_model_worse_than_xz_says_so(run: Path) -> None:
    evaluated(run, xz=1.1)
    assert "xz needs fewer bits for the same files" in card_of(run / "model")[1]


def test_a_moved_run_is_still_understood(run: Path) -> None:
    moved = run.rename(run.with_name("elsewhere"))
    _, body = card_of(moved / "model")
    assert "1,000 of 1,200 files" in body and "# elsewhere" in body


def test_the_same_card_is_not_written_again(run: Path) -> None:
    write_card(run / "model")
    before = (run / "model" / CARD).stat().st_mtime_ns
    (run / "model" / f".{CARD}.tmp-123").write_text("half a ca")
    write_card(run / "model")
    assert (run / "model" / CARD).stat().st_mtime_ns == before
    assert not list((run / "model").glob(".*"))
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        write_card(run / "curate")


def test_a_card_changes_no_fingerprint(run: Path) -> None:
    folder = run / "distill" / "model"
    before = input_fingerprint(folder)
    write_card(folder, CardConfig(license="mit"))
    assert input_fingerprint(folder) == before
    (folder / "extra.txt").write_text("x")
    assert input_fingerprint(folder) != before


def test_exports_have_cards(run: Path, tmp_path: Path) -> None:
    evaluated(run, xz=1.64)
    settings = tmp_path / "card.yaml"
    settings.write_text("license: apache-2.0\n")
    call = ["export", str(run / "model"), "--format", "hf", "--card", str(settings)]
    assert main([*call, "--placement", "full", "--out", str(tmp_path / "plain")]) == 0
    text = (tmp_path / "plain" / CARD).read_text()
    assert "A `llama` checkpoint" in text and "license: apache-2.0" in text
    assert "| full | `FFF` | 1.250 |" in text
    assert "import derailleur.hf" not in text and "derailleur serve" not in text
    assert "- **export**: in layout `hf`, keeping full `FFF`." in text and "- **pretrain**" in text
    assert main([*call, "--placement", "fast", "--out", str(tmp_path / "fast")]) == 0
    text = (tmp_path / "fast" / CARD).read_text()
    assert "at the fixed placement" in text and "| fast | `GKG` | 1.500 |" in text and "| full |" not in text
    assert main(["import", str(tmp_path / "plain"), "--out", str(tmp_path / "again")]) == 2, "no tokenizer"


def test_unknown_settings_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "card.yaml"
    settings.write_text(json.dumps({"licence": "mit"}))
    call = ["export", str(run / "model"), "--format", "hf", "--out", str(tmp_path / "out")]
    assert main([*call, "--card", str(settings)]) == 2
    assert "unknown key 'licence'; did you mean 'license'" in capsys.readouterr().err
