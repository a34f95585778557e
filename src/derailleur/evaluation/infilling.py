"""Infilling: a part of a held-out file is cut out, and the model writes it between the rest."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.engine import Engine
from derailleur.errors import DataError
from derailleur.evaluation.cuts import Cut, spans
from derailleur.evaluation.edit_similarity import edit_similarity
from derailleur.evaluation.intervals import wilson_interval
from derailleur.evaluation.turns import take_turns
from derailleur.io import Progress, silent
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt
from derailleur.tokens.documents import Document


class InfillingConfig(Config):
    """How infilling is measured."""

    cuts: tuple[Cut, ...] = Field(
        (Cut.SINGLE_LINE,), min_length=1, description=f"what is cut out: any of {', '.join(Cut)}"
    )
    num_problems: int = Field(200, gt=0, description="holes of each kind to fill in, at most")
    max_tokens: int = Field(48, gt=0, description="longest answer, tokens; a longer line cannot be matched")
    max_block_tokens: int = Field(160, gt=0, description="the same for multi-line and random-span")

    def longest_answer(self, cut: Cut) -> int:
        """For one kind of hole, tokens."""
        return self.max_tokens if cut.within_line else self.max_block_tokens


@dataclass(frozen=True)
class InfillingProblem:
    """A part of a file, and what is before and after it."""

    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True)
class InfillingScore:
    """How many parts came out exactly, and how alike the others were; white space at both ends aside."""

    num_correct: int
    num_problems: int
    edit_similarity: float

    @property
    def exact_match(self) -> float:
        """The share of parts."""
        return self.num_correct / self.num_problems

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson_interval(self.num_correct, self.num_problems)


def choose_problems(
    documents: Sequence[Document], cut: Cut, num_problems: int, rng: np.random.Generator
) -> list[InfillingProblem]:
    """Random parts, no file giving a second one before every file has given one.

    Raises:
        DataError: if no file has a part of this kind.
    """
    found = [[(document.content, *span) for span in spans(document, cut, rng)] for document in documents]
    chosen = take_turns(found, num_problems, rng)
    if not chosen:
        raise DataError(f"infilling: no held-out file has anything to fill in of kind '{cut}'")
    return [InfillingProblem(text[:begin], text[begin:end], text[end:]) for text, begin, end in chosen]


def score_infilling(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[InfillingProblem],
    placement: Placement,
    *,
    max_tokens: int,
    within_line: bool,
    progress: Progress = silent,
) -> InfillingScore:
    """Fill in every part greedily.

    Args:
        max_tokens: of an answer.
        within_line: an answer ends before its first newline.

    Raises:
        CheckpointError: if the tokenizer has no fill-in-the-middle tokens.
    """
    room = engine.max_context - max_tokens
    prompts = [infill_prompt(problem.prefix, problem.suffix, tokenizer, room) for problem in problems]
    answers = engine.generate(
        [prompt.ids for prompt in prompts],
        placement=placement,
        max_tokens=max_tokens,
        stop=["\n"] if within_line else (),
        progress=progress,
    )
    stop_ids = prompts[0].stop_ids
    wanted, written = [], []
    for problem, answer in zip(problems, answers, strict=True):
        text = tokenizer.decode(itertools.takewhile(lambda token: token not in stop_ids, answer.tokens))
        written.append((text.partition("\n")[0] if within_line else text).strip())
        wanted.append(problem.middle.strip())
    return InfillingScore(
        num_correct=sum(map(str.__eq__, written, wanted)),
        num_problems=len(problems),
        edit_similarity=statistics.fmean(map(edit_similarity, written, wanted)),
    )
