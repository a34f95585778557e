"""Infilling as llama.cpp's server does it: the file around the cursor, pieces of other files before it."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from derailleur.engine import Delta
from derailleur.errors import DerailleurError
from derailleur.serving.infill_protocol import (
    ChosenFields,
    ExtraFile,
    InfillAnswer,
    InfillPiece,
    InfillRequest,
    Timings,
)
from derailleur.serving.protocol import Usage
from derailleur.serving.requests import engine_requests, writer
from derailleur.serving.served_model import ServedModel
from derailleur.serving.worker import AnswerStream
from derailleur.tokens import Tokenizer, infill_prompt

_SETTINGS = ("n_predict", "temperature", "top_k", "top_p", "seed", "stop", "stream", "t_max_predict_ms")


@dataclass(frozen=True)
class EditorPrompt:
    """What the model reads.

    Attributes:
        truncated: whether something was left out.
    """

    ids: list[int]
    truncated: bool


def editor_prompt(
    prefix: str, suffix: str, extra: Sequence[ExtraFile], tokenizer: Tokenizer, max_tokens: int
) -> EditorPrompt:
    """The prompt for the text between prefix and suffix, other files first.

    The file around the cursor comes first where room is short; of the other files those that come last stay,
    whole. Each begins with the token that separates files where the vocabulary has one, and so does then the
    file around the cursor; its name comes next.

    Args:
        max_tokens: room for the prompt, tokens.

    Raises:
        CheckpointError: if the vocabulary has no fill-in-the-middle tokens.
    """
    separator = [] if tokenizer.file_id is None or not extra else [tokenizer.file_id]
    filling = infill_prompt(prefix, suffix, tokenizer, max_tokens - len(separator))
    around, truncated = separator + filling.ids, filling.truncated
    room = max_tokens - len(around)
    end = "" if separator else "\n"
    files: list[list[int]] = []
    for text in reversed(tokenizer.encode_batch([f"{file.filename}\n{file.text}{end}" for file in extra])):
        if len(separator) + len(text) > room:
            truncated = True
            break
        files.append([*separator, *text])
        room -= len(files[-1])
    return EditorPrompt([token for file in reversed(files) for token in file] + around, truncated)


class InfillJob:
    """One call of /infill.

    Args:
        body: what the editor sent.
        model: what it is sent to.
    """

    says_done = False

    def __init__(self, body: InfillRequest, model: ServedModel) -> None:
        self._body, self._model = body, model
        max_tokens = model.filling_tokens(None if body.n_predict < 0 else body.n_predict)
        room = model.prompt_room(max_tokens)
        self._prompt = editor_prompt(
            body.input_prefix + body.prompt, body.input_suffix, body.input_extra, model.tokenizer, room
        )
        self.requests = engine_requests([self._prompt.ids], body, model, max_tokens=max_tokens, samples=1)
        self.usage, self.auto = Usage(prompt_tokens=len(self._prompt.ids)), model.chooses(body)
        self._begun = time.monotonic()
        self._first_token: float | None = None
        self._tokens: list[int] = []
        self._text = ""

    async def answer(self, stream: AnswerStream) -> BaseModel:
        """Wait for the whole answer."""
        ended = [delta async for delta in self._deltas(stream)][-1]
        tokens = self._tokens if self._body.return_tokens else []
        return self._chosen(self._answer(ended, content=self._text, tokens=tokens))

    async def events(self, stream: AnswerStream) -> AsyncIterator[BaseModel]:
        """The answer in pieces, then the numbers."""
        num_shown = 0
        ended = Delta(request_id=0)
        async for ended in self._deltas(stream):
            if ended.text:
                yield InfillPiece(
                    content=ended.text,
                    # A character's first tokens come without text; its last brings them along.
                    tokens=self._tokens[num_shown:],
                    tokens_predicted=len(self._tokens),
                    tokens_evaluated=self.usage.prompt_tokens,
                )
                num_shown = len(self._tokens)
        yield self._chosen(self._answer(ended, content="", tokens=self._tokens[num_shown:]))

    async def _deltas(self, stream: AnswerStream) -> AsyncIterator[Delta]:
        """What is generated, until it ends or takes too long for an editor that waits."""
        async for _, delta in stream:
            if delta.finish_reason == "error":
                raise DerailleurError("the model or its grammar broke down for this request")
            now = time.monotonic()
            self._first_token = self._first_token or now
            self.usage.add(delta, first_sample=True)
            self._tokens += delta.tokens
            self._text += delta.text
            yield delta
            elapsed_ms = 1000 * (now - self._first_token)
            if 0 < self._body.t_max_predict_ms < elapsed_ms and "\n" in self._text:
                return

    def _answer(self, ended: Delta, *, content: str, tokens: list[int]) -> InfillAnswer:
        stop_type, word = self._ending(ended)
        return InfillAnswer(
            content=content,
            tokens=tokens,
            model=self._body.model or self._model.name,
            tokens_predicted=len(self._tokens),
            tokens_evaluated=self.usage.prompt_tokens,
            tokens_cached=self.usage.prompt_tokens_details.cached_tokens,
            generation_settings=self._body.model_dump(include=set(_SETTINGS))
            | {"n_ctx": self._model.max_context},
            prompt=self._model.tokenizer.decode(self._prompt.ids),
            has_new_line="\n" in self._text,
            truncated=self._prompt.truncated,
            stop_type=stop_type,
            stopping_word=word,
            timings=self._timings(),
            **writer(self.requests[0], self._model),
        )

    def _ending(self, ended: Delta) -> tuple[Literal["eos", "word", "limit"], str]:
        """Why the text ended, and before which stop string."""
        if ended.finish_reason != "stop":
            return "limit", ""
        written = self._model.tokenizer.decode(self._tokens)
        words = [word for word in self._body.stop_strings if written[len(self._text) :].startswith(word)]
        return ("word", max(words, key=len)) if words else ("eos", "")

    def _timings(self) -> Timings:
        now = time.monotonic()
        prompt_ms = 1000 * ((self._first_token or now) - self._begun)
        predicted_ms = 1000 * (now - (self._first_token or now))
        cached = self.usage.prompt_tokens_details.cached_tokens
        read, written = self.usage.prompt_tokens - cached, len(self._tokens)
        return Timings(
            cache_n=cached,
            prompt_n=read,
            prompt_ms=prompt_ms,
            prompt_per_token_ms=prompt_ms / max(read, 1),
            prompt_per_second=1000 * read / max(prompt_ms, 1e-3),
            predicted_n=written,
            predicted_ms=predicted_ms,
            predicted_per_token_ms=predicted_ms / max(written, 1),
            predicted_per_second=1000 * written / max(predicted_ms, 1e-3),
        )

    def _chosen(self, answer: InfillAnswer) -> BaseModel:
        """Of the answer, what was asked for: a path gives an inner field under the path's name."""
        if self._body.response_fields is None:
            return answer
        values = answer.model_dump()
        chosen = {}
        for path in self._body.response_fields:
            found: object = values
            for name in path.split("/"):
                found = found.get(name) if isinstance(found, dict) else None
            if found is not None:
                chosen[path] = found
        return ChosenFields(chosen)
