"""The training loop that all stages share: phases of steps, one log, and exact resume.

Every step is a function of the weights, the optimiser state and the step's number: batches, placements
and learning rates are looked up by step, and nothing else is carried along. So a run that goes on from
a checkpoint ends with the same weights, bit for bit, as one that was never cut off.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import Field
from torch import Tensor

from derailleur.config import Config
from derailleur.errors import DerailleurError
from derailleur.io import Progress
from derailleur.model import Decoder
from derailleur.tokens import DataConfig
from derailleur.training.checkpoint import CheckpointFolder, TrainingState
from derailleur.training.data import Batch, TrainingData
from derailleur.training.metrics import MetricsLog
from derailleur.training.optimizer import OptimizerConfig, set_learning_rate
from derailleur.training.precision import Precision, autocast, deterministic
from derailleur.training.schedule import ScheduleConfig


class PhaseConfig(Config):
    """How long and how fast one phase learns."""

    steps: int = Field(1000, gt=0, description="optimiser steps")
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: float = Field(1.0, gt=0, description="the gradient's largest norm, L2 over all parameters")


class CheckpointConfig(Config):
    """When a checkpoint is written: whichever comes first."""

    every_steps: int = Field(1000, gt=0, description="steps between checkpoints")
    every_seconds: float = Field(60, ge=0, description="seconds between checkpoints")


class HeldoutConfig(Config):
    """When and on how much held-out text the objective is measured; always after a phase's last step."""

    every_steps: int = Field(100, gt=0, description="steps between measurements")
    num_sequences: int = Field(16, gt=0, description="sequences, evenly spaced over the held-out tokens")


class TrainerConfig(Config):
    """What all stages of training have in common."""

    data: DataConfig = DataConfig()
    micro_batch_size: int | None = Field(
        None, gt=0, description="sequences per forward pass (gradient accumulation); the whole batch if null"
    )
    precision: Precision = Field(Precision.AUTO, description="of matrix products: auto, float32, bfloat16")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...")
    checkpoint: CheckpointConfig = CheckpointConfig()
    heldout: HeldoutConfig = HeldoutConfig()
    seed: int = Field(0, ge=0, description="of initial weights and placements")


