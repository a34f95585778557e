"""Stage `place`: measure, fit, search, and measure again what was chosen.

speed.jsonl, quality.jsonl   measurements                      (step `measure`)
cost.json, surrogate.json    the models fitted to them         (step `fit`)
frontier.json                the predicted frontier            (step `search`)
confirmed.jsonl              the presets on other held-out text
presets.json                 the presets, predicted and measured
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from derailleur.config import Config
from derailleur.engine import Engine, EngineConfig, load_decoder
from derailleur.errors import CheckpointError
from derailleur.io import Progress, silent, write_json
from derailleur.journal import Journal
from derailleur.model import Decoder, model_folder
from derailleur.placement.cost import CostModel, Regime, fit_cost
from derailleur.placement.design import propose, quality_design, timing_design
from derailleur.placement.measure import (
    HeldoutWindows,
    QualityConfig,
    QualityMeter,
    SpeedConfig,
    SpeedMeter,
    Windows,
)
from derailleur.placement.presets import choose_presets
from derailleur.placement.remeasure import measure_presets, preset_errors
from derailleur.placement.search import FrontierPoint, integer_costs, solve
from derailleur.placement.surrogate import Surrogate, fit_surrogate
from derailleur.tokens import Tokenizer

VERSION = 1

log = logging.getLogger(__name__)


class Step(StrEnum):
    """How far to go; each step does what is missing of those before it."""

    MEASURE = "measure"
    FIT = "fit"
    SEARCH = "search"


class SearchConfig(Config):
    """What the search minimises and what it may choose."""

    batch: int = Field(16, ge=1, description="batch of the regime whose cost drives the search, rows")
    context: int = Field(8192, ge=1, description="context of that regime, tokens")
    resolution: int = Field(100, ge=1, description="integer cost of a full-attention layer")
    min_count: int = Field(1, ge=1, description="a mixer is used in no layer or in at least this many")

    @property
    def regime(self) -> Regime:
        """The regime whose cost drives the search."""
        return Regime(self.batch, self.context)


class PlaceConfig(Config):
    """Configuration of stage `place`."""

    quality: QualityConfig = Field(QualityConfig(), description="measuring quality")
    speed: SpeedConfig = Field(SpeedConfig(), description="measuring speed")
    engine: EngineConfig = Field(EngineConfig(), description="the engine that is timed")
    max_range: int = Field(
        3, ge=0, le=3, description="largest distance of layers that share a surrogate term"
    )
    search: SearchConfig = Field(SearchConfig(), description="the search")
    presets: tuple[str, ...] = Field(
        ("full", "quality", "balanced", "fast"), min_length=1, description="names, from all-FA to the fastest"
    )
    seed: int = Field(0, ge=0, description="of windows, random placements and posterior samples")

    @model_validator(mode="after")
    def _consistent(self) -> "PlaceConfig":
        if self.search.regime not in self.speed.regimes:
            raise ValueError(f"search: {self.search.regime} is not among speed.batches and speed.contexts")
        if len(set(self.presets)) < len(self.presets):
            raise ValueError("presets: a name is there twice")
        return self

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that none depends on what others drew."""
        return np.random.default_rng([self.seed, *purpose.encode()])


@dataclass(frozen=True)
class _Bench:
    """The model, its mixers, and what measures it."""

    config: PlaceConfig
    decoder: Decoder
    quality: QualityMeter
    confirm: QualityMeter
    speed: SpeedMeter

    @property
    def mixers(self) -> str:
        return self.decoder.config.mixers.letters

    @property
    def num_layers(self) -> int:
        return self.decoder.config.num_layers


