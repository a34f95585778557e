"""Where a checkpoint comes from: the manifests of the stages behind it, and of those that measured it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.io import read_json
from derailleur.runs import MANIFEST

_MEASURING = ("place", "evaluate")
_COPYING = ("model", "export")
"""Stages whose weights are those of an earlier one, so that its measurements hold."""


@dataclass(frozen=True)
class History:
    """Manifests, each after those that it builds on.

    Attributes:
        stages: of the stages that made the checkpoint.
        evaluation: what `evaluate` found, or {}.
        machine: on which speeds were measured, or "".
    """

    stages: tuple[dict[str, Any], ...]
    evaluation: dict[str, Any]
    machine: str

    @classmethod
    def of(cls, folder: Path) -> "History":
        """That of a checkpoint folder, as far as its manifests are there."""
        own = _stage_folder(folder)
        if own is None:
            return cls((), {}, "")
        measured = _measured(own)
        found: dict[Path, dict[str, Any]] = {}
        for stage in (*measured.values(), own):
            _collect(stage, found)
        stages = tuple(manifest for manifest in found.values() if manifest["stage"] != "evaluate")
        evaluation = found[measured["evaluate"]]["results"] if "evaluate" in measured else {}
        timed = next((found[measured[name]] for name in ("evaluate", "place") if name in measured), {})
        return cls(stages, evaluation, timed.get("machine", ""))

    def results(self, stage: str) -> dict[str, Any]:
        """What a stage returned; the last of that name, {} if there is none."""
        matching = [manifest["results"] for manifest in self.stages if manifest["stage"] == stage]
        return matching[-1] if matching else {}

    @property
    def exported(self) -> dict[str, str]:
        """Name and letters of the placements that an export kept, if the checkpoint is an export of some."""
        exports = [manifest["config"] for manifest in self.stages if manifest["stage"] == "export"]
        kept: dict[str, str] | None = exports[-1]["placements"] if exports else None
        return kept or {}

    @property
    def imported(self) -> str | None:
        """The name of the folder that was imported, if one was."""
        for manifest in self.stages:
            if manifest["stage"] == "import":
                return Path(next(iter(manifest["inputs"].values()))).name
        return None

    @property
    def trains_infilling(self) -> bool:
        """Whether any stage trained on fill-in-the-middle."""
        return any(manifest["config"].get("data", {}).get("fim_rate") for manifest in self.stages)


def _collect(stage: Path, found: dict[Path, dict[str, Any]]) -> None:
    """Add a stage and, before it, all that it builds on."""
    if stage in found:
        return
    manifest = read_json(stage / MANIFEST)
    for earlier in _inputs(manifest, stage):
        _collect(earlier, found)
    found[stage] = manifest


def _inputs(manifest: dict[str, Any], stage: Path) -> Iterator[Path]:
    """The stages that a stage read from; a run that was moved is found by the names of its folders."""
    for text in manifest["inputs"].values():
        path = Path(text)
        beside = stage.parent / (path.parent.name if path.name == "model" else path.name)
        for candidate in (path, stage.parent / path.name, beside):
            if (earlier := _stage_folder(candidate)) is not None and earlier != stage:
                yield earlier
                break


def _stage_folder(path: Path) -> Path | None:
    """The stage that a folder, its model/ or a file in either belongs to."""
    path = path.resolve()
    if path.is_file():
        path = path.parent
    owners = (path, path.parent) if path.name == "model" else (path,)
    return next((owner for owner in owners if (owner / MANIFEST).is_file()), None)


def _measured(stage: Path) -> dict[str, Path]:
    """The stages that measured a stage's weights, by name: those beside it come first."""
    found: dict[str, Path] = {}
    manifest = read_json(stage / MANIFEST)
    if manifest["stage"] in _COPYING:
        for earlier in _inputs(manifest, stage):
            found |= _measured(earlier)
    for path in sorted(stage.parent.glob(f"*/{MANIFEST}")):
        other = read_json(path)
        if other["stage"] in _MEASURING and stage in _inputs(other, path.parent):
            found[other["stage"]] = path.parent
    return found
