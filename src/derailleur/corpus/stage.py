"""The `curate` stage: sources -> Parquet documents, with a ledger row for every file seen.

plan -> read -> judge -> rank -> sketch, join, resolve -> finish. What goes on inside a step stands in
`tasks/`; here is their order, who runs them, and how a killed run goes on.
"""

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from derailleur import __version__
from derailleur.corpus.data_card import CARD, data_card
from derailleur.corpus.database_errors import plain_errors
from derailleur.corpus.decontamination import Decontaminator
from derailleur.corpus.filters import Filters
from derailleur.corpus.licences import OptOut
from derailleur.corpus.metadata import RepositoryMetadata
from derailleur.corpus.near_dedup import num_partitions
from derailleur.corpus.pii.review import read_findings, write_review
from derailleur.corpus.sources import Source
from derailleur.corpus.summary import CHECKSUMS, summarise
from derailleur.corpus.tasks.finish import EXAMPLES, finish_shard
from derailleur.corpus.tasks.judge import collect_licences, judge_shard
from derailleur.corpus.tasks.near import join_keys, resolve_duplicates, sketch_texts
from derailleur.corpus.tasks.rank import rank_shards
from derailleur.corpus.tasks.read import read_shard
from derailleur.corpus.tasks.substrings import (
    find_passages,
    fingerprint_texts,
    match_fingerprints,
    num_match_partitions,
    sum_up_repeats,
)
from derailleur.corpus.workers import Workers, start_workers
from derailleur.corpus.workspace import CurateConfig, Task, Workspace, plan
from derailleur.errors import DerailleurError
from derailleur.io import Progress, file_sha256, read_json, silent, write_json, write_text

VERSION = 4

RESULTS = "results.json"
REVIEW = "review.html"


@plain_errors()
def curate(
    config: CurateConfig,
    sources: Sequence[Source],
    out: Path,
    *,
    progress: Progress = silent,
    workers: int | None = None,
    ray_address: str | None = None,
    max_bad: float | None = None,
) -> dict[str, Any]:
    """Turn sources into training documents in `out`.

    The result depends on the configuration and the sources alone: not on their order, nor on who does the
    work. A killed call goes on at the tasks that were under way when it is made again.

    Args:
        sources: as `open_sources` gives them.
        workers: processes; None takes the cores that this process may use.
        ray_address: runs the tasks on a Ray cluster that shares the file system of `out`.
        max_bad: most files that may be quarantined; a share of all where it is under 1.

    Returns:
        Counts for the manifest.

    Raises:
        DataError: if there are no files, or a benchmark or a list cannot be read.
        DerailleurError: if a task cannot be done, or more than `max_bad` files had to be quarantined.
    """
    if not (out / RESULTS).is_file():
        check_inputs(config)
        workspace = Workspace(out.resolve(), config)
        with contextlib.closing(start_workers(count=workers, ray_address=ray_address)) as started:
            results = _Run(workspace, started, progress).results(sources)
        write_card(workspace, results)
        if config.review:
            write_examples(workspace, results)
        for half_written in out.glob(".*.tmp-*"):  # by workers that were killed
            half_written.unlink()
        write_json(out / RESULTS, results)
    results = read_json(out / RESULTS)
    _check(results, max_bad)
    shutil.rmtree(out / ".scratch", ignore_errors=True)
    return results


def stage_inputs(config: CurateConfig, sources: Sequence[Source]) -> tuple[dict[str, Path], dict[str, str]]:
    """What a run reads, by role, and the fingerprints of the sources: they are not read whole for it."""
    policy, recognizer = config.licences.policy, config.pii.recognizer
    files: dict[str, Path | None] = {
        "repositories": config.repositories,
        "policy": None if policy in ("record", "permissive") else Path(policy),
        "tokenizer": config.filters.fertility.tokenizer,
        "recognizer": None if recognizer is None else recognizer.model,
    }
    files |= {f"opt_out-{number}": path for number, path in enumerate(config.opt_out)}
    files |= {
        f"benchmark-{number}": benchmark.path
        for number, benchmark in enumerate(config.decontamination.benchmarks)
    }
    # A folder may be called like a field of the configuration, which is left out where it is an input.
    paths = {f"source {source.name}": source.path for source in sources}
    paths |= {role: path for role, path in files.items() if path is not None}
    return paths, {f"source {source.name}": source.fingerprint() for source in sources}