def place(
    config: PlaceConfig,
    model: Path,
    tokens: Path,
    out: Path,
    *,
    until: Step = Step.SEARCH,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Find the best placements of a supernet for every speed.

    Args:
        model: a supernet's folder, or that of the stage that wrote it.
        tokens: the folder of stage `tokenize`, for its held-out split.
        out: measurements that are there already are not repeated.

    Raises:
        CheckpointError: if the model has no mixers to choose from.
        DataError: if there is too little held-out text.
        CapacityError: if the engine's memory does not hold a regime.
    """
    out.mkdir(parents=True, exist_ok=True)
    bench = _set_up(config, model, tokens, out, progress)
    cost = _measure(bench)
    results: dict[str, Any] = {
        "num_layers": bench.num_layers,
        "mixers": bench.mixers,
        "placements_measured": len(bench.quality.journal.rows),
        "placements_timed": len({row["placement"] for row in bench.speed.journal.rows}),
    }
    if until is Step.MEASURE:
        return results
    surrogate = _fit_surrogate(bench)
    surrogate.save(out)
    cost.save(out)
    results |= {
        "surrogate": asdict(surrogate.report()),
        "regime": {"batch": config.search.batch, "context": config.search.context},
        "cost": [
            {"batch": regime.batch, "context": regime.context, "relative": fitted.relative}
            | {"fit_mape": fitted.fit_error, "heldout_mape": fitted.heldout_error}
            for regime, fitted in cost.regimes.items()
        ],
    }
    if until is Step.FIT:
        return results
    frontier = _search(config, surrogate, cost)
    write_json(out / "frontier.json", _frontier_rows(frontier, surrogate, cost, config.search.regime))
    chosen = choose_presets(frontier, config.presets)
    if len(chosen) < len(config.presets):
        log.warning(
            "place: %d of %d presets (%s): the frontier holds no more placements faster than all-FA",
            len(chosen),
            len(config.presets),
            ", ".join(chosen),
        )
    presets = measure_presets(
        chosen,
        surrogate=surrogate,
        cost=cost,
        regime=config.search.regime,
        quality=bench.quality,
        confirm=bench.confirm,
        speed=bench.speed,
    )
    presets.save(out)
    return results | {
        "placements_measured": len(bench.quality.journal.rows),
        "frontier_placements": len(frontier),
        "unused_preset_names": [name for name in config.presets if name not in chosen],
        "presets": [preset.model_dump(mode="json") for preset in presets.details],
        "preset_errors": preset_errors(presets.details),
    }


def _set_up(config: PlaceConfig, model: Path, tokens: Path, out: Path, progress: Progress) -> _Bench:
    folder = model_folder(model)
    decoder = load_supernet(folder, config.engine)
    engine = Engine(decoder, Tokenizer.load(folder), config.engine)
    windows = HeldoutWindows.draw(
        tokens, config.quality, vocab_size=decoder.config.vocab_size, rng=config.rng("windows")
    )

    def meter(windows: Windows, name: str) -> QualityMeter:
        return QualityMeter(decoder, windows, config.quality, Journal(out / f"{name}.jsonl"), progress)

    return _Bench(
        config,
        decoder,
        quality=meter(windows.search, "quality"),
        confirm=meter(windows.confirm, "confirmed"),
        speed=SpeedMeter(engine, config.speed, Journal(out / "speed.jsonl"), progress),
    )


def load_supernet(folder: Path, engine: EngineConfig) -> Decoder:
    """Load a model that has mixers to choose from.

    Raises:
        CheckpointError: if it is a plain teacher.
    """
    decoder = load_decoder(folder, device=engine.device, dtype=engine.dtype)
    if decoder.config.mixers.letters == "F":
        raise CheckpointError(
            f"{folder}: a teacher with full attention alone; expected a supernet: "
            "run `derailleur distill` first"
        )
    return decoder


def _measure(bench: _Bench) -> CostModel:
    """Time the timing design, then measure quality: the design, then rounds of active learning."""
    config, shape = bench.config, (bench.num_layers, bench.mixers)
    timed = timing_design(*shape, config.speed.num_mixed, config.speed.num_heldout, config.rng("timed"))
    bench.speed.measure(timed, "speed")
    cost = fit_cost(bench.speed.timings("fit"), bench.speed.timings("heldout"))
    design = quality_design(*shape, config.quality.num_random, config.rng("random"))
    bench.quality.measure(design, "quality")
    costs = integer_costs(cost.regimes[config.search.regime].relative, config.search.resolution)
    for number in range(1, config.quality.rounds + 1):
        # Fitted to what came before this round, so that a killed round proposes the same placements again.
        surrogate = _fit_surrogate(bench, num_rounds=number - 1)
        proposals = propose(
            surrogate,
            costs,
            config.quality.round_size,
            config.rng(_origin(number)),
            min_count=config.search.min_count,
        )
        bench.quality.measure(dict.fromkeys(proposals, _origin(number)), f"quality, round {number}")
    return cost


def _origin(number: int) -> str:
    return f"round-{number}"


def _fit_surrogate(bench: _Bench, num_rounds: int | None = None) -> Surrogate:
    rounds = bench.config.quality.rounds if num_rounds is None else num_rounds
    origins = ["uniform", "swap", "random", *map(_origin, range(1, rounds + 1))]
    measured = bench.quality.measured(origins)
    return fit_surrogate(list(measured), list(measured.values()), max_range=bench.config.max_range)


def _search(config: PlaceConfig, surrogate: Surrogate, cost: CostModel) -> list[FrontierPoint]:
    """The predicted frontier, from the cheapest to the best."""
    regime = config.search.regime
    costs = integer_costs(cost.regimes[regime].relative, config.search.resolution)
    table = solve(surrogate.expansion(), costs, min_count=config.search.min_count)
    return [
        FrontierPoint(point.placement, cost.relative_cost(point.placement, regime), point.score)
        for point in table.frontier()
    ]


def _frontier_rows(
    frontier: Sequence[FrontierPoint], surrogate: Surrogate, cost: CostModel, regime: Regime
) -> list[dict[str, Any]]:
    _, stds = surrogate.predict([point.placement for point in frontier])
    return [
        {
            "placement": str(point.placement),
            "cost": point.cost,
            "predicted_quality": point.predicted_quality,
            "predicted_quality_std": float(std),
            "predicted_tokens_per_second": cost.tokens_per_second(point.placement, regime),
        }
        for point, std in zip(frontier, stds, strict=True)
    ]
