"""Checkpoints that are planned before they are written.

A plan says how each tensor is made from those of another checkpoint. Followed on empty tensors it tells
what would be written, by headers alone; followed on real ones it holds one tensor at a time.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.io import atomic_path, write_json
from derailleur.model.weights import (
    WEIGHTS,
    TensorSpec,
    opened,
    read_header,
    weight_files,
    write_tensors,
)

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

    def write(self, source: "StoredTensors", out: Path) -> None:
        """Write weights and config.json, which comes last: a folder without it is not a checkpoint."""
        specs = self.outline(source)
        made = ((name, make(source.read)) for name, make in self.tensors.items())
        with atomic_path(out / WEIGHTS) as temporary:
            write_tensors(temporary, specs, made)
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
        self._file_of: dict[str, Path] = {}
        self._specs: dict[str, TensorSpec] = {}
        for file in files:
            header = read_header(file)
            self._specs |= header
            self._file_of |= dict.fromkeys(header, file)
        self._open = contextlib.ExitStack()
        self._file: Path | None = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def outline(self, name: str) -> Tensor:
        """A tensor's shape and dtype, without memory."""
        spec = self._spec(name)
        return torch.empty(spec.shape, dtype=spec.dtype, device="meta")

    def read(self, name: str) -> Tensor:
        """A tensor."""
        self._spec(name)
        file = self._file_of[name]
        if file != self._file:
            # What was read of a file stays mapped while it is open: one at a time.
            self._close()
            self._stream, self._file = self._open.enter_context(opened(file)), file
        tensor: Tensor = self._stream.get_tensor(name)
        return tensor

    def _close(self) -> None:
        self._stream = self._file = None
        self._open.close()

    def _spec(self, name: str) -> TensorSpec:
        if name not in self._specs:
            raise CheckpointError(f"{self._folder}: tensor '{name}' is missing")
        return self._specs[name]
