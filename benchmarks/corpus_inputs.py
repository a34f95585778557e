"""What the benchmark of the corpus stage runs on: the same source files for every contender."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MIN_BYTES, MAX_BYTES = 50, 1_000_000
NUM_PARTS = 8  # as many as datatrove has tasks


@dataclass(frozen=True)
class Corpus:
    """Source files, by name, and the same as Parquet.

    Attributes:
        names: paths below the folder; the `id` of the Parquet files.
        parts: folder of Parquet files of `id` and `content`.
    """

    folder: Path
    names: Sequence[str]
    num_bytes: int
    parts: Path

    def paths(self, max_bytes: int | None = None) -> list[Path]:
        """The files, or the first of them, of `max_bytes` together."""
        paths, total = [], 0
        for name in self.names:
            path = self.folder / name
            total += path.stat().st_size
            if max_bytes is not None and total > max_bytes:
                break
            paths.append(path)
        return paths


def load(folder: Path, scratch: Path) -> Corpus:
    """Read every UTF-8 Python file of 50 B to 1 MB below a folder, in the order of their names."""
    files = [(str(path.relative_to(folder)), path.read_bytes()) for path in sorted(folder.rglob("*.py"))]
    texts = [(name, text) for name, data in files if (text := _text(data)) is not None]
    parts = scratch / folder.name
    parts.mkdir(parents=True)
    size = -(-len(texts) // NUM_PARTS)
    for number, part in enumerate(_slices(texts, size)):
        names, contents = zip(*part, strict=True)
        table = pa.table({"id": names, "content": contents})
        pq.write_table(table, parts / f"{number}.parquet", compression="zstd")
    num_bytes = sum(len(text.encode()) for _, text in texts)
    return Corpus(folder, [name for name, _ in texts], num_bytes, parts)


def _text(data: bytes) -> str | None:
    if not MIN_BYTES < len(data) < MAX_BYTES or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _slices(texts: Sequence[tuple[str, str]], size: int) -> Iterator[Sequence[tuple[str, str]]]:
    for begin in range(0, len(texts), size):
        yield texts[begin : begin + size]
