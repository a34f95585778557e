"""Run folders: one sub-folder a stage, a manifest that says it is done, and resume.

A stage is done when its `manifest.json` is there and its fingerprint still matches: configuration,
inputs' fingerprints, and the stage's own integer version. An unfinished stage keeps its partial files,
so that it resumes; a stage whose fingerprint changed is moved aside, never deleted.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from derailleur import __version__
from derailleur.config import Config
from derailleur.errors import DataError
from derailleur.io import read_json, write_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_STARTED = "stage.json"


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: the command and the sub-folder.
        version: raised when the stage's output changes for the same configuration.
        config: the resolved configuration, written into the manifest.
        inputs: folders of earlier stages (or any folder or file) by role.
        fingerprints: by role, for inputs of which the stage reads but a part; else every file counts.
        work: called with the output folder; returns the results for the manifest. Must resume from
            whatever an earlier, killed call left in the folder.
    """

    name: str
    version: int
    config: Config
    inputs: Mapping[str, Path]
    work: Callable[[Path], Mapping[str, Any]]
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def fingerprint(stage: Stage) -> str:
    """SHA-256 over what decides a stage's output: its version, configuration and inputs."""
    parts = {
        "stage": stage.name,
        "version": stage.version,
        # A path that is an input counts by what is there, not by how it is spelt.
        "config": {k: v for k, v in stage.config.model_dump(mode="json").items() if k not in stage.inputs},
        "inputs": {
            role: stage.fingerprints.get(role) or input_fingerprint(path)
            for role, path in sorted(stage.inputs.items())
        },
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def input_fingerprint(path: Path) -> str:
    """What a stage was asked for and what came out, or a digest of names, sizes and times of foreign files.

    Results count because some are measured: a stage that is done anew need not give the same again.

    Raises:
        DataError: if `path` does not exist.
    """
    manifest = path / MANIFEST
    if manifest.is_file():
        done = read_json(manifest)
        results = json.dumps(done.get("results"), sort_keys=True).encode()
        return f"{done['fingerprint']}-{hashlib.sha256(results).hexdigest()}"
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if (path / "config.json").is_file():  # a checkpoint's card says what it is and changes nothing
        files = [file for file in files if file.name != "README.md"]
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        name = file.relative_to(path) if file != path else file.name
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a finished stage's manifest.

    Raises:
        DataError: if the stage did not finish.
    """
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: no {MANIFEST}; expected the folder of a finished stage")
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    return manifest


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold a stage's folder, so that two calls never write into it at once.

    Raises:
        DataError: if another call holds it.
    """
    place = out.resolve()  # `.` has no name, and a link must not be a second folder
    place.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which may be moved aside.
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{out}: another call is writing here") from None
        yield


def claim(stage: Stage, out: Path) -> dict[str, Any] | None:
    """Make `out` this stage's folder; returns its manifest if the stage is already done there.

    Raises:
        DataError: if `out` holds files that this stage did not write, or one of the stage's inputs.
    """
    for path in stage.inputs.values():
        if path.resolve().is_relative_to(out.resolve()):
            raise DataError(f"{out}: {stage.name} reads {path}, which lies there; give another --out")
    current = fingerprint(stage)
    started = out / _STARTED
    for unborn in out.glob(f".{_STARTED}.tmp-*"):  # a call killed before it began
        unborn.unlink()
    if out.is_dir() and any(out.iterdir()):
        if not started.is_file():
            raise DataError(f"{out}: not empty and not written by {stage.name}; give another --out")
        if (other := read_json(started)["stage"]) != stage.name:
            raise DataError(f"{out}: holds the result of {other}, not of {stage.name}; give another --out")
        if read_json(started)["fingerprint"] != current:
            _change_places(stage.name, out, current)
        if (out / MANIFEST).is_file():
            log.info("%s: done before", stage.name)
            return read_manifest(out)
    for left_over in out.rglob(".*.tmp-*"):  # half-written files of a killed call
        left_over.unlink(missing_ok=True)  # a worker of that call may be ending just now
    write_json(started, {"stage": stage.name, "fingerprint": current})
    return None


def _change_places(name: str, out: Path, current: str) -> None:
    """Keep what is in `out` under another name, and bring back what was once made for `current`."""
    old = read_json(out / _STARTED)["fingerprint"]
    aside = out.with_name(f"{out.name}.previous-{old[:12]}")
    log.warning("%s: configuration or input changed; the old result is kept in %s", name, aside)
    out.rename(aside)
    again = out.with_name(f"{out.name}.previous-{current[:12]}")
    if again.is_dir():
        again.rename(out)


def execute(stage: Stage, out: Path) -> dict[str, Any]:
    """Run a stage into `out` unless it is already done there; returns its manifest.

    Raises:
        DataError: if `out` holds files that no stage of ours wrote, or another call is writing there.
    """
    out = out.resolve()  # a folder that is moved aside takes `.` along
    with alone(out):
        return claim(stage, out) or _work(stage, out)


def _machine() -> str:
    """The processor, and how many of its cores there are: measured speeds are those of this machine."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere the architecture must do
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _work(stage: Stage, out: Path) -> dict[str, Any]:
    begin = time.monotonic()
    results = stage.work(out)
    manifest = {
        "stage": stage.name,
        "version": stage.version,
        "fingerprint": read_json(out / _STARTED)["fingerprint"],
        "config": stage.config.model_dump(mode="json"),
        "inputs": {role: str(path) for role, path in stage.inputs.items()},
        "results": dict(results),
        "derailleur": __version__,
        "python": sys.version.split()[0],
        "machine": _machine(),
        "seconds": round(time.monotonic() - begin, 3),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    write_json(out / MANIFEST, manifest)
    return manifest
