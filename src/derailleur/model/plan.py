"""Checkpoints that are planned before they are written.

A plan says how each tensor is made from those of another checkpoint. Followed on empty tensors it tells
what would be written, by headers alone; followed on real ones it holds one tensor at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.io import write_json
from derailleur.model.weights import WEIGHTS, TensorFile, TensorSpec, weight_files, write_weights

Read: TypeAlias = Callable[[str], Tensor]
"""Gives a tensor of the source by its name."""


@dataclass(frozen=True)
class CheckpointPlan:
    """A checkpoint folder that is yet to be written.

    Attributes:
        config: the content of config.json, but for `dtype`.
        tensors: by name, what makes each from the tensors of the source.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Callable[[Read], Tensor]]

    def outline(self, source: "StoredTensors") -> dict[str, TensorSpec]:
        """Shape and dtype of every tensor.

        Raises:
            CheckpointError: if the source lacks a tensor.
        """
        return {name: TensorSpec.of(make(source.outline)) for name, make in self.tensors.items()}

    def targets(self, source: "StoredTensors") -> dict[str, list[str]]:
        """The tensors into which each of the source's goes; none where it is left out."""
        found: dict[str, list[str]] = {name: [] for name in source}
        for target, make in self.tensors.items():

            def read(name: str, target: str = target) -> Tensor:
                found[name].append(target)
                return source.outline(name)

            make(read)
        return found

    def write(self, source: "StoredTensors", out: Path, *, resume: bool = False) -> None:
        """Write weights and config.json, which comes last: a folder without it is not a checkpoint.

        Args:
            resume: as in `write_weights`.
        """
        specs = self.outline(source)
        write_weights(out, specs, lambda name: self.tensors[name](source.read), resume=resume)
        dtypes = {str(spec.dtype).removeprefix("torch.") for spec in specs.values()}
        said = {"dtype": dtypes.pop()} if len(dtypes) == 1 else {}
        write_json(out / "config.json", dict(self.config) | said)


def stored(name: str) -> Callable[[Read], Tensor]:
    """Makes a tensor that the source has as it is."""
    return lambda read: read(name)


class StoredTensors:
    """The tensors of a checkpoint folder, by name.

    Raises:
        CheckpointError: if there are no safetensors files, or one is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = weight_files(folder)
        if not files:
            raise CheckpointError(f"{folder}: no {WEIGHTS}")
        self._file_of = {name: file for file in map(TensorFile, files) for name in file.specs}

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def outline(self, name: str) -> Tensor:
        """A tensor's shape and dtype, without memory."""
        spec = self._file(name).specs[name]
        return torch.empty(spec.shape, dtype=spec.dtype, device="meta")

    def read(self, name: str) -> Tensor:
        """A tensor."""
        return self._file(name).read(name)

    def check_target(self, out: Path) -> None:
        """Refuse to write where the tensors are yet to be read.

        Raises:
            CheckpointError: if `out` is the folder itself.
        """
        if out.resolve() == self._folder.resolve():
            raise CheckpointError(f"{out}: cannot be written into itself; give another folder")

    def _file(self, name: str) -> TensorFile:
        if name not in self._file_of:
            raise CheckpointError(f"{self._folder}: tensor '{name}' is missing")
        return self._file_of[name]
