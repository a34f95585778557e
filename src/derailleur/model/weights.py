"""Weights on disk: safetensors files read by header, read tensor by tensor, and written in a stream.

Pickled weights are never opened. Both reading and writing hold one tensor at a time: a file's header
comes before its data and needs shapes alone. Values are read, not mapped: safetensors maps a file for
PyTorch as if to write into it, which memory must have room for.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from derailleur.errors import CheckpointError
from derailleur.io import atomic_path, read_json, write_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
"""The most that one file holds, but for a tensor that is larger alone."""

_SHARD = "model-{:05}-of-{:05}.safetensors"
_SHARDS = "model-*-of-*.safetensors"
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}\.safetensors")
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
        for name in shards:
            if not _FILE_NAME.fullmatch(name):
                raise CheckpointError(
                    f"{folder / INDEX}: expected names of files in the folder, got {name!r}"
                )
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


class TensorFile:
    """A safetensors file whose header was read.

    Attributes:
        specs: shape and dtype of every tensor.

    Raises:
        CheckpointError: if the file is missing or broken, or holds numbers of another kind (quantised).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.specs: dict[str, TensorSpec] = {}
        self._starts: dict[str, int] = {}
        for name, entry in _read_header(path).items():
            if entry["dtype"] not in _DTYPES:
                raise CheckpointError(
                    f"{path}: tensor '{name}' is {entry['dtype']}, which is not supported; "
                    f"expected one of {', '.join(_DTYPES)}"
                )
            self.specs[name] = TensorSpec(tuple(entry["shape"]), _DTYPES[entry["dtype"]])
            self._starts[name] = entry["start"]

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own.

        Raises:
            CheckpointError: if the file changed since its header was read.
        """
        spec = self.specs[name]
        x = torch.empty(spec.shape, dtype=spec.dtype)
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._starts[name])
                num_bytes = stream.readinto(_bytes(x))
        except OSError as error:
            raise CheckpointError(f"{self._path}: {(error.strerror or str(error)).lower()}") from None
        if num_bytes != spec.num_bytes:
            raise CheckpointError(f"{self._path}: tensor '{name}' ends early; was the file written to?")
        return x


def read_header(path: Path) -> dict[str, TensorSpec]:
    """Names, shapes and dtypes of a file's tensors; no values are read.

    Raises:
        CheckpointError: as `TensorFile`.
    """
    return TensorFile(path).specs


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file, one after another.

    Raises:
        CheckpointError: as `TensorFile`.
    """
    file = TensorFile(path)
    for name in file.specs:
        yield name, file.read(name)


def _read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Each tensor's `dtype` and `shape`, and at which byte of the file it starts."""
    try:
        with safe_open(path, framework="numpy"):  # everything that a header can have wrong is seen here
            pass
        with path.open("rb") as stream:
            num_bytes = int.from_bytes(stream.read(8), "little")
            header: dict[str, dict[str, Any]] = json.loads(stream.read(num_bytes))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from None
    header.pop("__metadata__", None)
    return {
        name: {**entry, "start": 8 + num_bytes + entry["data_offsets"][0]} for name, entry in header.items()
    }


def files_of(specs: Mapping[str, TensorSpec]) -> dict[str, list[str]]:
    """The files that hold a folder's weights, and the tensors in each, in the order of `specs`."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, spec in specs.items():
        if groups[-1] and size + spec.num_bytes > SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += spec.num_bytes
    if len(groups) == 1:
        return {WEIGHTS: groups[0]}
    return {_SHARD.format(number, len(groups)): names for number, names in enumerate(groups, 1)}


def write_weights(
    folder: Path,
    specs: Mapping[str, TensorSpec],
    make: Callable[[str], Tensor],
    *,
    resume: bool = False,
) -> None:
    """Write a folder's weights: one file, or shards and an index where they are larger than `SHARD_BYTES`.

    Each file is atomic. Where several change together, what was there before is no checkpoint from here
    on, so that a killed call never leaves old and new side by side.

    Args:
        specs: every tensor.
        make: gives a tensor by its name.
        resume: keep finished files of an earlier, killed call, which the caller knows had the same values.
    """
    files = files_of(specs)
    old = {folder / INDEX, folder / WEIGHTS, *folder.glob(_SHARDS)}
    stale = [path for path in old if path.is_file() and path.name not in files]
    if stale or len(files) > 1:
        (folder / "config.json").unlink(missing_ok=True)
    for path in stale:
        path.unlink()
    for file, names in files.items():
        if resume and (folder / file).is_file():
            continue
        with atomic_path(folder / file) as temporary:
            held = {name: specs[name] for name in names}
            write_tensors(temporary, held, ((name, make(name)) for name in names))
    if len(files) > 1:
        total = {"total_size": sum(spec.num_bytes for spec in specs.values())}
        weight_map = {name: file for file, names in files.items() for name in names}
        write_json(folder / INDEX, {"metadata": total, "weight_map": weight_map})


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
