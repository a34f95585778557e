"""Rows of different lengths on disk, in the layout of an Arrow large_binary array: values and offsets.

The corpus is held once, in a scratch file that is read back as a memory map, so that memory holds only
what is in use and the operating system decides what stays.
"""

from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Rows one after another.

    Attributes:
        values: [total] all rows' values.
        offsets: [rows + 1] int64; row `i` is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @classmethod
    def mapped(cls, path: Path, dtype: type[np.generic]) -> "Ragged":
        """The rows that a spool with `keep_offsets` left at `path`, memory-mapped."""
        offsets = np.load(_offsets_path(path), mmap_mode="r")
        return cls(_mapped(path, np.dtype(dtype), empty=offsets[-1] == 0), offsets)


class Spool:
    """Writes rows to a scratch file; `finish` gives them back as a memory map."""

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._stream = path.open("wb")
        self._offsets = array("q", [0])

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, row: bytes | memoryview) -> None:
        """Add one row, given as the bytes of its values."""
        self._stream.write(row)
        self._offsets.append(self._offsets[-1] + len(row) // self._dtype.itemsize)

    def finish(self, *, keep_offsets: bool = False) -> Ragged:
        """Close the file and map it; with `keep_offsets`, `Ragged.mapped` finds the rows again."""
        self._stream.close()
        offsets = np.array(self._offsets, dtype=np.int64)
        if keep_offsets:
            np.save(_offsets_path(self._path), offsets)
        return Ragged(_mapped(self._path, self._dtype, empty=offsets[-1] == 0), offsets)


def _offsets_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.offsets.npy")


def _mapped(path: Path, dtype: np.dtype[Any], *, empty: bool) -> NDArray[Any]:
    if empty:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r"))
