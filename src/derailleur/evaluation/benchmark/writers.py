"""Whom problems are put to: presets of a model folder, models of a server, a file of completions."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur.engine import Engine, EngineConfig
from derailleur.errors import UserError
from derailleur.evaluation.benchmark.run import Writer
from derailleur.evaluation.benchmark.sets import ProblemSet
from derailleur.evaluation.generation.completions import CompletionsFile
from derailleur.evaluation.generation.engine import EngineSource
from derailleur.evaluation.generation.http import Server, ServerConfig
from derailleur.evaluation.generation.remote import ServerSource, served_model, served_presets
from derailleur.io import file_sha256
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.tokens import Tokenizer

log = logging.getLogger(__name__)

_WEIGHED = ("config.json", "tokenizer.json", "*.safetensors")


@dataclass(frozen=True)
class Writers:
    """Whom problems are put to.

    Attributes:
        described: which model it is, for the results.
        num_samples: completions that there are of each problem; None where they are yet to be generated.
    """

    writers: Sequence[Writer]
    described: Mapping[str, Any]
    num_samples: int | None = None


def folder_writers(folder: Path, config: EngineConfig, presets: Sequence[str]) -> Writers:
    """Presets or placements of a checkpoint in this process; all its presets if none is named."""
    tokenizer = Tokenizer.load(folder)
    engine = Engine(folder, tokenizer, config)
    known = load_presets(folder, full=engine.decoder.full_placement)
    return engine_writers(folder, engine, {name: known.resolve(name) for name in presets or known})


def engine_writers(folder: Path, engine: Engine, placements: Mapping[str, Placement]) -> Writers:
    """Placements of a loaded checkpoint."""
    tokenizer = Tokenizer.load(folder)
    writers = [Writer(n, str(p), EngineSource(engine, tokenizer, p)) for n, p in placements.items()]
    # What decides what is written: two results of different weights never look alike.
    files = itertools.chain.from_iterable(sorted(folder.glob(pattern)) for pattern in _WEIGHED)
    return Writers(writers, {"folder": str(folder), "sha256": {f.name: file_sha256(f) for f in files}})


def server_writers(config: ServerConfig, presets: Sequence[str]) -> Writers:
    """Presets of our own server, all if none is named; of any other server one model."""
    server = Server(config)
    name = config.model_name or served_model(server)
    known = served_presets(server) if "@" not in name else {}
    writers = [
        Writer(preset, known.get(preset), ServerSource(server, f"{name}@{preset}"))
        for preset in dict.fromkeys(presets or known)
    ]
    described = {"url": server.url, "name": name}
    return Writers(writers or [Writer(name, None, ServerSource(server, name))], described)


def file_writers(path: Path, sets: Sequence[ProblemSet]) -> Writers:
    """The completions of a file, under its name."""
    if len(sets) > 1:
        raise UserError(f"{path}: a file of completions goes with one set of problems, got {len(sets)}")
    found = CompletionsFile.read(path, sets[0].problems)
    if unused := found.num_unused:
        log.warning(
            "%s: %d completions are not used: some problems have but %d", path, unused, found.num_samples
        )
    writer = Writer(path.name.partition(".")[0], None, found)
    return Writers([writer], {"completions": str(path), "sha256": file_sha256(path)}, found.num_samples)
