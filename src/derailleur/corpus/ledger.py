"""The ledger: one verdict for every file seen, with its reason. Nothing leaves the corpus in silence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from derailleur.io import atomic_path

LEDGER = "ledger.parquet"

SCHEMA = pa.schema(
    [
        ("repository", pa.string()),
        ("path", pa.string()),
        ("num_bytes", pa.int64()),
        ("split", pa.string()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

Action = Literal["kept", "dropped", "quarantined"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file.

    Attributes:
        action: dropped files were understood and not wanted; quarantined ones could not be understood.
        reason: a short name to count by, e.g. `near_duplicate`; empty for kept files.
        detail: the survivor of a duplicate, or the value that was measured.
    """

    action: Action
    reason: str = ""
    detail: str = ""


KEPT = Verdict("kept")


class Entry(Protocol):
    """What the ledger says of a file beside its verdict."""

    @property
    def repository(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def num_bytes(self) -> int: ...
    @property
    def split(self) -> str: ...


class Ledger:
    """Collects exactly one verdict per file."""

    def __init__(self, files: Sequence[Entry]) -> None:
        self._files = files
        self._verdicts: list[Verdict | None] = [None] * len(files)

    def record(self, index: int, verdict: Verdict) -> None:
        """Set the verdict of file `index`; a second one is our bug."""
        assert self._verdicts[index] is None, f"two verdicts for {self._files[index].path}"
        self._verdicts[index] = verdict

    def verdicts(self) -> list[Verdict]:
        """All verdicts, in the order of the files; a missing one is our bug."""
        given = [verdict for verdict in self._verdicts if verdict is not None]
        assert len(given) == len(self._files), f"{len(self._files) - len(given)} files without a verdict"
        return given

    def reasons(self, action: Action) -> dict[str, int]:
        """How many files were `action`, by reason, the most frequent first."""
        counts = Counter(v.reason for v in self.verdicts() if v.action == action)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def write(self, path: Path) -> None:
        """Write the ledger as Parquet, one row a file."""
        verdicts = self.verdicts()
        columns = {
            "repository": [file.repository for file in self._files],
            "path": [file.path for file in self._files],
            "num_bytes": [file.num_bytes for file in self._files],
            "split": [file.split for file in self._files],
            "action": [verdict.action for verdict in verdicts],
            "reason": [verdict.reason for verdict in verdicts],
            "detail": [verdict.detail for verdict in verdicts],
        }
        with atomic_path(path) as temporary:
            pq.write_table(pa.table(columns, schema=SCHEMA), temporary, compression="zstd")
