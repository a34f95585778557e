"""Weights on disk: safetensors files read by header, read tensor by tensor, and written in a stream.

Pickled weights are never opened. Both reading and writing hold one tensor at a time: a file's header
comes before its data and needs shapes alone.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.io import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_HEADER_ALIGNMENT_BYTES = 8
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Beside weights, the masks and counters that old checkpoints carry along."""

_CODES = {dtype: code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor without its values."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> "TensorSpec":
        """That of a tensor."""
        return cls(tuple(x.shape), x.dtype)

    @property
    def num_elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return self.num_elements * self.dtype.itemsize


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the shards that its index names, or the only file.

    They need not be there. A folder without any has none.

    Raises:
        CheckpointError: if the weights are pickled, or a shard lies outside the folder.
    """
    if (folder / INDEX).is_file():
        shards = sorted(set(shard_of_tensor(folder).values()))
        if any(Path(name).name != name for name in shards):
            raise CheckpointError(f"{folder / INDEX}: a shard lies outside the folder")
        return [folder / name for name in shards]
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    pickles = sorted(path for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise CheckpointError(f"{pickles[0]}: pickled weights are refused; save the model as safetensors")
    return []


def shard_of_tensor(folder: Path) -> dict[str, str]:
    """Which shard every tensor is in, by the folder's index; nothing without one.

    Raises:
        CheckpointError: if the index has no `weight_map` of names.
    """
    if not (folder / INDEX).is_file():
        return {}
    index = read_json(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(shard, str) for shard in names.values()):
        raise CheckpointError(f"{folder / INDEX}: expected a weight_map of tensor names to file names")
    return names


def read_header(path: Path) -> dict[str, TensorSpec]:
    """Names, shapes and dtypes of a file's tensors; no values are read.

    Raises:
        CheckpointError: if the file is missing or broken, or holds numbers of another kind (quantised).
    """
    specs = {}
    # For PyTorch it maps the file as if to write into it, which memory must have room for.
    with opened(path, framework="numpy") as stream:
        for name in stream.keys():  # noqa: SIM118
            entry = stream.get_slice(name)
            if entry.get_dtype() not in _DTYPES:
                raise CheckpointError(
                    f"{path}: tensor '{name}' is {entry.get_dtype()}, which is not supported; "
                    f"expected one of {', '.join(_DTYPES)}"
                )
            specs[name] = TensorSpec(tuple(entry.get_shape()), _DTYPES[entry.get_dtype()])
    return specs


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, one after another.

    Raises:
        CheckpointError: if the file is missing or broken.
    """
    with opened(path) as stream:
        for name in stream.keys():  # noqa: SIM118
            yield name, stream.get_tensor(name)


@contextlib.contextmanager
def opened(path: Path, *, framework: str = "pt") -> Iterator[Any]:
    """A safetensors file, open for reading.

    Raises:
        CheckpointError: if the file is missing or broken.
    """
    try:
        with safe_open(path, framework=framework) as stream:
            yield stream
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from None


def write_tensors(path: Path, specs: Mapping[str, TensorSpec], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write a safetensors file, one tensor at a time.

    Args:
        specs: every tensor that the file is to hold.
        tensors: the same with their values, in any order.
    """
    header, starts = _header(specs)
    missing = set(specs)
    with path.open("wb") as stream:
        stream.write(header)
        for name, x in tensors:
            assert TensorSpec.of(x) == specs[name], name
            stream.seek(len(header) + starts[name])
            stream.write(_bytes(x))
            missing.remove(name)
    assert not missing, f"never written: {missing}"


def _bytes(x: Tensor) -> memoryview:
    flat = x.detach().cpu().contiguous().flatten().view(torch.uint8)
    return flat.numpy().data


def _header(specs: Mapping[str, TensorSpec]) -> tuple[bytes, dict[str, int]]:
    """What a file begins with, and at which byte after it each tensor's data begins."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts: dict[str, int] = {}
    end = 0
    # Wide numbers first, so that each lies at a multiple of its width.
    for name, spec in sorted(specs.items(), key=lambda item: -item[1].dtype.itemsize):
        starts[name], end = end, end + spec.num_bytes
        header[name] = {
            "dtype": _CODES[spec.dtype],
            "shape": spec.shape,
            "data_offsets": [starts[name], end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _HEADER_ALIGNMENT_BYTES)
    return len(encoded).to_bytes(8, "little") + encoded, starts
