"""Stage `evaluate`: every preset of a model on the same held-out files.

scores.jsonl   rows {"preset", "placement", "metric", "value", ...}, in the order in which they were measured
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from derailleur.config import Config
from derailleur.engine import Engine, EngineConfig
from derailleur.errors import DataError, UserError
from derailleur.evaluation.benchmark.judging import Judging
from derailleur.evaluation.benchmark.sets import read_sets
from derailleur.evaluation.benchmark.settings import BenchmarkConfig
from derailleur.evaluation.benchmark.stage import benchmark
from derailleur.evaluation.benchmark.writers import engine_writers
from derailleur.evaluation.heldout import compress, read_heldout
from derailleur.evaluation.infilling import InfillingConfig, choose_problems, score_infilling
from derailleur.evaluation.loss import LossConfig, LossScore, score_loss
from derailleur.evaluation.recall import RecallScore, RecallScorer
from derailleur.evaluation.recall_places import Place, RecallConfig, choose_places
from derailleur.evaluation.results import collect_results
from derailleur.evaluation.scores import (
    ANCHORS,
    BITS_PER_BYTE,
    DECODE_SPEED,
    IDENTIFIER_RECALL,
    INFILLING_EXACT_MATCH,
    NEXT_TOKEN_ACCURACY,
    RECALL_GAIN,
    ScoreFile,
)
from derailleur.evaluation.speed import SpeedConfig
from derailleur.io import Progress, silent
from derailleur.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.tokens import Tokenizer
from derailleur.tokens.documents import Document

VERSION = 3

log = logging.getLogger(__name__)


class Task(StrEnum):
    """What can be evaluated, in the order in which it is."""

    SPEED = "speed"
    LOSS = "loss"
    INFILL = "infill"
    RECALL = "recall"
    PROBLEMS = "problems"


class EvaluateConfig(Config):
    """Configuration of stage `evaluate`."""

    tasks: tuple[Task, ...] = Field(
        tuple(Task), min_length=1, description="any of speed, loss, infill, recall, problems"
    )
    presets: tuple[str, ...] = Field(
        (), description="names of presets, or placements in any spelling; every preset if empty"
    )
    max_bytes: int = Field(1_000_000, gt=0, description="held-out files chosen for all but speed, bytes")
    loss: LossConfig = Field(LossConfig(), description="bits per byte, next-token accuracy")
    infilling: InfillingConfig = Field(InfillingConfig(), description="infilling by kind of hole")
    recall: RecallConfig = Field(RecallConfig(), description="identifier recall over distance")
    speed: SpeedConfig = Field(SpeedConfig(), description="decode speed")
    benchmark: BenchmarkConfig = Field(BenchmarkConfig(), description="problem files; none if not named")
    engine: EngineConfig = Field(
        # No prompt is asked twice: what it leaves behind would only take memory.
        EngineConfig(prefix_cache=False),
        description="the engine that decodes",
    )
    seed: int = Field(0, ge=0, description="of the choice of held-out files, lines and names")

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that none depends on what others drew."""
        return np.random.default_rng([self.seed, *purpose.encode()])


@dataclass(frozen=True)
class _Bench:
    """What the tasks share."""

    config: EvaluateConfig
    engine: Engine
    tokenizer: Tokenizer
    placements: Mapping[str, Placement]
    documents: Sequence[Document]
    scores: ScoreFile
    progress: Progress

    @property
    def trained_context(self) -> int:
        return self.engine.decoder.config.max_positions

    @property
    def device(self) -> torch.device:
        return self.engine.decoder.embed.weight.device

    def append(self, preset: str, metric: str, value: float, **details: Any) -> None:
        placement = str(self.placements[preset])
        row = {"preset": preset, "placement": placement, "metric": metric, "value": value}
        self.scores.append(row | details)