@dataclass(frozen=True)
class Measured:
    """What an objective finds in one batch.

    Attributes:
        loss: scalar, a mean over the batch's counted tokens.
        metrics: further such means, of any shape; a dot in a name nests it in the log.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """What a phase minimises."""

    def train(self, batch: Batch, step: int) -> Measured:
        """The loss to differentiate at a step."""

    def heldout(self, batch: Batch) -> Measured:
        """The same on held-out text, comparable between steps."""

    def notes(self, step: int) -> dict[str, Any]:
        """What the log should say about a step besides what was measured."""


@dataclass(frozen=True)
class Phase:
    """A stretch of steps with one objective, a fresh optimiser and a schedule of its own.

    Attributes:
        name: in the log, and in the progress where a stage has several.
    """

    name: str
    config: PhaseConfig
    objective: Objective


class Trainer:
    """Runs phases one after another on one decoder."""

    def __init__(
        self,
        decoder: Decoder,
        phases: Sequence[Phase],
        data: TrainingData,
        config: TrainerConfig,
        out: Path,
        *,
        progress: Progress,
    ) -> None:
        self.decoder, self.phases, self.data, self.config = decoder, phases, data, config
        self.checkpoints = CheckpointFolder(out / "checkpoint")
        self.log_path = out / "metrics.jsonl"
        self.progress = progress
        self.heldout = data.heldout(config.heldout.num_sequences)
        self.state = self.checkpoints.state()
        self.saved_at = time.monotonic()

    def run(self) -> Mapping[str, Any]:
        """Train from the newest checkpoint to the end; returns the last row of the log.

        Raises:
            DerailleurError: if the loss or the gradient is not finite.
        """
        self.checkpoints.load_model(self.decoder)
        with (
            deterministic(self.data.device),
            MetricsLog(self.log_path, last_step=self.state.step) as log,
        ):
            begin = 0
            for phase in self.phases:
                end = begin + phase.config.steps
                if self.state.step < end:
                    self._run_phase(phase, begin, end, log)
                begin = end
            return log.last_row

    def _run_phase(self, phase: Phase, begin: int, end: int, log: MetricsLog) -> None:
        """Take the steps from `begin` (or where the checkpoint stands) up to `end`."""
        config = phase.config
        optimizers = config.optimizer.build(self.decoder)
        if self.state.step > begin:
            self.checkpoints.load_optimizers(self.decoder, optimizers)
        for step in range(self.state.step, end):
            started = time.monotonic()
            rate = config.optimizer.learning_rate * config.schedule.factor(step - begin, config.steps)
            set_learning_rate(optimizers, rate)
            measured = self._step(phase, optimizers, step)
            seconds = time.monotonic() - started
            self.state = TrainingState(step + 1, self.state.seconds + seconds)
            row = {
                "step": self.state.step,
                "phase": phase.name,
                "tokens": self.state.step * self.data.tokens_per_batch,
                "seconds": round(self.state.seconds, 3),
                "lr": rate,
                **measured,
            }
            if self.state.step == end or self.state.step % self.config.heldout.every_steps == 0:
                row |= self._measure_heldout(phase)
            log.append(row)
            speed = self.data.tokens_per_batch / seconds / 1000
            note = f"loss {row['loss']:.3f}  {speed:.1f}k tok/s"
            self.progress(phase.name, self.state.step - begin, config.steps, note)
            self._save_if_due(optimizers, log)

    def _save_if_due(self, optimizers: Sequence[torch.optim.Optimizer], log: MetricsLog) -> None:
        due = time.monotonic() - self.saved_at >= self.config.checkpoint.every_seconds
        if due or self.state.step % self.config.checkpoint.every_steps == 0:
            log.sync()  # no step of the checkpoint may be missing in the log
            self.checkpoints.save(self.state, self.decoder, optimizers)
            self.saved_at = time.monotonic()

    def _step(self, phase: Phase, optimizers: Sequence[torch.optim.Optimizer], step: int) -> dict[str, Any]:
        """One update of the weights; returns what was measured."""
        batch = self.data.batch(step)
        self.decoder.zero_grad(set_to_none=True)
        parts = []
        for share, part in batch.split(self.config.micro_batch_size):
            with autocast(self.config.precision, self.data.device):
                measured = phase.objective.train(part, step)
            (measured.loss * share).backward()
            parts.append((share, measured))
        norm = torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), phase.config.clip_norm)
        loss, metrics = _mean(parts)
        _check_finite(phase, step, loss, float(norm))
        for optimizer in optimizers:
            optimizer.step()
        return {"loss": loss, "gradient_norm": float(norm), **metrics, **phase.objective.notes(step)}

    @torch.no_grad()
    def _measure_heldout(self, phase: Phase) -> dict[str, Any]:
        parts = []
        for share, part in self.heldout.split(self.config.micro_batch_size or self.config.data.batch_size):
            with autocast(self.config.precision, self.data.device):
                parts.append((share, phase.objective.heldout(part)))
        loss, metrics = _mean(parts)
        return {"heldout_loss": loss, "heldout": metrics} if metrics else {"heldout_loss": loss}


def _mean(parts: Sequence[tuple[float, Measured]]) -> tuple[float, dict[str, Any]]:
    """Means over micro-batches, weighted by their share, as plain and nested numbers."""
    loss = float(sum(share * measured.loss.detach().float() for share, measured in parts))
    nested: dict[str, Any] = {}
    for name in parts[0][1].metrics:
        mean = sum(share * measured.metrics[name].detach().float() for share, measured in parts)
        assert isinstance(mean, Tensor)
        *path, last = name.split(".")
        place = nested
        for key in path:
            place = place.setdefault(key, {})
        place[last] = mean.tolist()
    return loss, nested


def _check_finite(phase: Phase, step: int, loss: float, gradient_norm: float) -> None:
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    raise DerailleurError(
        f"{phase.name}, step {step + 1}: the loss is {loss:g} and the gradient's norm {gradient_norm:g}; "
        f"lower optimizer.learning_rate (now {phase.config.optimizer.learning_rate:g}) "
        "or set precision to float32"
    )
