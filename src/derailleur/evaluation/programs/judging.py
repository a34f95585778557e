"""The judge of the real runs: a sandbox, and the verdicts on what happens in it."""

from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.programs.row import Row
from derailleur.evaluation.sandbox import RefusedError, open_sandbox
from derailleur.evaluation.verdicts import Judgement, Verdict
from derailleur.evaluation.verdicts.judge import VERSION, judge


def setting(*, unsafe: bool) -> str:
    """What of a judge decides its judgements, for the key under which they are kept."""
    return f"{VERSION} {'unsafe' if unsafe else 'sandbox'}"


class SandboxJudge:
    """One worker's sandbox, in which it judges one program after another."""

    def __init__(self, limits: LanguageLimits, *, unsafe: bool = False) -> None:
        """Open the sandbox.

        Args:
            unsafe: run programs without one where none works.

        Raises:
            UserError: if no sandbox works here and `unsafe` is not given.
        """
        self._limits = limits
        self._sandbox = open_sandbox(unsafe=unsafe)

    def judge(self, row: Row) -> Judgement:
        """Judge one program."""
        try:
            return judge(row, self._sandbox, self._limits.of(row.language))
        except RefusedError as refusal:
            return Judgement(Verdict.SANDBOX, str(refusal))

    def close(self) -> None:
        """End whatever runs."""
        self._sandbox.close()
