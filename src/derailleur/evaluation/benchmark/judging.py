"""How a benchmark's programs are judged: by whom, how many at once, what is remembered."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from derailleur.evaluation.programs.cache import Cache
from derailleur.evaluation.programs.judging import SandboxJudge, setting
from derailleur.evaluation.programs.key import judgement_key
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.programs.pool import Judge, Pool
from derailleur.evaluation.programs.results import PartialResults
from derailleur.evaluation.sandbox import open_sandbox


@dataclass(frozen=True)
class Judging:
    """How programs are judged.

    Attributes:
        open_judge: gives each worker a judge of its own.
        setting: what else than a program and its limits decides a judgement; see `judgement_key`.
        back_end: what confines programs, for the results.
        limits: of the programs.
        workers: programs at once; as many as there are processors if None.
        cache: folder of the judgements kept between runs; None for none.
    """

    open_judge: Callable[[], Judge]
    setting: str
    back_end: str
    limits: LanguageLimits
    workers: int | None = None
    cache: Path | None = None

    @classmethod
    def in_sandbox(
        cls,
        limits: LanguageLimits,
        *,
        unsafe: bool = False,
        workers: int | None = None,
        cache: Path | None = None,
    ) -> "Judging":
        """By sandboxes of this machine.

        Args:
            unsafe: run programs without a sandbox where none works.

        Raises:
            UserError: if none works and `unsafe` is not given: at once, not when all is generated.
        """
        with open_sandbox(unsafe=unsafe) as sandbox:
            back_end = sandbox.back_end.name
        judge = functools.partial(SandboxJudge, limits, unsafe=unsafe)
        return cls(judge, setting(unsafe=unsafe), back_end, limits, workers=workers, cache=cache)

    @contextlib.contextmanager
    def pool(self, results: Path) -> Iterator[Pool]:
        """Workers that know what a killed run left beside `results`, which is theirs to finish."""
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(PartialResults(results))
            stores = (partial, stack.enter_context(Cache(self.cache))) if self.cache else (partial,)
            yield stack.enter_context(
                Pool(
                    self.open_judge,
                    workers=self.workers or len(os.sched_getaffinity(0)),
                    key=lambda row: judgement_key(row, self.limits.of(row.language), self.setting),
                    stores=stores,
                )
            )
            partial.remove()
