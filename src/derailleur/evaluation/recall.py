"""Identifier recall over distance: does a placement still know a name that was defined long before?

The model reads a file up to a name and completes it greedily: correct if every token of the name is the
likeliest in its place and the name ends there. All is one forward pass, for greedy decoding writes exactly
these tokens if and only if each of them is the likeliest after those before it. Where the tokenizer writes
the name together with what stands before it (` name`, `.name`), this is given: the first token is the
likeliest of those that begin so.

Beside each score stands that of a control: the same place without the lines that have the name's
characters. What is completed there too was guessed, not recalled.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from derailleur.evaluation.intervals import wilson_interval
from derailleur.evaluation.loss import Scored
from derailleur.evaluation.passing import bootstrap_interval
from derailleur.evaluation.recall_places import Place
from derailleur.io import Progress, silent
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer


@dataclass(frozen=True)
class Question:
    """What the model reads, whose end it must have written itself.

    Attributes:
        ids: up to and with the name.
        num_name_tokens: how many of the last ones are the name's.
        given: bytes of the first of these that precede the name.
    """

    ids: Sequence[int]
    num_name_tokens: int
    given: bytes


@dataclass(frozen=True)
class Answer:
    """What a placement makes of one question.

    Attributes:
        correct: the greedy completion is the name.
        log_likelihood: of the name, nats.
    """

    correct: bool
    log_likelihood: float


@dataclass(frozen=True)
class RecallScore:
    """What a placement recalls, of all places or of those in one bucket.

    Attributes:
        answers, controls: for each place, with the definition and without it.
    """

    answers: Sequence[Answer]
    controls: Sequence[Answer]

    @property
    def exact_match(self) -> float:
        """The share of names that were completed."""
        return sum(answer.correct for answer in self.answers) / len(self.answers)

    @property
    def gain_nats(self) -> float:
        """By how much the definition raises a name's log-likelihood, mean over places.

        A model that completes few names still shows by it what it has kept.
        """
        return statistics.fmean(self._gains)

    def where(self, chosen: Sequence[bool]) -> "RecallScore":
        """The score of some of the places, of all if there is none."""
        if not any(chosen):
            return self
        return RecallScore(
            list(itertools.compress(self.answers, chosen)), list(itertools.compress(self.controls, chosen))
        )

    def row(self) -> dict[str, Any]:
        """As in the file of scores; likelihoods are nats a name, intervals at 95 %."""
        return {
            "places": len(self.answers),
            "exact_match": self.exact_match,
            "interval": list(_interval(self.answers)),
            "control_exact_match": sum(answer.correct for answer in self.controls) / len(self.controls),
            "control_interval": list(_interval(self.controls)),
            "log_likelihood": statistics.fmean(answer.log_likelihood for answer in self.answers),
            "control_log_likelihood": statistics.fmean(answer.log_likelihood for answer in self.controls),
            "gain_nats": self.gain_nats,
            "gain_interval": list(bootstrap_interval(self._gains, seed=0)),
        }

    @property
    def _gains(self) -> list[float]:
        pairs = zip(self.answers, self.controls, strict=True)
        return [answer.log_likelihood - control.log_likelihood for answer, control in pairs]


def _interval(answers: Sequence[Answer]) -> tuple[float, float]:
    return wilson_interval(sum(answer.correct for answer in answers), len(answers))


def question(tokenizer: Tokenizer, text: str, name: str, *, opens: bool, context: int) -> Question:
    """The question of a text that is read and the name after it.

    Args:
        opens: begins with an end-of-document token, as the beginning of a file does in training.
        context: tokens at most; the first ones are left out.
    """
    ids = tokenizer.encode(text + name)
    room, num_name_tokens, given = len(name.encode()), 0, b""
    while room > 0:
        num_name_tokens += 1
        token = tokenizer.decode_bytes(ids[-num_name_tokens : len(ids) - num_name_tokens + 1])
        given = token[: max(len(token) - room, 0)]
        room -= len(token)
    return Question(([tokenizer.eos_id] * opens + ids)[-context:], num_name_tokens, given)


class RecallScorer:
    """Asks places of a decoder, at any placement."""

    def __init__(
        self, decoder: Scored, tokenizer: Tokenizer, *, batch_tokens: int, device: torch.device
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._device = device
        self._spelling = [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)]
        self._prolongs = [_is_of_name(spelling[:1]) for spelling in self._spelling]
        self._beginnings: dict[bytes, Tensor] = {}

    def score(
        self, places: Sequence[Place], placement: Placement, *, progress: Progress = silent
    ) -> RecallScore:
        """Ask for every name, with its definition and without."""
        asked = [
            question(
                self._tokenizer, text, place.name, opens=place.opens, context=place.bucket.context_tokens
            )
            for place in places
            for text in (place.text, place.control)
        ]
        answers = self.answer(asked, placement, progress=progress)
        return RecallScore(answers[::2], answers[1::2])

    def answer(
        self, questions: Sequence[Question], placement: Placement, *, progress: Progress = silent
    ) -> list[Answer]:
        """Answers in the order of the questions."""
        order = sorted(range(len(questions)), key=lambda index: len(questions[index].ids))  # little padding
        answers: dict[int, Answer] = {}
        while len(answers) < len(order):
            batch = self._next_batch(order[len(answers) :], questions)
            found = self._answer_batch([questions[index] for index in batch], placement)
            answers.update(zip(batch, found, strict=True))
            progress("recall", len(answers), len(order))
        return [answers[index] for index in range(len(questions))]

    def _next_batch(self, order: Sequence[int], questions: Sequence[Question]) -> Sequence[int]:
        """The first ones that fit into a forward pass when padded to the longest, but one at least."""
        fits = [
            (rows + 1) * len(questions[index].ids) <= self._batch_tokens for rows, index in enumerate(order)
        ]
        return order[: max(sum(fits), 1)]

    @torch.inference_mode()
    def _answer_batch(self, batch: Sequence[Question], placement: Placement) -> list[Answer]:
        """Questions are padded at their end, which what comes before does not see."""
        longest = max(len(asked.ids) for asked in batch)
        tokens = torch.full((len(batch), longest), self._tokenizer.eos_id)
        for row, asked in enumerate(batch):
            tokens[row, : len(asked.ids)] = torch.tensor(asked.ids)
        hidden = self._decoder.hidden(tokens.to(self._device), placement)  # [B, T, hidden]
        return [self._judge(asked, own) for asked, own in zip(batch, hidden, strict=True)]

    def _judge(self, asked: Question, hidden: Tensor) -> Answer:
        """Args: hidden: [T, hidden] of one question and its padding."""
        end = len(asked.ids)
        begin = end - asked.num_name_tokens
        logits = self._decoder.logits(hidden[begin - 1 : end]).float()  # [name tokens + 1, vocab]
        name = torch.tensor(asked.ids[begin:], device=logits.device)
        logits[0].masked_fill_(~self._begins_with(asked.given, logits), -math.inf)
        likely = logits.argmax(-1)
        ends = not self._prolongs[int(likely[-1])]
        log_likelihood = logits[:-1].log_softmax(-1).gather(-1, name[:, None]).double().sum()
        return Answer(ends and torch.equal(likely[:-1], name), float(log_likelihood))

    def _begins_with(self, given: bytes, logits: Tensor) -> Tensor:
        """[vocab]: the tokens that are spelt `given` and more, or just so."""
        if given not in self._beginnings:
            allowed = torch.zeros(logits.shape[-1], dtype=torch.bool)
            for token, spelling in enumerate(self._spelling):
                allowed[token] = spelling.startswith(given)
            self._beginnings[given] = allowed.to(logits.device)
        return self._beginnings[given]


def _is_of_name(byte: bytes) -> bool:
    """Whether a name goes on with this byte of UTF-8."""
    return byte.isalnum() or byte == b"_" or byte >= b"\x80"
