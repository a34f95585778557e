"""From a job to an HTTP answer, whole or streamed, that ends when the client leaves."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol, TypeVar

from fastapi import Request as HttpRequest
from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from derailleur.engine import Request
from derailleur.errors import DerailleurError
from derailleur.serving import failures
from derailleur.serving.access_log import Call
from derailleur.serving.metrics import Meter, Metrics
from derailleur.serving.protocol import Usage
from derailleur.serving.refusals import SlowClientError
from derailleur.serving.requests import writer
from derailleur.serving.served_model import ServedModel
from derailleur.serving.worker import AnswerStream, EngineWorker

Result = TypeVar("Result")

_CLIENT_LEFT = 499
_LAST_EVENT_SECONDS = 5.0
"""How long after a request's deadline a client may still read."""
_PRESET = "X-Derailleur-Preset"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_DONE = "data: [DONE]\n\n"


class Job(Protocol):
    """One call of one protocol: its engine requests, and how their deltas become an answer."""

    requests: list[Request]
    """What the engine is asked; what it took on, once an answer begins."""

    usage: Usage
    """Tokens of all prompts, and what became of them so far."""

    @property
    def auto(self) -> bool:
        """Whether the server chooses the placement."""
        ...

    @property
    def says_done(self) -> bool:
        """Whether a stream ends with OpenAI's [DONE]."""
        ...

    async def answer(self, stream: AnswerStream) -> BaseModel:
        """Wait for the whole answer."""
        ...

    def events(self, stream: AnswerStream) -> AsyncIterator[BaseModel]:
        """The answer in pieces."""
        ...


class Answering:
    """Runs jobs for one model."""

    def __init__(self, model: ServedModel, worker: EngineWorker, metrics: Metrics) -> None:
        self._model, self._worker, self._metrics = model, worker, metrics

    async def respond(self, job: Job, http: HttpRequest, *, stream: bool) -> Response:
        """Compute a job's answer.

        Raises:
            DerailleurError: if the engine refuses it, or fails before the first event.
        """
        call: Call = http.state.call
        meter = Meter(
            self._metrics,
            self._model.preset_of,
            num_prompt_tokens=job.usage.prompt_tokens,
            num_requests=len(job.requests),
        )
        answers = AnswerStream(self._worker, meter, seconds=self._model.limits.request_seconds)
        call.stream, call.auto, call.prompt_tokens = stream, job.auto, job.usage.prompt_tokens
        if not job.auto:
            # The log says of a call that is refused, too, what it asked for.
            self._note_writer(call, job)
        job.requests = await answers.open(job.requests, auto=job.auto)
        preset = self._note_writer(call, job)
        if job.auto:
            self._metrics.auto_choices.labels(preset).inc()
        if stream:
            return _ServerSentEvents(job, answers, meter, call, preset=preset)
        try:
            answer = await _unless_disconnected(http.receive, job.answer(answers))
        finally:
            _end(job, answers, meter, call)
        if answer is None:
            call.client_left = True
            return Response(status_code=_CLIENT_LEFT)
        return Response(answer.model_dump_json(), media_type="application/json", headers={_PRESET: preset})

    def _note_writer(self, call: Call, job: Job) -> str:
        """Tell the log what writes an answer; gives its preset."""
        wrote = writer(job.requests[0], self._model)
        call.preset, call.placement, call.draft = wrote["preset"], wrote["placement"], wrote["draft"]
        return wrote["preset"]


class _ServerSentEvents(StreamingResponse):
    """Events as they come; cancels what the engine still does when the client leaves."""

    def __init__(self, job: Job, answers: AnswerStream, meter: Meter, call: Call, *, preset: str) -> None:
        super().__init__(
            _events(job, answers, call),
            media_type="text/event-stream",
            headers=_HEADERS | {_PRESET: preset},
        )
        self._job, self._answers, self._meter, self._call = job, answers, meter, call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            sent = await _unless_disconnected(receive, self._whole(send))
            self._call.client_left = sent is None
        finally:
            _end(self._job, self._answers, self._meter, self._call)

    async def _whole(self, send: Send) -> bool:
        """Send everything, unless the client does not read it in time."""
        try:
            async with asyncio.timeout_at(self._answers.deadline + _LAST_EVENT_SECONDS):
                await self.stream_response(send)
        except TimeoutError:
            self._call.reason = SlowClientError.code
        return True


async def _events(job: Job, answers: AnswerStream, call: Call) -> AsyncIterator[str]:
    """Server-sent events; an error in mid-stream becomes the last one."""
    try:
        async for piece in job.events(answers):
            yield f"data: {piece.model_dump_json()}\n\n"
        if job.says_done:
            yield _DONE
    except DerailleurError as error:
        described = failures.describe(error)
        call.reason = failures.reason(described)
        yield f"data: {described.model_dump_json()}\n\n"


def _end(job: Job, answers: AnswerStream, meter: Meter, call: Call) -> None:
    answers.close()
    call.cached_tokens = job.usage.prompt_tokens_details.cached_tokens
    call.completion_tokens, call.first_token_seconds = meter.num_generated, meter.first_token_seconds


async def _unless_disconnected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of `work`, or None if the client leaves before; then `work` is cancelled.

    Args:
        receive: of a request whose body was read.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
