"""Completions: from a client's request to the engine's, and from the engine's deltas to an answer."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import cached_property

from derailleur.engine import Delta, TokenLogprob
from derailleur.serving.pieces import Pieces
from derailleur.serving.protocol import (
    Choice,
    Completion,
    CompletionRequest,
    Logprobs,
    SpeculationStatistics,
    Usage,
)
from derailleur.serving.requests import engine_requests, writer
from derailleur.serving.served_model import ServedModel
from derailleur.serving.worker import AnswerStream
from derailleur.tokens import infill_prompt


class CompletionJob:
    """One call of /v1/completions: its engine requests, and how their deltas become an answer.

    Args:
        body: what the client sent.
        model: what it is sent to.
    """

    says_done = True

    def __init__(self, body: CompletionRequest, model: ServedModel) -> None:
        self._body, self._model = body, model
        self._prompts = [self._prompt(prompt) for prompt in body.prompts]
        # To find the best of several, their log-probabilities are needed whether or not they are given.
        chooses = body.num_samples > body.n
        self.requests = engine_requests(
            self._prompts,
            body,
            model,
            max_tokens=body.max_tokens,
            samples=body.num_samples,
            logprobs=0 if chooses and body.logprobs is None else body.logprobs,
            prompt_logprobs=body.echo and body.logprobs is not None,
        )
        self.usage = Usage(prompt_tokens=sum(map(len, self._prompts)))
        self.auto = model.chooses(body)
        self._id, self._created = f"cmpl-{uuid.uuid4().hex}", int(time.time())
        self._offsets = [0] * len(self.requests)

    async def answer(self, stream: AnswerStream) -> Completion:
        """Wait for the whole answer."""
        choices = self._echoes()
        scores = [LogprobMean() for _ in choices]
        async for place, delta in stream:
            _extend(choices[place], self._choice(place, delta))
            scores[place].add(delta)
        return self._frame.model_copy(
            update={"choices": self._best(choices, scores), "usage": self.usage.summed()}
        )

    async def events(self, stream: AnswerStream) -> AsyncIterator[Completion]:
        """The answer in pieces."""
        for choice in self._echoes():
            if choice.text:
                yield self._frame.model_copy(update={"choices": [choice]})
        options, pieces = self._body.stream_options, Pieces(self.requests, self._model.tokenizer)
        async for place, delta in stream:
            choice = self._choice(place, delta)
            choice.pieces = pieces.of(place, delta)
            if choice.text or choice.logprobs or choice.finish_reason:
                usage = self.usage.summed() if options.continuous_usage_stats else None
                yield self._frame.model_copy(update={"choices": [choice], "usage": usage})
        if options.include_usage:
            yield self._frame.model_copy(update={"usage": self.usage.summed()})

    @cached_property
    def _frame(self) -> Completion:
        """What all pieces have in common, once it is known what writes them."""
        return Completion(
            id=self._id,
            created=self._created,
            model=self._body.model or self._model.name,
            choices=[],
            **writer(self.requests[0], self._model),
        )

    def _prompt(self, prompt: str | Sequence[int]) -> list[int]:
        """Token ids; an empty prompt is the beginning of a document."""
        if not isinstance(prompt, str):
            return list(prompt)
        tokenizer = self._model.tokenizer
        if self._body.suffix is None:
            return tokenizer.encode(prompt) or [tokenizer.eos_id]
        room = self._model.prompt_room(self._body.max_tokens)
        return infill_prompt(prompt, self._body.suffix, tokenizer, room).ids

    def _echoes(self) -> list[Choice]:
        """Empty choices, or choices that begin with the prompt."""
        echoes = [self._model.tokenizer.decode(prompt) if self._body.echo else "" for prompt in self._prompts]
        return [Choice(index=i, text=echoes[i // self._body.num_samples]) for i in range(len(self.requests))]

    def _best(self, choices: list[Choice], scores: Sequence["LogprobMean"]) -> list[Choice]:
        """Of each prompt's samples those of the highest mean log-probability, broken ones last."""
        n, written = self._body.n, self._body.num_samples
        if n == written:
            return choices
        kept = []
        for begin in range(0, len(choices), written):
            order = sorted(
                range(begin, begin + written),
                key=lambda place: (choices[place].finish_reason == "error", -scores[place].mean),
            )
            kept += [choices[place] for place in order[:n]]
        for index, choice in enumerate(kept):
            choice.index = index
        return kept

    def _choice(self, place: int, delta: Delta) -> Choice:
        self.usage.add(delta, first_sample=place % self._body.num_samples == 0)
        given = self._body.logprobs is not None
        return Choice(
            index=place,
            text=delta.text,
            logprobs=self._logprobs(place, delta.logprobs) if given and delta.logprobs else None,
            finish_reason=delta.finish_reason,
            speculation=SpeculationStatistics.of(delta.speculation) if delta.speculation else None,
        )

    def _logprobs(self, place: int, entries: Sequence[TokenLogprob]) -> Logprobs:
        made = Logprobs()
        for entry in entries:
            text = self._token_text(entry.token)
            top = {self._token_text(token): logprob for token, logprob in entry.top}
            made.tokens.append(text)
            made.token_logprobs.append(entry.logprob)
            made.top_logprobs.append(None if entry.logprob is None else {**top, text: entry.logprob})
            made.text_offset.append(self._offsets[place])
            self._offsets[place] += len(text)
        return made

    def _token_text(self, token: int) -> str:
        """A token alone; bytes that are no characters are written as OpenAI writes them."""
        spelling = self._model.tokenizer.decode_bytes([token])
        try:
            return spelling.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)


class LogprobMean:
    """The mean log-probability of a sample's generated tokens."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, delta: Delta) -> None:
        """Take what a step added; a prompt's log-probabilities come before those of its tokens."""
        for entry in delta.logprobs[len(delta.logprobs) - len(delta.tokens) :] if delta.logprobs else ():
            self._sum += entry.logprob or 0.0
            self._count += 1

    @property
    def mean(self) -> float:
        """0 for a sample without tokens."""
        return self._sum / self._count if self._count else 0.0


def _extend(choice: Choice, piece: Choice) -> None:
    choice.text += piece.text
    choice.finish_reason, choice.speculation = piece.finish_reason, piece.speculation
    if piece.logprobs is not None:
        choice.logprobs = choice.logprobs or Logprobs()
        for name in Logprobs.model_fields:
            getattr(choice.logprobs, name).extend(getattr(piece.logprobs, name))
