"""From judged samples to scores: pass@k and exact match by preset and set, with intervals and retention."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from derailleur.evaluation.benchmark.run import Sampled, Writer
from derailleur.evaluation.benchmark.samples import Sample
from derailleur.evaluation.benchmark.sets import ProblemSet
from derailleur.evaluation.benchmark.settings import Plan
from derailleur.evaluation.generation.request import Finish
from derailleur.evaluation.passing import bootstrap_interval, pass_at_k
from derailleur.evaluation.problems import Gap, Problem
from derailleur.evaluation.verdicts import Verdict

EXACT_MATCH = "exact_match"

_Samples: TypeAlias = Iterable[Sequence[Sample]]
"""Those of each problem."""

_PARTS: Mapping[str, Callable[[Problem], bool]] = {
    "all": lambda problem: True,
    "code": lambda problem: not problem.is_brace_only,
    "braces": lambda problem: problem.is_brace_only,
}
"""Lines to fill in that are only brackets are nearly free, so they are scored apart."""


def score(
    sets: Sequence[ProblemSet], writers: Sequence[Writer], plan: Plan, sampled: Sampled, *, seed: int
) -> list[dict[str, Any]]:
    """A row for every set and preset.

    A sample on which the sandbox failed counts for nothing, and a problem of which fewer than k others are
    left is left out of pass@k. Both are counted.

    Args:
        seed: of the intervals' draws.
    """
    grouped: dict[tuple[str, str], list[Sample]] = {}
    for sample in sampled.samples:
        grouped.setdefault((sample.key.set, sample.key.preset), []).append(sample)
    rows = [
        {
            "set": problem_set.name,
            "languages": problem_set.languages,
            "preset": writer.name,
            "placement": writer.placement,
            "tokens_per_second": sampled.speeds[writer.name, problem_set.name],
            "scores": list(_scores(grouped[problem_set.name, writer.name], plan, problem_set.gap, seed)),
            "counts": _counts(grouped[problem_set.name, writer.name]),
        }
        for problem_set in sets
        for writer in writers
    ]
    _add_retention(rows)
    return rows


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    """Samples by verdict; of all, those that reached the longest length, and those with no room for any."""
    verdicts = Counter(sample.judgement.verdict for sample in samples if sample.judgement)
    ends = Counter(sample.completion.finish for sample in samples)
    counts = {verdict.value: verdicts[verdict] for verdict in Verdict}
    return counts | {"prompt_too_long": ends[Finish.TOO_LONG], "cut_at_max_tokens": ends[Finish.LENGTH]}


def _scores(samples: Sequence[Sample], plan: Plan, gap: Gap, seed: int) -> Iterator[dict[str, Any]]:
    for part, has in _PARTS.items():
        own = [sample for sample in samples if has(sample.request.problem)]
        if not own or (part != "all" and gap is not Gap.LINE):
            continue
        for metric, temperature, measure in _metrics(plan, gap):
            by_problem: dict[str, list[Sample]] = {}
            for sample in own:
                if sample.key.temperature == temperature:
                    by_problem.setdefault(sample.key.id, []).append(sample)
            values = measure(by_problem.values())
            yield {
                "metric": metric,
                "rows": part,
                "temperature": temperature,
                "value": sum(values) / len(values) if values else None,
                "interval": list(bootstrap_interval(values, seed=seed)) if values else None,
                "num_problems": len(values),
                "num_left_out": len(by_problem) - len(values),
            }


def _metrics(plan: Plan, gap: Gap) -> Iterator[tuple[str, float | None, Callable[[_Samples], list[float]]]]:
    """Exact match where there is something to fill in, at the first temperature; then every pass@k."""
    if gap is not Gap.END:
        yield EXACT_MATCH, next(iter(plan)), _matches
    for temperature, ks in plan.items():
        for k in ks:
            yield f"pass@{k}", temperature, functools.partial(_passes, k=k)


def _passes(samples: _Samples, *, k: int) -> list[float]:
    judged = ([sample.passed for sample in own if sample.passed is not None] for own in samples)
    return [pass_at_k(len(passed), sum(passed), k) for passed in judged if len(passed) >= k]


def _matches(samples: _Samples) -> list[float]:
    return [sum(sample.is_exact for sample in own) / len(own) for own in samples]


def _add_retention(rows: Sequence[dict[str, Any]]) -> None:
    """Each score over that of all-FA on the same set; None where there is none, or it is 0."""

    def name(row: dict[str, Any], score: dict[str, Any]) -> tuple[str, str, str]:
        return row["set"], score["metric"], score["rows"]

    is_full = [row for row in rows if row["placement"] and set(row["placement"]) == {"F"}]
    full = {name(row, score): score["value"] for row in is_full for score in row["scores"]}
    for row in rows:
        for score in row["scores"]:
            whole, own = full.get(name(row, score)), score["value"]
            score["retention"] = own / whole if whole and own is not None else None
