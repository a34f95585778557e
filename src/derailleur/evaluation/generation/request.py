"""What is asked of a source of completions, and what it gives."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from derailleur.evaluation.problems import Gap, Problem


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    TOO_LONG = "too_long"
    """The prompt left no room for an answer: nothing was generated, and the sample fails."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion that is wanted.

    Attributes:
        temperature: 0 for greedy; None where somebody else chose it.
        top_p: only the likeliest tokens that sum to this share are drawn from.
        max_tokens: longest completion; a source gives less where its context ends before.
        index: which of the samples of this problem at this temperature, from 0.
        seed: of the draws.
    """

    problem: Problem
    temperature: float | None
    top_p: float
    max_tokens: int
    index: int
    seed: int

    @property
    def prompt(self) -> str:
        """What the model reads.

        White space at its end goes, as the MultiPL-E and BigCode harnesses take it off: many tokenizers join
        a newline with the indentation after it, and a prompt that ends between them ends where no training
        text did. The program is still built from the problem's own prompt. Before a hole white space is part
        of the task.
        """
        prompt = self.problem.prompt
        return prompt.rstrip() or prompt if self.problem.gap is Gap.END else prompt


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: cut where it ends.
        num_tokens: generated ones; None where the source does not say.
    """

    text: str
    finish: Finish
    num_tokens: int | None = None


class Source(Protocol):
    """Writes completions, or has them."""

    def complete(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[SampleRequest, Completion]]:
        """Answer every request, in whatever order."""
        ...


def sample_seed(seed: int, problem_id: str, temperature: float | None, index: int) -> int:
    """A seed of its own for each sample, so that none depends on what was generated before it; 31 bits,
    which every server takes."""
    key = f"{seed}\0{problem_id}\0{temperature}\0{index}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") >> 1
