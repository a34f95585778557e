"""Several named arrays in one file that is memory-mapped, in the safetensors layout.

The layout (eight bytes of header length, a JSON header, then the arrays) is documented, holds no code and
is read by many tools; it is written here because the library would first copy every array.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derailleur.errors import DataError
from derailleur.io import atomic_path

_TYPES = {
    "U8": np.uint8,
    "U32": np.uint32,
    "I64": np.int64,
    "U64": np.uint64,
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_ALIGNMENT = 8


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays atomically; the widest types come first, so that each lies aligned."""
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            stream.write(np.ascontiguousarray(array).data)


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Map the arrays of a file, read-only.

    Raises:
        DataError: if the file is missing or is not whole.
    """
    try:
        mapped = np.asarray(np.memmap(path, np.uint8, mode="r"))
        begin = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
        header = json.loads(mapped[8:begin].tobytes())
        return {
            name: mapped[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]]
            .view(_TYPES[entry["dtype"]])
            .reshape(entry["shape"])
            for name, entry in header.items()
        }
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: not a whole file of arrays; remove it and run again") from None


def scratch_array(path: Path, length: int, dtype: type[np.generic]) -> NDArray[Any]:
    """An array of zeros that lives in a file, for what would take too much memory.

    The space is reserved at once: a disk that is full is an error here, not a bus error later.
    """
    if length == 0:
        return np.empty(0, dtype)
    num_bytes = length * np.dtype(dtype).itemsize
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, num_bytes)
    return np.asarray(np.memmap(path, dtype, mode="r+", shape=length))
