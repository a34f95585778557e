"""A file of programs from end to end: judged, resumed, written, counted."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from derailleur.evaluation.programs.cache import Cache
from derailleur.evaluation.programs.key import judgement_key
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.programs.pool import Judge, Pool
from derailleur.evaluation.programs.results import PartialResults, count_verdicts, write_results
from derailleur.evaluation.programs.row import Row
from derailleur.evaluation.verdicts import Verdict
from derailleur.io import Progress, silent


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a file of programs.

    Attributes:
        counts: number of rows by language and verdict.
        num_distinct: programs that differ; each was judged once.
        num_known: of these, known from the cache or from a run that was killed.
        num_retried: of these, timed out at first and tried again alone.
    """

    counts: dict[str, dict[str, int]]
    num_distinct: int
    num_known: int
    num_retried: int

    def total(self, verdict: Verdict) -> int:
        """Rows of all languages with a verdict."""
        return sum(verdicts[verdict] for verdicts in self.counts.values())


def evaluate_programs(
    rows: Sequence[Row],
    results: Path,
    open_judge: Callable[[], Judge],
    *,
    limits: LanguageLimits,
    setting: str,
    workers: int | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Summary:
    """Judge every row and write `results`, whole or not at all.

    A run that was stopped leaves what it found beside `results`, and the next one goes on from there.

    Args:
        setting: what else than row, limits and toolchain decides a judgement; see `judgement_key`.
        workers: programs at once; as many as there are processors by default.
        cache: folder of the judgements kept between runs; None for none.
    """
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(PartialResults(results))
        stores = (partial, stack.enter_context(Cache(cache))) if cache else (partial,)
        pool = stack.enter_context(
            Pool(
                open_judge,
                workers=workers or len(os.sched_getaffinity(0)),
                key=lambda row: judgement_key(row, limits.of(row.language), setting),
                stores=stores,
            )
        )
        for row in rows:
            pool.submit(row)
        judgements = pool.finish(progress)
    write_results(results, rows, judgements)
    partial.remove()
    return Summary(count_verdicts(rows, judgements), pool.num_distinct, pool.num_known, pool.num_retried)
