"""Single-line infilling: a line is taken out of a held-out file, and the model writes it between the rest."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from derailleur.config import Config
from derailleur.engine import Engine
from derailleur.errors import DataError
from derailleur.io import Progress, silent
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt
from derailleur.tokens.documents import Document

_COMMENT_MARKS = ("#", "//", "/*", "*", "--", "%", ";")
_CONFIDENCE_Z = 1.959964  # 95 %, two-sided


class InfillingConfig(Config):
    """How single-line infilling is measured."""

    num_problems: int = Field(200, gt=0, description="lines to fill in, at most")
    max_tokens: int = Field(48, gt=0, description="longest answer, tokens; a longer line cannot be matched")


@dataclass(frozen=True)
class InfillingProblem:
    """One line of a file, without its indentation, and what is before and after it."""

    prefix: str
    line: str
    suffix: str


@dataclass(frozen=True)
class InfillingScore:
    """How many lines came out exactly, spaces at both ends aside."""

    num_correct: int
    num_problems: int

    @property
    def exact_match(self) -> float:
        """The share of lines."""
        return self.num_correct / self.num_problems

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson_interval(self.num_correct, self.num_problems)


def choose_problems(
    documents: Sequence[Document], num_problems: int, rng: np.random.Generator
) -> list[InfillingProblem]:
    """Random lines, no file giving a second one before every file has given one.

    Raises:
        DataError: if no file has a line worth filling in.
    """
    shuffled = []
    for index in rng.permutation(len(documents)):
        text = documents[index].content
        spans = list(_lines_of_code(text))
        shuffled.append([(text, spans[line]) for line in rng.permutation(len(spans))])
    turns = itertools.zip_longest(*shuffled)
    chosen = [line for turn in turns for line in turn if line is not None][:num_problems]
    if not chosen:
        raise DataError("infilling: no held-out file has a line of code to fill in")
    return [InfillingProblem(text[:begin], text[begin:end], text[end:]) for text, (begin, end) in chosen]


def _lines_of_code(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines worth filling in begin and end, white space at both ends left out."""
    start = 0
    for line in text.split("\n"):
        code = line.strip()
        if _is_worth_filling_in(code):
            begin = start + line.index(code)
            yield begin, begin + len(code)
        start += len(line) + 1


def _is_worth_filling_in(code: str) -> bool:
    """Whether a line is more than brackets and is not a comment."""
    return any(character.isalnum() for character in code) and not code.startswith(_COMMENT_MARKS)


def score_infilling(
    engine: Engine,
    tokenizer: Tokenizer,
    problems: Sequence[InfillingProblem],
    placement: Placement,
    config: InfillingConfig,
    *,
    progress: Progress = silent,
) -> InfillingScore:
    """Fill in every line greedily.

    Raises:
        CheckpointError: if the tokenizer has no fill-in-the-middle tokens.
    """
    room = engine.max_context - config.max_tokens
    prompts = [infill_prompt(problem.prefix, problem.suffix, tokenizer, room) for problem in problems]
    answers = engine.generate(
        [prompt.ids for prompt in prompts],
        placement=placement,
        max_tokens=config.max_tokens,
        stop=["\n"],
        progress=progress,
    )
    stop_ids, num_correct = prompts[0].stop_ids, 0
    for problem, answer in zip(problems, answers, strict=True):
        kept = itertools.takewhile(lambda token: token not in stop_ids, answer.tokens)
        written, _, _ = tokenizer.decode(kept).partition("\n")
        num_correct += written.strip() == problem.line
    return InfillingScore(num_correct, len(problems))


def wilson_interval(num_correct: int, num_problems: int) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), at 95 %."""
    share, spread = num_correct / num_problems, _CONFIDENCE_Z**2 / num_problems
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)
