"""Sets of problems that are scored together: files as published, or the problems that are built in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from derailleur.errors import UserError
from derailleur.evaluation.builtin import builtin_infilling, builtin_problems
from derailleur.evaluation.problems import Gap, Problem, read_problems
from derailleur.evaluation.programs import Language
from derailleur.io import file_sha256

BUILTIN, BUILTIN_INFILLING = "builtin", "builtin-infilling"


@dataclass(frozen=True)
class ProblemSet:
    """Problems of one kind.

    Attributes:
        name: of the file, without its endings.
        sha256: of the file; None for what is built in.
    """

    name: str
    problems: Sequence[Problem]
    sha256: str | None = None

    @property
    def gap(self) -> Gap:
        """What the completions fill."""
        return self.problems[0].gap

    @property
    def languages(self) -> list[str]:
        """Of the problems, sorted."""
        return sorted({problem.language.value for problem in self.problems})


def read_sets(names: Sequence[str]) -> list[ProblemSet]:
    """Each file as a set; `builtin` and `builtin-infilling` stand for a set in each language.

    Raises:
        DataError: as `read_problems`.
        UserError: if two sets have one name, or one has problems of several kinds.
    """
    sets: list[ProblemSet] = []
    for name in names:
        sets += _builtin(name) if name in (BUILTIN, BUILTIN_INFILLING) else [_from_file(Path(name))]
    for number, made in enumerate(sets):
        if made.name in {other.name for other in sets[:number]}:
            raise UserError(f"two sets of problems are named '{made.name}', by which results go; rename one")
        if len({problem.gap for problem in made.problems}) > 1:
            raise UserError(f"{made.name}: problems to complete and to fill in are in one file; split it")
    return sets


def problem_files(names: Sequence[str]) -> dict[str, Path]:
    """The files among `names`, as inputs of a stage."""
    return {f"problems {name}": Path(name) for name in names if name not in (BUILTIN, BUILTIN_INFILLING)}


def _from_file(path: Path) -> ProblemSet:
    return ProblemSet(path.name.partition(".jsonl")[0], read_problems(path), file_sha256(path))


def _builtin(name: str) -> list[ProblemSet]:
    read = builtin_problems if name == BUILTIN else builtin_infilling
    return [ProblemSet(f"{name}-{language}", read(language)) for language in Language]
