"""`evaluate multipl-e` and `evaluate infill --problems`: a benchmark from end to end.

completions.jsonl   a line a completion, as they are generated
samples.jsonl       a line a sample with its verdict
harnesses/          the same in the layouts of other harnesses
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur.config import validate
from derailleur.engine import EngineConfig
from derailleur.errors import ConfigError, UserError
from derailleur.evaluation.benchmark.judging import Judging
from derailleur.evaluation.benchmark.layouts import write_layouts
from derailleur.evaluation.benchmark.run import run_benchmark
from derailleur.evaluation.benchmark.samples import SAMPLES
from derailleur.evaluation.benchmark.scoring import score
from derailleur.evaluation.benchmark.sets import ProblemSet
from derailleur.evaluation.benchmark.settings import BenchmarkConfig
from derailleur.evaluation.benchmark.toolchains import toolchains
from derailleur.evaluation.benchmark.writers import Writers, file_writers, folder_writers, server_writers
from derailleur.evaluation.generation.http import ServerConfig
from derailleur.io import Progress, silent

VERSION = 1


class ModelBenchmarkConfig(BenchmarkConfig):
    """A benchmark of the presets of a model."""

    presets: tuple[str, ...] = Field((), description="presets, or placements; every preset if empty")
    engine: EngineConfig = Field(EngineConfig(), description="the engine that generates")
    server: ServerConfig = Field(ServerConfig(), description="the server that generates in its place")


def open_writers(config: ModelBenchmarkConfig, model: Path | None, sets: Sequence[ProblemSet]) -> Writers:
    """Whom problems are put to.

    Args:
        model: a checkpoint folder, or a file of completions; None for the server of `config`.
    """
    if model is None:
        return server_writers(config.server, config.presets)
    if model.is_file():
        if config.presets:
            raise UserError(f"{model}: a file of completions has no presets, got '{config.presets[0]}'")
        return file_writers(model, sets)
    return folder_writers(model, config.engine, config.presets)


def benchmark(
    config: BenchmarkConfig,
    sets: Sequence[ProblemSet],
    writers: Writers,
    judging: Judging,
    out: Path,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Put sets of problems to writers; what was generated before is not generated again.

    Returns:
        The settings, what was asked, and a row of scores for each preset and set.
    """
    plan = config.plan
    if writers.num_samples is not None:
        asked = config.num_samples or writers.num_samples
        if asked > writers.num_samples:
            raise ConfigError(f"num_samples: {asked} asked for, there are {writers.num_samples} of a problem")
        config = validate(type(config), config.model_dump() | {"num_samples": asked})
        plan = {None: config.k}  # whoever generated them knows the temperature
    with judging.pool(out / SAMPLES) as pool:
        sampled = run_benchmark(config, plan, sets, writers.writers, pool, out, progress=progress)
    rows = score(sets, writers.writers, plan, sampled, seed=config.seed)
    write_layouts(out / "harnesses", config, sampled.samples, rows)
    return {
        "model": dict(writers.described),
        "sets": [_described(problem_set, config) for problem_set in sets],
        "settings": {
            "num_samples": config.samples,
            "runs": [{"temperature": temperature, "k": list(ks)} for temperature, ks in plan.items()],
            "top_p": config.top_p,
            "seed": config.seed,
            "limits": config.limits.model_dump(mode="json"),
            "judge": judging.setting,
            "back_end": judging.back_end,
            "toolchains": toolchains({language for s in sets for language in s.languages}),
        },
        "presets": rows,
    }


def _described(problem_set: ProblemSet, config: BenchmarkConfig) -> dict[str, Any]:
    problems = problem_set.problems
    return {
        "name": problem_set.name,
        "sha256": problem_set.sha256,
        "num_problems": len(problems),
        "languages": problem_set.languages,
        "gap": problem_set.gap,
        "stops": sorted({stop for problem in problems for stop in problem.stop}),
        "max_tokens": config.longest(problem_set.gap),
    }
