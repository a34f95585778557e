"""What a killed training run resumes from: a folder that holds exactly what the next step depends on.

    OUT/checkpoint/step-00001200/
        model.safetensors       the parameters that learn
        optimizer.safetensors   their optimiser state, `PARAMETER/STATE`
        state.json              the step and the seconds trained

A checkpoint is written under another name and renamed once it is on disk; only then is the one before
it removed. What does not learn is built again by the stage, bit for bit.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from derailleur.errors import CheckpointError
from derailleur.io import fsync, read_json, write_json

_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        seconds: time spent in them, over all calls.
    """

    step: int = 0
    seconds: float = 0.0


class CheckpointFolder:
    """The checkpoints of one run; the newest complete one counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(
        self, state: TrainingState, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        """Write a checkpoint, then forget the older ones."""
        final = self.path / f"step-{state.step:08d}"
        partial = self.path / f".{final.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: weight.detach() for name, weight in _learning(model).items()}, partial / _MODEL)
        save_file(_optimizer_tensors(model, optimizers), partial / _OPTIMIZER)
        write_json(partial / _STATE, asdict(state))
        for file in partial.iterdir():
            fsync(file)
        fsync(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        fsync(self.path)
        for old in self.path.iterdir():
            if old != final:
                shutil.rmtree(old)

    def state(self) -> TrainingState:
        """Where the newest checkpoint stands; a fresh state if there is none."""
        newest = self._newest()
        return TrainingState() if newest is None else TrainingState(**read_json(newest / _STATE))

    def load_model(self, model: nn.Module) -> None:
        """Copy the newest checkpoint's parameters into `model`.

        Raises:
            CheckpointError: if they are not the parameters of `model` that learn.
        """
        newest = self._newest()
        if newest is None:
            return
        saved, parameters = load_file(newest / _MODEL), _learning(model)
        if {n: w.shape for n, w in saved.items()} != {n: w.shape for n, w in parameters.items()}:
            raise CheckpointError(f"{newest / _MODEL}: not a checkpoint of this model; remove {self.path}")
        with torch.no_grad():
            for name, weight in parameters.items():
                weight.copy_(saved[name])

    def load_optimizers(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Give optimisers that were built as before the state that they had."""
        newest = self._newest()
        if newest is None:
            return
        saved: dict[str, dict[str, Tensor]] = {}
        for key, value in load_file(newest / _OPTIMIZER).items():
            name, _, part = key.rpartition("/")
            saved.setdefault(name, {})[part] = value
        names = _names(model)
        for optimizer in optimizers:
            for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
                for part, value in saved.get(names[weight], {}).items():
                    # A copy in memory of torch's own: the file's is aligned otherwise, and a library's
                    # sums may depend on alignment.
                    optimizer.state[weight][part] = value.to(weight.device, copy=True)

    def remove(self) -> None:
        """Forget all checkpoints."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _newest(self) -> Path | None:
        return max(self.path.glob("step-*"), default=None)


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _names(model: nn.Module) -> dict[Tensor, str]:
    return {weight: name for name, weight in _learning(model).items()}


def _optimizer_tensors(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    names = _names(model)
    return {
        f"{names[weight]}/{part}": value
        for optimizer in optimizers
        for weight, state in optimizer.state.items()
        for part, value in state.items()
    }
