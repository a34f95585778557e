"""A run that was cut off, in any way and at any point, ends exactly as one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from derailleur.io import Progress, silent
from derailleur.training import distill, finetune, pretrain

StageCall = Callable[[Path, Progress], dict[str, Any]]


def interrupt_at(label: str, step: int) -> Progress:
    """A progress that is cut off, as by Ctrl-C, when a phase reports a step."""

    def progress(phase: str, done: float, total: float | None, note: str = "") -> None:
        if (phase, done) == (label, step):
            raise KeyboardInterrupt

    return progress


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def rows(out: Path) -> list[dict[str, Any]]:
    """The training log without its times."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def assert_same_run(actual: Path, expected: Path) -> None:
    one, other = weights(actual), weights(expected)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert rows(actual) == rows(expected)
    assert not (actual / "checkpoint").exists()


@pytest.fixture
def stages(
    pretrain_config, distill_config, finetune_config, tokens, teacher, supernet
) -> dict[str, StageCall]:
    """Every stage, with a checkpoint after every fourth step."""
    often = {"checkpoint": pretrain_config.checkpoint.model_copy(update={"every_steps": 4})}
    pretrain_often = pretrain_config.model_copy(update={**often, "steps": 10})
    distill_often = distill_config.model_copy(update={
        **often,
        "alignment": distill_config.alignment.model_copy(update={"steps": 8}),
        "stochastic": distill_config.stochastic.model_copy(update={"steps": 8}),
    })  # fmt: skip
    finetune_often = finetune_config.model_copy(update={**often, "steps": 10})
    return {
        "pretrain": lambda out, progress: pretrain(pretrain_often, tokens, out, progress=progress),
        "distill": lambda out, progress: distill(distill_often, teacher, tokens, out, progress=progress),
        "finetune": lambda out, progress: finetune(finetune_often, supernet, tokens, out, progress=progress),
    }


@pytest.mark.parametrize(
    ("stage", "phase", "step"),
    [
        ("pretrain", "pretrain", 3),  # before the first checkpoint
        ("pretrain", "pretrain", 7),
        ("pretrain", "pretrain", 10),  # after the last step, before its checkpoint and the model
        ("distill", "align", 6),
        ("distill", "align", 8),  # the last step of a phase
        ("distill", "stochastic", 1),  # right after a checkpoint between the phases
        ("distill", "stochastic", 7),
        ("finetune", "finetune", 9),
    ],
)
def test_after_an_interruption_the_same_call_ends_with_the_same_bits(stages, stage, phase, step, tmp_path):
    call = stages[stage]
    straight = call(tmp_path / "straight", silent)
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path / "resumed", interrupt_at(phase, step))
    resumed = call(tmp_path / "resumed", silent)
    assert_same_run(tmp_path / "resumed", tmp_path / "straight")
    assert {**resumed, "seconds": 0} == {**straight, "seconds": 0}


def test_two_interruptions_are_as_good_as_none(stages, tmp_path):
    call = stages["distill"]
    call(tmp_path / "straight", silent)
    for phase, step in (("align", 5), ("stochastic", 3)):
        with pytest.raises(KeyboardInterrupt):
            call(tmp_path / "resumed", interrupt_at(phase, step))
    call(tmp_path / "resumed", silent)
    assert_same_run(tmp_path / "resumed", tmp_path / "straight")


def test_a_call_that_was_killed_after_its_results_does_not_train_again(stages, tmp_path):
    out = tmp_path / "out"
    results = stages["pretrain"](out, silent)
    (out / "checkpoint" / "step-00000008").mkdir(parents=True)  # the kill came before it was removed
    again = stages["pretrain"](out, interrupt_at("pretrain", 1))
    assert again == results
    assert not (out / "checkpoint").exists()


def test_a_killed_process_resumes_to_the_same_bits(pretrain_config, tokens, tmp_path):
    config = pretrain_config.model_copy(
        update={
            "steps": 80,
            "checkpoint": pretrain_config.checkpoint.model_copy(update={"every_steps": 5}),
        }
    )
    pretrain(config, tokens, tmp_path / "straight")
    out, recipe = tmp_path / "killed", tmp_path / "config.yaml"
    recipe.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = ["pretrain", "--data", str(tokens), "--out", str(out), "--config", str(recipe)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from derailleur.cli import main; main()", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not any((out / "checkpoint").glob("step-000000[2-9]*")):
        time.sleep(0.002)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    pretrain(config, tokens, out)
    assert_same_run(out, tmp_path / "straight")
