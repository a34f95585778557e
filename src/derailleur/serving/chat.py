"""Chat and Mistral's fill-in-the-middle: both answer in messages."""

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from typing import Any

from derailleur.engine import Delta, TokenLogprob
from derailleur.errors import CapacityError, UserError
from derailleur.serving.chat_protocol import (
    AnswerDelta,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatLogprob,
    ChatLogprobs,
    ChatRequest,
    ChatTokenLogprob,
)
from derailleur.serving.pieces import Pieces
from derailleur.serving.protocol import GenerationRequest, SpeculationStatistics, Usage
from derailleur.serving.requests import engine_requests, writer
from derailleur.serving.served_model import ServedModel
from derailleur.serving.worker import AnswerStream


class MessageJob:
    """An answer in messages to one prompt.

    Args:
        prompt: token ids.
        logprobs: how many likeliest tokens to report beside each, or None.
    """

    says_done = True

    def __init__(
        self,
        prompt: Sequence[int],
        body: GenerationRequest,
        model: ServedModel,
        *,
        max_tokens: int,
        logprobs: int | None = None,
    ) -> None:
        self._body, self._model = body, model
        self.requests = engine_requests(
            [prompt], body, model, max_tokens=max_tokens, samples=body.n, logprobs=logprobs
        )
        self.usage = Usage(prompt_tokens=len(prompt))
        self.auto = model.chooses(body)
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    async def answer(self, stream: AnswerStream) -> ChatCompletion:
        """Wait for the whole answer."""
        choices = [ChatChoice(index=index) for index in range(self._body.n)]
        async for place, delta in stream:
            piece, choice = self._choice(place, delta), choices[place]
            choice.message.content += piece.delta.content
            choice.finish_reason, choice.speculation = piece.finish_reason, piece.speculation
            if piece.logprobs is not None:
                choice.logprobs = choice.logprobs or ChatLogprobs()
                choice.logprobs.content += piece.logprobs.content
        return ChatCompletion(**self._common, choices=choices, usage=self.usage.summed())

    async def events(self, stream: AnswerStream) -> AsyncIterator[ChatChunk]:
        """The answer in pieces: the roles, the texts, the reasons why they end."""
        for index in range(self._body.n):
            yield self._chunk(ChatChunkChoice(index=index, delta=AnswerDelta(role="assistant", content="")))
        options, pieces = self._body.stream_options, Pieces(self.requests, self._model.tokenizer)
        async for place, delta in stream:
            choice = self._choice(place, delta)
            choice.pieces = pieces.of(place, delta)
            if choice.delta.content or choice.logprobs or choice.finish_reason:
                yield self._chunk(choice)
        if options.include_usage:
            yield ChatChunk(**self._common, choices=[], usage=self.usage.summed())

    @cached_property
    def _common(self) -> dict[str, Any]:
        """What all pieces have in common, once it is known what writes them."""
        return {
            "id": self._id,
            "created": self._created,
            "model": self._body.model or self._model.name,
            **writer(self.requests[0], self._model),
        }

    def _chunk(self, choice: ChatChunkChoice) -> ChatChunk:
        usage = self.usage.summed() if self._body.stream_options.continuous_usage_stats else None
        return ChatChunk(**self._common, choices=[choice], usage=usage)

    def _choice(self, place: int, delta: Delta) -> ChatChunkChoice:
        self.usage.add(delta, first_sample=place == 0)
        return ChatChunkChoice(
            index=place,
            delta=AnswerDelta(content=delta.text),
            logprobs=self._logprobs(delta.logprobs) if delta.logprobs else None,
            finish_reason=delta.finish_reason,
            speculation=SpeculationStatistics.of(delta.speculation) if delta.speculation else None,
        )

    def _logprobs(self, entries: Sequence[TokenLogprob]) -> ChatLogprobs:
        return ChatLogprobs(
            content=[
                ChatLogprob(
                    **self._token(entry.token, entry.logprob or 0.0).model_dump(),
                    top_logprobs=[self._token(token, logprob) for token, logprob in entry.top],
                )
                for entry in entries
            ]
        )

    def _token(self, token: int, logprob: float) -> ChatTokenLogprob:
        spelled = self._model.tokenizer.decode_bytes([token])
        text = spelled.decode("utf-8", "replace")
        return ChatTokenLogprob(token=text, logprob=logprob, bytes=list(spelled))


def chat_job(body: ChatRequest, model: ServedModel) -> MessageJob:
    """The answer to a conversation.

    Raises:
        UserError: if the tokenizer has no chat template, or the template refuses the messages.
    """
    if model.chat_template is None:
        raise UserError(
            f"'{model.name}' has no chat template, so it cannot chat: use /v1/completions, or put a "
            "chat_template.jinja into its folder"
        )
    prompt = model.chat_template.prompt([message.plain() for message in body.messages], model.tokenizer)
    asked = body.max_completion_tokens or body.max_tokens  # the newer name is never 0
    room = model.max_context - len(prompt)
    if room < 1:
        raise CapacityError(f"the conversation has {len(prompt)} tokens; the context is {model.max_context}")
    longest = min(room, model.limits.max_tokens or room)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    return MessageJob(prompt, body, model, max_tokens=longest if asked is None else asked, logprobs=logprobs)