def check_inputs(config: CurateConfig) -> None:
    """Open what the tasks will need, so that what is wrong with it is told before the work.

    Raises:
        UserError: naming the file.
    """
    config.licences.load()
    OptOut.load(config.opt_out)
    if config.repositories is not None:
        RepositoryMetadata(config.repositories)
    Filters(config.filters)
    Decontaminator.load(config.decontamination)


def write_card(workspace: Workspace, results: Mapping[str, Any]) -> None:
    """Write the data card of a finished run."""
    text = data_card(
        workspace.config,
        results,
        checksums=file_sha256(workspace.out / CHECKSUMS),
        version=__version__,
    )
    write_text(workspace.out / CARD, text)


def write_examples(workspace: Workspace, results: Mapping[str, Any]) -> None:
    """Write the page that shows a sample of what was redacted."""
    samples = workspace.paths("finish", workspace.num_shards, EXAMPLES)
    write_review(
        (finding for path in samples for finding in read_findings(path)),
        workspace.out / REVIEW,
        examples_per_tag=workspace.config.review,
        counts=results["pii"],
    )


@dataclass(frozen=True)
class _Run:
    workspace: Workspace
    workers: Workers
    progress: Progress

    def results(self, sources: Sequence[Source]) -> dict[str, Any]:
        """Do whatever is not done yet."""
        self.progress("plan", 0, 1)
        plan(self.workspace, sources)
        num_shards = self.workspace.num_shards
        self.phase("read", read_shard, num_shards)
        self.once("licences", collect_licences)
        self.phase("judge", judge_shard, num_shards)
        num_documents = self.once("rank", rank_shards)["documents"]
        self.phase("sketch", sketch_texts, num_shards)
        self.phase("join", join_keys, num_partitions(num_documents, self.workspace.config.near_dedup))
        near = self.once("resolve", resolve_duplicates)
        finished = self.phase("finish", finish_shard, num_shards)
        repeats = self.repeats(num_shards) if self.workspace.config.substrings.enabled else {}
        return summarise(self.workspace, finished, near) | {"repeats": repeats}

    def repeats(self, num_shards: int) -> dict[str, Any]:
        """What the kept documents repeat verbatim; nothing is removed for it."""
        self.phase("fingerprint", fingerprint_texts, num_shards)
        self.phase("match", match_fingerprints, num_match_partitions(self.workspace))
        self.phase("passages", find_passages, num_shards)
        return self.once("repeats", sum_up_repeats)

    def once(self, kind: str, function: Callable[[Task], Mapping[str, Any]]) -> dict[str, Any]:
        """Do a task that there is one of, in this process."""
        task = Task(self.workspace, kind, 0)
        if not task.done.is_file():
            self.progress(kind, 0, 1)
            _do(function, task)
        self.progress(kind, 1, 1)
        counts: dict[str, Any] = read_json(task.done)
        return counts

    def phase(
        self, kind: str, function: Callable[[Task], Mapping[str, Any]], count: int
    ) -> list[dict[str, Any]]:
        """Do a task for every shard or partition, except where that was done before; returns their counts."""
        tasks = [Task(self.workspace, kind, number) for number in range(count)]
        missing = [task for task in tasks if not task.done.is_file()]
        done = count - len(missing)
        self.progress(kind, done, count)
        for _ in self.workers.map(partial(_do, function), missing):
            done += 1
            self.progress(kind, done, count)
        return [read_json(task.done) for task in tasks]


@plain_errors()
def _do(function: Callable[[Task], Mapping[str, Any]], task: Task) -> None:
    write_json(task.done, dict(function(task)))


def _check(results: Mapping[str, Any], max_bad: float | None) -> None:
    bad, seen = sum(results["quarantined"].values()), results["files_seen"]
    most = seen if max_bad is None else max_bad * seen if max_bad < 1 else max_bad
    if bad > most:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in results["quarantined"].items())
        raise DerailleurError(
            f"{bad:,} of {seen:,} files had to be quarantined ({reasons}), more than --max-bad {max_bad:g} "
            "allows; all is written, and the same command with a higher bound ends at once"
        )
