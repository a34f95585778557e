"""Puts sets of problems to presets: generation and judging overlap, and what was generated is not again.

The sources write in this thread, the pool judges in its own: while the next completions are generated, the
programs of those before run in sandboxes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from derailleur.evaluation.benchmark.samples import (
    COMPLETIONS,
    SAMPLES,
    CompletionsJournal,
    Key,
    Sample,
    write_samples,
)
from derailleur.evaluation.benchmark.sets import ProblemSet
from derailleur.evaluation.benchmark.settings import BenchmarkConfig, Plan
from derailleur.evaluation.generation.request import Completion, SampleRequest, Source, sample_seed
from derailleur.evaluation.programs.pool import Pool
from derailleur.io import Progress, silent


@dataclass(frozen=True)
class Writer:
    """What is scored: a preset of a model, a model of a server, a file.

    Attributes:
        placement: one letter a layer, where it is known.
    """

    name: str
    placement: str | None
    source: Source


@dataclass(frozen=True)
class Sampled:
    """What came of every request.

    Attributes:
        samples: with their verdicts, by preset, set, temperature and problem.
        speeds: tokens per second by preset and set; None where nobody counts them.
    """

    samples: Sequence[Sample]
    speeds: Mapping[tuple[str, str], float | None]


def run_benchmark(
    config: BenchmarkConfig,
    plan: Plan,
    sets: Sequence[ProblemSet],
    writers: Sequence[Writer],
    pool: Pool,
    out: Path,
    *,
    progress: Progress = silent,
) -> Sampled:
    """Generate and judge every sample; writes completions.jsonl as it goes and samples.jsonl at the end."""
    written: list[Sample] = []
    places: dict[Key, int] = {}
    with CompletionsJournal(out / COMPLETIONS) as journal:
        for writer in writers:
            for problem_set in sets:
                wanted = {_key(writer, problem_set, r): r for r in _requests(config, plan, problem_set)}
                places |= {key: len(places) + place for place, key in enumerate(wanted)}
                for key, completion in _completions(writer, problem_set, wanted, journal, progress):
                    sample = Sample(key, wanted[key], completion)
                    written.append(sample)
                    if sample.is_judged:
                        pool.submit(sample.request.problem.program(sample.completion.text))
        speeds = {(w.name, s.name): journal.speed(w.name, s.name) for w in writers for s in sets}
    judgements = iter(pool.finish(progress))
    samples = [replace(s, judgement=next(judgements)) if s.is_judged else s for s in written]
    samples.sort(key=lambda sample: places[sample.key])  # they came as they were done
    write_samples(out / SAMPLES, samples)
    return Sampled(samples, speeds)


def _requests(config: BenchmarkConfig, plan: Plan, problem_set: ProblemSet) -> Iterator[SampleRequest]:
    for temperature in plan:
        for problem in problem_set.problems:
            for index in range(config.samples):
                yield SampleRequest(
                    problem=problem,
                    temperature=temperature,
                    top_p=config.top_p,
                    max_tokens=config.longest(problem.gap),
                    index=index,
                    seed=sample_seed(config.seed, problem.id, temperature, index),
                )


def _key(writer: Writer, problem_set: ProblemSet, request: SampleRequest) -> Key:
    return Key(writer.name, problem_set.name, request.problem.id, request.temperature, request.index)


def _completions(
    writer: Writer,
    problem_set: ProblemSet,
    wanted: Mapping[Key, SampleRequest],
    journal: CompletionsJournal,
    progress: Progress,
) -> Iterator[tuple[Key, Completion]]:
    """What the journal has, then what it lacks, as it is generated."""
    for key in wanted:
        if found := journal.find(key):
            yield key, found
    missing = [request for key, request in wanted.items() if journal.find(key) is None]
    answers, done = writer.source.complete(missing), len(wanted) - len(missing)
    begin = time.monotonic()
    for request, completion in answers:
        key = _key(writer, problem_set, request)
        journal.append(key, completion, time.monotonic() - begin)
        done += 1
        progress(f"{problem_set.name} {writer.name}", done, len(wanted))
        yield key, completion
        begin = time.monotonic()
