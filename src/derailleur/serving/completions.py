"""Completions: from a client's request to the engine's, and from the engine's deltas to an answer."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from derailleur.engine import Delta, Request, Sampling, Speculation, TokenLogprob
from derailleur.errors import UserError
from derailleur.placement.placement import Placement
from derailleur.placement.presets import Presets
from derailleur.serving.protocol import (
    Choice,
    Completion,
    CompletionRequest,
    Logprobs,
    SpeculationStatistics,
    Usage,
)
from derailleur.serving.worker import AnswerStream
from derailleur.tokens import Tokenizer, infill_prompt

NO_DRAFT = "none"


class UnknownModelError(UserError):
    """A model name that this server does not serve."""


@dataclass(frozen=True)
class ServedModel:
    """The model behind the server.

    Attributes:
        presets: by name; their default is used where a request names none.
        draft: drafts for greedy requests that say nothing about drafting.
        max_context: prompt and completion together, tokens.
    """

    name: str
    tokenizer: Tokenizer
    presets: Presets
    max_context: int
    draft: Placement | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def names(self) -> list[str]:
        """Every name under which the model can be asked for."""
        return [self.name, *(f"{self.name}@{preset}" for preset in self.presets)]

    def placement(self, body: CompletionRequest) -> Placement:
        """The placement that a request asks for.

        Raises:
            UnknownModelError: if the model's name is not ours.
            PlacementError: if the preset or the placement does not exist.
        """
        name, _, preset = (body.model or self.name).partition("@")
        if name != self.name:
            raise UnknownModelError(f"model '{body.model}' does not exist; this server has '{self.name}'")
        asked = {text for text in (preset or None, body.preset, body.placement) if text is not None}
        if len(asked) > 1:
            raise UserError(f"'{body.model}' and the field preset or placement ask for different placements")
        return self.presets.resolve(asked.pop() if asked else None)

    def draft_for(self, body: CompletionRequest, placement: Placement) -> Placement | None:
        """The placement that drafts for a request, if any."""
        if body.draft is not None:
            return None if body.draft == NO_DRAFT else self.presets.resolve(body.draft)
        return self.draft if body.temperature == 0 and self.draft != placement else None


class CompletionJob:
    """One call of /v1/completions: its engine requests, and how their deltas become an answer.

    Args:
        body: what the client sent.
        model: what it is sent to.
    """

    def __init__(self, body: CompletionRequest, model: ServedModel) -> None:
        self._body, self._model = body, model
        placement = model.placement(body)
        draft = model.draft_for(body, placement)
        self._frame = Completion(
            id=f"cmpl-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=body.model or model.name,
            choices=[],
            placement=str(placement),
            draft=str(draft) if draft else None,
        )
        self._prompts = [self._prompt(prompt) for prompt in body.prompts]
        self._usage = Usage(prompt_tokens=sum(len(prompt) for prompt in self._prompts))
        self._offsets = [0] * len(self._prompts) * body.n
        control = {model.tokenizer.eos_id} | (model.tokenizer.fim.ids if model.tokenizer.fim else set())
        self.requests = [
            Request(
                prompt=prompt,
                placement=placement,
                draft=draft,
                max_tokens=body.max_tokens,
                sampling=_sampling(body, sample),
                stop=body.stop_strings,
                stop_tokens=frozenset(control),
                prompt_logprobs=body.echo and body.logprobs is not None,
            )
            for prompt in self._prompts
            for sample in range(body.n)
        ]

    async def answer(self, stream: AnswerStream) -> Completion:
        """Wait for the whole answer."""
        choices = self._echoes()
        async for place, delta in stream:
            _extend(choices[place], self._choice(place, delta))
        return self._frame.model_copy(update={"choices": choices, "usage": self._total()})

    async def events(self, stream: AnswerStream) -> AsyncIterator[Completion]:
        """The answer in pieces."""
        for choice in self._echoes():
            if choice.text:
                yield self._frame.model_copy(update={"choices": [choice]})
        async for place, delta in stream:
            choice = self._choice(place, delta)
            if choice.text or choice.logprobs or choice.finish_reason:
                yield self._frame.model_copy(update={"choices": [choice]})
        if self._body.stream_options and self._body.stream_options.include_usage:
            yield self._frame.model_copy(update={"usage": self._total()})

    def _prompt(self, prompt: str | Sequence[int]) -> list[int]:
        """Token ids; an empty prompt is the beginning of a document."""
        if not isinstance(prompt, str):
            return list(prompt)
        tokenizer = self._model.tokenizer
        if self._body.suffix is None:
            return tokenizer.encode(prompt) or [tokenizer.eos_id]
        room = self._model.max_context - self._body.max_tokens
        return infill_prompt(prompt, self._body.suffix, tokenizer, room).ids

    def _echoes(self) -> list[Choice]:
        """Empty choices, or choices that begin with the prompt."""
        echoes = [self._model.tokenizer.decode(prompt) if self._body.echo else "" for prompt in self._prompts]
        return [Choice(index=i, text=echoes[i // self._body.n]) for i in range(len(self.requests))]

    def _choice(self, place: int, delta: Delta) -> Choice:
        self._usage.completion_tokens += len(delta.tokens)
        return Choice(
            index=place,
            text=delta.text,
            logprobs=self._logprobs(place, delta.logprobs) if delta.logprobs else None,
            finish_reason=delta.finish_reason,
            speculation=_statistics(delta.speculation) if delta.speculation else None,
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

    def _total(self) -> Usage:
        total = self._usage.prompt_tokens + self._usage.completion_tokens
        return self._usage.model_copy(update={"total_tokens": total})


def _sampling(body: CompletionRequest, sample: int) -> Sampling:
    made = Sampling(
        temperature=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        seed=body.seed,
        logprobs=body.logprobs,
    )
    # The samples of one seed differ from each other, and the first does not depend on n.
    return made if body.seed is None else replace(made, seed=body.seed + sample)


def _extend(choice: Choice, piece: Choice) -> None:
    choice.text += piece.text
    choice.finish_reason, choice.speculation = piece.finish_reason, piece.speculation
    if piece.logprobs is not None:
        choice.logprobs = choice.logprobs or Logprobs()
        for name in Logprobs.model_fields:
            getattr(choice.logprobs, name).extend(getattr(piece.logprobs, name))


def _statistics(speculation: Speculation) -> SpeculationStatistics:
    return SpeculationStatistics(
        drafted=speculation.drafted,
        accepted=speculation.accepted,
        acceptance_rate=speculation.acceptance_rate,
        acceptance_length=speculation.acceptance_length,
    )
