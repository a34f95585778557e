"""What the tasks' YAML calls: lm-eval loads this file by its path, not as a part of the package."""

import atexit
import functools
import importlib
from collections.abc import Sequence
from typing import Any

from derailleur.errors import DerailleurError
from derailleur.evaluation.benchmark.sets import BUILTIN, read_sets
from derailleur.evaluation.generation.remote import cut
from derailleur.evaluation.problems import Gap, Problem
from derailleur.evaluation.programs import Language, Row
from derailleur.evaluation.programs.judging import SandboxJudge
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.verdicts import Judgement, Verdict


def load(language: str, problems: str = BUILTIN, **_: Any) -> dict[str, Any]:
    """The problems to complete of one language, as the split `test`.

    Args:
        problems: a file, or `builtin`; lm-eval passes it from `--metadata`, with much else.
    """
    rows = [
        {
            "id": problem.id,
            "language": problem.language.value,
            "prompt": problem.prompt,
            "tests": problem.tests,
            "stop": list(problem.stop),
            # As in our own runs: many tokenizers join a newline with the indentation after it.
            "text": (text := problem.prompt.rstrip()),
            "continuation": problem.prompt[len(text) :] + (problem.reference or ""),
        }
        for problem_set in read_sets([problems])
        for problem in problem_set.problems
        if problem.language == language and problem.gap is Gap.END
    ]
    if not rows:
        raise DerailleurError(f"{problems}: no functions to complete in {language}")
    return {"test": importlib.import_module("datasets").Dataset.from_list(rows)}


def passes(document: dict[str, Any], answers: Sequence[str]) -> dict[str, float]:
    """Whether the first answer passes the tests, in the sandbox.

    Raises:
        DerailleurError: if the sandbox fails twice; nothing is known of the program then.
    """
    problem = Problem(
        id=document["id"],
        language=Language(document["language"]),
        prompt=document["prompt"],
        tests=document["tests"],
    )
    row = problem.program(cut(answers[0], document["stop"]))
    judgement = _judgement(row)
    if judgement.verdict is Verdict.SANDBOX:
        _judge().close()
        _judge.cache_clear()
        judgement = _judgement(row)
    if judgement.verdict is Verdict.SANDBOX:
        raise DerailleurError(f"{problem.id}: the sandbox failed: {judgement.detail}")
    return {"pass@1": float(judgement.passed)}


def likelihood(document: dict[str, Any], answers: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """The log-likelihood of the reference in nats, and its bytes: lm-eval makes bits per byte of them."""
    [(nats, _)] = answers
    return {"bits_per_byte": (nats, len(document["continuation"].encode()))}


def _judgement(row: Row) -> Judgement:
    return _judge().judge(row)


@functools.cache
def _judge() -> SandboxJudge:
    """One sandbox for all problems: lm-eval gives them one by one, and says nothing at the end."""
    judge = SandboxJudge(LanguageLimits())
    atexit.register(judge.close)
    return judge