def evaluate(
    config: EvaluateConfig, model: Path, corpus: Path | None, out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Score every preset of a model; what scores.jsonl holds already is not measured again.

    Args:
        model: a checkpoint folder; without presets.json all-FA alone is evaluated.
        corpus: the folder of stage curate, or any Parquet and JSONL files with a `content` column; only
            rows of split `heldout` count where there is a split. None if only speed is measured.

    Returns:
        The scores and the retention of each preset, the anchors, and what they were computed on.

    Raises:
        DataError: if there is no held-out text.
        CheckpointError: if the model cannot be loaded, or cannot infill.
        CapacityError: if the engine's memory does not hold a regime.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.load(model)
    engine = Engine(model, tokenizer, config.engine)
    presets = load_presets(model, full=engine.decoder.full_placement)
    placements = {name: presets.resolve(name) for name in config.presets or presets}
    documents = _documents(config, corpus)
    scores = ScoreFile(out / "scores.jsonl")
    bench = _Bench(config, engine, tokenizer, placements, documents, scores, progress)
    for task, measure in _TASKS.items():
        if task in config.tasks:
            measure(bench)
    problems = _problems(bench, model, out) if Task.PROBLEMS in config.tasks else None
    return collect_results(scores, placements, documents) | {"problems": problems}


def _documents(config: EvaluateConfig, corpus: Path | None) -> list[Document]:
    if set(config.tasks) <= {Task.SPEED, Task.PROBLEMS}:
        return []
    if corpus is None:
        raise UserError(
            "all tasks but speed need --corpus: a curate folder, or Parquet or JSONL with 'content'"
        )
    return read_heldout(corpus, max_bytes=config.max_bytes, rng=config.rng("files"))


def _problems(bench: _Bench, model: Path, out: Path) -> dict[str, Any] | None:
    """Problem files put to every preset; None where no file is named."""
    settings = bench.config.benchmark
    if not settings.problems:
        return None
    judging = Judging.in_sandbox(settings.limits)
    writers = engine_writers(model, bench.engine, bench.placements)
    sets = read_sets(settings.problems)
    return benchmark(settings, sets, writers, judging, out / "problems", progress=bench.progress)


def _speed(bench: _Bench) -> None:
    """Regime by regime, so that what disturbs the machine for a while disturbs all presets alike."""
    settings = bench.config.speed
    wanted = [(regime, preset) for regime in settings.regimes for preset in bench.placements]
    for done, (regime, preset) in enumerate(wanted):
        bench.progress(
            "decode speed", done, len(wanted), f"{regime.batch} x {regime.context_tokens} {preset}"
        )
        if bench.scores.find(preset, DECODE_SPEED, regime):
            continue
        speed = bench.engine.decode_speed(
            bench.placements[preset],
            regime.batch,
            regime.context_tokens,
            steps=settings.steps,
            warmup=settings.warmup,
        )
        bench.append(
            preset,
            DECODE_SPEED,
            speed.tokens_per_second,
            batch=regime.batch,
            context_tokens=regime.context_tokens,
            seconds_per_step=speed.seconds_per_step,
            speed_only=regime.context_tokens > bench.trained_context,
        )
    bench.progress("decode speed", len(wanted), len(wanted))


def _loss(bench: _Bench) -> None:
    if any(bench.scores.find(None, anchor) is None for anchor in ANCHORS):
        for anchor, bits_per_byte in compress(bench.documents).items():
            bench.scores.append({"preset": None, "placement": None, "metric": anchor, "value": bits_per_byte})
    for preset, placement in bench.placements.items():
        if bench.scores.find(preset, NEXT_TOKEN_ACCURACY):
            continue
        scores = _loss_by_language(bench, preset, placement)
        score = sum(scores.values(), LossScore())
        size = {"tokens": score.num_tokens, "bytes": score.num_bytes}
        languages = {name: own.row() for name, own in scores.items() if name}
        bench.append(preset, BITS_PER_BYTE, score.bits_per_byte, nats=score.nats, **size, languages=languages)
        bench.append(preset, NEXT_TOKEN_ACCURACY, score.next_token_accuracy, **size)


def _loss_by_language(bench: _Bench, preset: str, placement: Placement) -> dict[str, LossScore]:
    """The score of the files of each language; '' where the corpus names none."""
    return {
        language: score_loss(
            bench.engine.decoder,
            bench.tokenizer,
            [document for document in bench.documents if document.language == language],
            placement,
            bench.config.loss,
            context=bench.trained_context,
            device=bench.device,
            progress=_labelled(bench.progress, f"loss {preset} {language}".rstrip()),
        )
        for language in sorted({document.language for document in bench.documents})
    }


def _infill(bench: _Bench) -> None:
    if bench.tokenizer.fim is None and len(bench.config.tasks) > 1:
        log.warning("evaluate: infilling is left out; the tokenizer has no fill-in-the-middle tokens")
        return
    settings = bench.config.infilling
    for cut in settings.cuts:
        rng = bench.config.rng("lines")
        problems = choose_problems(bench.documents, cut, settings.num_problems, rng)
        for preset, placement in bench.placements.items():
            if bench.scores.find(preset, INFILLING_EXACT_MATCH, cut):
                continue
            score = score_infilling(
                bench.engine,
                bench.tokenizer,
                problems,
                placement,
                max_tokens=settings.longest_answer(cut),
                within_line=cut.within_line,
                progress=_labelled(bench.progress, f"infill {cut} {preset}"),
            )
            bench.append(
                preset,
                INFILLING_EXACT_MATCH,
                score.exact_match,
                cut=cut,
                problems=score.num_problems,
                interval=list(score.interval),
                edit_similarity=score.edit_similarity,
            )


def _recall(bench: _Bench) -> None:
    settings = bench.config.recall
    if settings.max_context:
        bench.engine.decoder.check_positions(settings.max_context)
    try:
        places = choose_places(
            bench.documents, bench.tokenizer, settings, bench.trained_context, bench.config.rng("names")
        )
    except DataError as error:
        if len(bench.config.tasks) == 1:
            raise
        log.warning("evaluate: identifier recall is left out; %s", error)
        return
    scorer = RecallScorer(
        bench.engine.decoder, bench.tokenizer, batch_tokens=settings.batch_tokens, device=bench.device
    )
    for preset, placement in bench.placements.items():
        if bench.scores.find(preset, RECALL_GAIN):
            continue
        score = scorer.score(places, placement, progress=_labelled(bench.progress, f"recall {preset}"))
        buckets = _by_bucket(places, score)
        trained = score.where([not place.bucket.beyond_context for place in places])
        size = {"places": len(trained.answers)}
        bench.append(preset, IDENTIFIER_RECALL, trained.exact_match, **size, buckets=buckets)
        bench.append(preset, RECALL_GAIN, trained.gain_nats, **size)


def _by_bucket(places: Sequence[Place], score: RecallScore) -> list[dict[str, Any]]:
    rows = []
    for bucket in dict.fromkeys(place.bucket for place in places):
        own = score.where([place.bucket == bucket for place in places])
        rows.append(asdict(bucket) | own.row())
    return rows


_TASKS: dict[Task, Callable[[_Bench], None]] = {
    Task.SPEED: _speed,
    Task.LOSS: _loss,
    Task.INFILL: _infill,
    Task.RECALL: _recall,
}


def _labelled(progress: Progress, name: str) -> Progress:
    """The progress under a name that tells the presets apart."""

    def show(label: str, done: float, total: float | None, note: str = "") -> None:
        progress(name, done, total, note)

    return show
