"""The HTTP application: its routes, and who may call them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from derailleur import __version__
from derailleur.errors import DerailleurError
from derailleur.serving import failures
from derailleur.serving.answers import ServerSentEvents, unless_disconnected
from derailleur.serving.completions import CompletionJob
from derailleur.serving.protocol import Completion, CompletionRequest
from derailleur.serving.served_model import ServedModel
from derailleur.serving.worker import AnswerStream, EngineWorker

_HEALTH_SECONDS = 5.0
_CLIENT_LEFT = 499
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}


def create_app(model: ServedModel, worker: EngineWorker, *, api_keys: Sequence[str] = ()) -> FastAPI:
    """The application for one model.

    Args:
        worker: started and stopped with the application.
        api_keys: one of these must come with every call under /v1; if there are none, no key is needed.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(
        title="derailleur",
        version=__version__,
        lifespan=lifespan,
        # These pages load scripts from another host; /openapi.json stays.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_open_routes(worker))
    app.include_router(_v1_routes(model, worker), dependencies=[Depends(_key_check(api_keys))])
    failures.add_handlers(app)
    return app


def _open_routes(worker: EngineWorker) -> APIRouter:
    router = APIRouter()
    page = resources.files("derailleur.serving").joinpath("page.html").read_text(encoding="utf-8")

    @router.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    @router.get("/health")
    async def health() -> JSONResponse:
        """Whether the engine answers, and what it is busy with."""
        try:
            load = await asyncio.wait_for(worker.load(), _HEALTH_SECONDS)
        except TimeoutError:
            return JSONResponse({"status": "the engine does not answer"}, status_code=503)
        return JSONResponse(
            {
                "status": "ok",
                "running": load.running,
                "waiting": load.waiting,
                "state_bytes": dict(load.used_bytes),
                "state_memory_bytes": load.budget_bytes,
            }
        )

    return router


def _v1_routes(model: ServedModel, worker: EngineWorker) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=failures.DOCUMENTED)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The model, and the model at each of its presets."""
        common = {"object": "model", "created": model.created, "owned_by": "derailleur"}
        return {"object": "list", "data": [{"id": name, **common} for name in model.names]}

    @router.get("/presets")
    async def presets() -> dict[str, Any]:
        """The presets with their placements, quality and speed."""
        return {
            "object": "list",
            "model": model.name,
            "default": model.presets.default,
            "draft": str(model.draft) if model.draft else None,
            "infill": model.tokenizer.fim is not None,
            "max_context": model.max_context,
            "data": [preset.model_dump(mode="json") for preset in model.presets.details],
        }

    @router.post("/completions", response_model=Completion)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        """Continue prompts, or fill in between prompt and suffix."""
        # Tokenizing a long prompt must not hold up other clients' streams.
        job = await asyncio.to_thread(CompletionJob, body, model)
        stream = AnswerStream(worker)
        await stream.open(job.requests)
        if body.stream:
            return ServerSentEvents(_events(job, stream), stream)
        try:
            answer = await unless_disconnected(request.receive, job.answer(stream))
        finally:
            stream.close()
        if answer is None:
            return Response(status_code=_CLIENT_LEFT)
        return Response(answer.model_dump_json(), media_type="application/json")

    return router


def _key_check(api_keys: Sequence[str]) -> Callable[[str], None]:
    keys = [key.encode() for key in api_keys]

    def check(authorization: Annotated[str, Header()] = "") -> None:
        given = authorization.removeprefix("Bearer ").encode("latin-1")  # the bytes that were sent
        # Every key is compared, each in constant time: the answer's delay says nothing about them.
        if keys and not any([secrets.compare_digest(given, key) for key in keys]):
            raise HTTPException(401, "no valid API key was given", {"WWW-Authenticate": "Bearer"})

    return check


async def _events(job: CompletionJob, stream: AnswerStream) -> AsyncIterator[str]:
    """Server-sent events; an error in mid-stream becomes the last one."""
    try:
        async for piece in job.events(stream):
            yield f"data: {piece.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"
    except DerailleurError as error:
        yield f"data: {failures.body(str(error), type=failures.SERVER).model_dump_json()}\n\n"
