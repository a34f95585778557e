"""The whole road on the smoke recipe: killed, resumed, repeated."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from derailleur.io import file_sha256, read_json
from derailleur.model import load_model
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets

RECIPE = Path(__file__).parents[1] / "recipes" / "smoke.yaml"
STAGES = ["curate", "tokenize", "pretrain", "distill", "finetune", "place", "model", "evaluate", "report"]
WAIT_SECONDS = 300.0


def command(out: Path, *arguments: str) -> list[str]:
    # Checkpoints often enough that a killed run has one to go on from.
    often = [f"--{stage}.checkpoint.every_steps=10" for stage in ("pretrain", "distill", "finetune")]
    return [sys.executable, "-m", "derailleur", "run", str(RECIPE), "--out", str(out), *often, *arguments]


def run(out: Path, *arguments: str) -> str:
    done = subprocess.run(command(out, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def kill_when(out: Path, ready: Any) -> None:
    """Start the run, and kill -9 it as soon as `ready()`."""
    with subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "the run did not get there"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)


# Kills its own process before a file of a folder is renamed to its name, the spared ones excepted.
DIE_AT_A_WRITE = """
import os, runpy, signal, sys
folder, spared = sys.argv.pop(1), sys.argv.pop(1).split()
def watch(event, arguments):
    if event == "os.rename":
        parent, name = os.path.split(os.fspath(arguments[1]))
        if parent == folder and name not in spared:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
runpy.run_module("derailleur", run_name="__main__")
"""


def run_and_die(folder: Path, spared: str) -> None:
    """Start the run, which kills itself before a file of a stage, but for the `spared`, is in its place."""
    python, _, _, *arguments = command(folder.parent)
    call = [python, "-c", DIE_AT_A_WRITE, str(folder), spared, *arguments]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def manifest(out: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(out / stage / "manifest.json")
    return found


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was killed in the middle of pretraining."""
    out = tmp_path_factory.mktemp("road") / "run"
    kill_when(out, lambda: lines(out / "pretrain" / "metrics.jsonl") > 25)
    assert (out / "tokenize" / "manifest.json").is_file()
    assert not (out / "pretrain" / "manifest.json").exists()
    run(out)
    return out


def test_every_stage_is_done(road: Path) -> None:
    for stage in STAGES:
        assert manifest(road, stage)["seconds"] >= 0
    curated = manifest(road, "curate")["results"]
    assert curated["files_seen"] == curated["kept"] + sum(curated["dropped"].values()) + sum(
        curated["quarantined"].values()
    )
    assert curated["splits"]["heldout"]["files"] > 0
    assert not list(road.rglob(".*.tmp-*"))


def test_a_killed_run_ends_with_the_same_weights(road: Path, tmp_path: Path) -> None:
    log = (road / "pretrain" / "metrics.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in log.splitlines()]
    assert steps == sorted(set(steps)), "a step was logged twice"
    run(tmp_path / "undisturbed", "--until", "pretrain")
    weights = Path("pretrain") / "model" / "model.safetensors"
    assert file_sha256(road / weights) == file_sha256(tmp_path / "undisturbed" / weights)
    assert not (tmp_path / "undisturbed" / "distill").exists()


def test_the_second_call_changes_no_more_than_the_cards(road: Path) -> None:
    card = (road / "model" / "README.md").read_text()
    assert "license: unknown" in card and "| full | `FFFF` |" in card and "**place**" in card
    before = {stage: (road / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES}
    run(road, "--card.license=mit")
    assert (road / "model" / "README.md").read_text() == card.replace(
        "license: unknown", "license: mit"
    ).replace("Weights: unspecified", "Weights: mit")
    assert {stage: (road / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES} == before
    assert not list(road.glob("*.previous*"))


@torch.no_grad()
def test_full_attention_of_the_supernet_is_the_teacher(road: Path) -> None:
    teacher, supernet = load_model(road / "pretrain"), load_model(road / "model")
    tokens = torch.randint(0, teacher.config.vocab_size, (2, 100), generator=torch.Generator().manual_seed(0))
    assert torch.equal(teacher(tokens).logits, supernet(tokens).logits)
    for name, weight in teacher.state_dict().items():
        assert torch.equal(weight, supernet.state_dict()[name]), name


def test_presets_and_report(road: Path) -> None:
    presets = load_presets(road / "model", full=Placement("FFFF"))
    assert str(presets["full"]) == "FFFF"
    scores = {row["preset"]: row for row in manifest(road, "evaluate")["results"]["presets"]}
    assert list(scores) == list(presets)
    full = scores["full"]["bits_per_byte"]
    for row in scores.values():
        assert row["retention"]["bits_per_byte"] == pytest.approx(full / row["bits_per_byte"])
    assert full > 0
    page = (road / "report" / "report.html").read_text()
    assert all(name in page for name in presets)


def test_wrong_calls_are_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (["--until", "destill"], "--until: unknown stage 'destill'"),
        (["--distill.alignment.stepz", "3"], "unknown key 'distill.alignment.stepz'; did you mean"),
        (["--pretrain.steps", "none"], "pretrain.steps:"),
    ):
        done = subprocess.run(
            command(tmp_path / "out", *arguments), capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_killed_in_every_stage(road: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of each stage, and again when it has done everything but say so; then it ends."""
    out = tmp_path / "run"
    log_of = {
        "pretrain": "metrics.jsonl",
        "distill": "metrics.jsonl",
        "finetune": "metrics.jsonl",
        "place": "quality.jsonl",
        "evaluate": "scores.jsonl",
    }
    for stage in STAGES:
        folder = out / stage
        if stage in log_of:
            log = folder / log_of[stage]
            kill_when(out, lambda log=log: lines(log) > 2)
        else:
            run_and_die(folder, "stage.json")
        assert (folder / "stage.json").exists() and not (folder / "manifest.json").exists(), stage
        all_but_the_manifest = " ".join(file.name for file in (road / stage).iterdir())
        run_and_die(folder, all_but_the_manifest.replace("manifest.json", ""))
        assert not (folder / "manifest.json").exists(), stage
    run(out)
    for name in ("pretrain", "distill", "finetune"):
        weights = Path(name) / "model" / "model.safetensors"
        assert file_sha256(out / weights) == file_sha256(road / weights), name
