"""Reads what the stages of a run wrote: what is not there is nothing, what is broken is an error."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.errors import DataError
from derailleur.io import read_json

STAGES = ("curate", "tokenize", "pretrain", "import", "distill", "finetune", "place", "evaluate")
"""The stages that a report tells about, in the order in which they run."""

TRAINING_STAGES = ("pretrain", "distill", "finetune")


@dataclass(frozen=True)
class RunFolder:
    """One run, one sub-folder a stage.

    Attributes:
        path: the folder of the run.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.stages():
            raise DataError(f"{self.path}: no run is here; expected a folder such as {self.path / STAGES[0]}")

    def stages(self) -> dict[str, Path]:
        """The folders of the stages that were started, finished or not."""
        return {stage: self.path / stage for stage in STAGES if (self.path / stage).is_dir()}

    def manifest(self, stage: str) -> dict[str, Any]:
        """A finished stage's manifest, or {}."""
        return self.json(f"{stage}/manifest.json", {})

    def results(self, stage: str) -> dict[str, Any]:
        """What a finished stage returned, or {}."""
        results: dict[str, Any] = self.manifest(stage).get("results", {})
        return results

    def json(self, name: str, missing: Any) -> Any:
        """The JSON value of a file, or `missing` if there is no such file."""
        path = self.path / name
        return read_json(path) if path.is_file() else missing

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSONL file, or [] if there is no such file."""
        path = self.path / name
        return list(_rows(path)) if path.is_file() else []


def stage_of(folder: Path) -> str | None:
    """The finished stage whose own folder this is, if it is one's."""
    path = folder / "manifest.json"
    return read_json(path)["stage"] if path.is_file() else None


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    # What follows the last newline was torn by a kill: a stage that runs again drops it as well.
    for number, line in enumerate(lines[:-1], start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from None
