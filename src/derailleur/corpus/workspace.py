"""The configuration of the stage, and where its tasks find each other's files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from derailleur.corpus.decontamination import DecontaminationConfig
from derailleur.corpus.filters import FilterConfig
from derailleur.corpus.licences import LicenceConfig
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.corpus.pii import PiiConfig
from derailleur.corpus.recognition import RecognitionConfig
from derailleur.corpus.sources import Source, SourceConfig, Unit
from derailleur.corpus.substrings import SubstringConfig
from derailleur.errors import DataError
from derailleur.io import read_json, write_json

_KINDS = (
    *("plan", "read", "texts", "licences", "judge", "rank", "ranks", "names"),
    *("sketch", "join", "resolve", "finish", "fingerprint", "match", "passages", "repeats"),
)

_SUFFIXES = {
    "documents": ".parquet",
    "ledger": ".parquet",
    "measures": ".parquet",
    "redactions": ".jsonl",
    "contamination": ".jsonl",
}


class CurateConfig(SourceConfig):
    """Everything that decides which files become documents, and how they look."""

    repositories: Path | None = Field(
        None, description="table of repositories (.parquet, .csv, .jsonl): stars, licences, opted_out"
    )
    opt_out: tuple[Path, ...] = Field((), description="lists of owners and repositories to leave out")
    recognition: RecognitionConfig = RecognitionConfig()
    licences: LicenceConfig = LicenceConfig()
    near_dedup: NearDedupConfig = NearDedupConfig()
    pii: PiiConfig = PiiConfig()
    filters: FilterConfig = FilterConfig()
    decontamination: DecontaminationConfig = DecontaminationConfig()
    substrings: SubstringConfig = SubstringConfig()
    review: int = Field(
        0,
        ge=0,
        description="redactions of each kind that review.html shows, values in plain sight; 0: no page",
    )
    shard_bytes: int = Field(
        32 << 20, ge=1, description="raw files of one shard, the unit of work and resume, bytes"
    )
    row_group_bytes: int = Field(32 << 20, ge=1, description="content of one Parquet row group, bytes")

    @field_validator("opt_out", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


@dataclass(frozen=True)
class Workspace:
    """A run's folder: the output, and a scratch folder in it with what the tasks leave for each other."""

    out: Path
    config: CurateConfig

    @property
    def scratch(self) -> Path:
        """Removed when the run is done."""
        return self.out / ".scratch"

    def path(self, kind: str, number: int, suffix: str = "") -> Path:
        """A scratch file of one shard or partition."""
        return self.scratch / kind / f"{number:05d}{suffix}"

    def paths(self, kind: str, count: int, suffix: str = "") -> list[Path]:
        """The same of the first `count`."""
        return [self.path(kind, number, suffix) for number in range(count)]

    @cached_property
    def num_shards(self) -> int:
        """How many shards the plan has."""
        return int(read_json(self.scratch / "plan.json")["shards"])

    def output(self, kind: str, shard: int) -> Path:
        """A file of the result: one of each kind for every shard."""
        return self.out / f"{kind}-{shard:05d}{_SUFFIXES[kind]}"

    def units(self, shard: int) -> Iterator[Unit]:
        """What a shard is made of."""
        with self.path("plan", shard, ".jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield Unit.from_json(line)


@dataclass(frozen=True)
class Task:
    """One piece of work: a shard, or a partition of something. Its result is in files, and a few counts."""

    workspace: Workspace
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.workspace.out}: {self.kind}, shard {self.number}"

    @property
    def done(self) -> Path:
        """Written last: its counts. Whatever else the task wrote counts only where this is."""
        return self.workspace.path(self.kind, self.number, ".done.json")


def plan(workspace: Workspace, sources: Sequence[Source]) -> None:
    """Cut the sources into shards of about `shard_bytes`; does nothing where that was done before.

    The cut depends on the sources and the configuration alone.

    Raises:
        DataError: if there is no file at all.
    """
    marker = workspace.scratch / "plan.json"
    if marker.is_file():
        return
    for kind, suffix in _SUFFIXES.items():  # of an older run, whose shards may have been others
        for path in workspace.out.glob(f"{kind}-*{suffix}"):
            path.unlink()
    workspace.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)  # for texts before redaction
    for kind in _KINDS:
        (workspace.scratch / kind).mkdir(exist_ok=True)
    num_shards = 0
    for shard in _packed(sources, workspace.config.shard_bytes):
        lines = [unit.to_json() + "\n" for unit in shard]
        workspace.path("plan", num_shards, ".jsonl").write_text("".join(lines), encoding="utf-8")
        num_shards += 1
    if num_shards == 0:
        raise DataError(f"{', '.join(str(source.path) for source in sources)}: no files found")
    write_json(marker, {"shards": num_shards})


def _packed(sources: Sequence[Source], shard_bytes: int) -> Iterator[list[Unit]]:
    shard: list[Unit] = []
    size = 0
    for unit in (unit for source in sources for unit in source.units(shard_bytes)):
        if shard and size + unit.num_bytes > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(unit)
        size += unit.num_bytes
    if shard:
        yield shard
