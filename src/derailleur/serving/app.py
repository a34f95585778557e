"""The HTTP application: its routes, and what stands before them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer

from derailleur import __version__
from derailleur.serving import failures
from derailleur.serving.access_log import AccessLog
from derailleur.serving.answers import Answering
from derailleur.serving.chat import chat_job
from derailleur.serving.chat_protocol import ChatCompletion, ChatRequest
from derailleur.serving.completions import CompletionJob
from derailleur.serving.fim import FimRequest, fim_job
from derailleur.serving.gate import Gate, Traffic
from derailleur.serving.infill import InfillJob
from derailleur.serving.infill_protocol import ChosenFields, InfillAnswer, InfillRequest
from derailleur.serving.keys import KeyRing
from derailleur.serving.metrics import Metrics
from derailleur.serving.protocol import Completion, CompletionRequest
from derailleur.serving.reference import reference_page
from derailleur.serving.served_model import ServedModel, UnknownModelError
from derailleur.serving.tokenization import (
    Content,
    DetokenizeRequest,
    TokenizeRequest,
    Tokens,
    detokenize,
    tokenize,
)
from derailleur.serving.worker import EngineWorker

_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `stream`, server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "description": "An event.",
                    "properties": {"data": {"type": "string", "description": "A piece of the answer, JSON."}},
                    "required": ["data"],
                }
            }
        },
    }
}
_LOAD_SECONDS = 5.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}


def create_app(
    model: ServedModel,
    worker: EngineWorker,
    *,
    keys: KeyRing | None = None,
    access_log: AccessLog | None = None,
    traffic: Traffic | None = None,
) -> FastAPI:
    """The application for one model.

    Args:
        worker: started and stopped with the application.
        keys: one of these must come with every call but of the page and /health; if there are none, no key
            is needed.
        access_log: grows by a line a call.
        traffic: what the application is busy with, for a server that wants to end it in peace.
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
        # FastAPI's pages load scripts from another host; /docs is ours.
        docs_url=None,
        redoc_url=None,
    )
    metrics, traffic = Metrics(target=model.auto.target if model.auto else None), traffic or Traffic()
    app.include_router(_open_routes(worker, traffic))
    # The gate checks keys before it reads a body; this only tells the interface's description of them.
    protected = [Depends(HTTPBearer(auto_error=False))] if keys else []
    texts = _text_routes(model, Answering(model, worker, metrics))
    for router in (_model_routes(model), texts, _metrics_route(worker, metrics)):
        app.include_router(router, dependencies=protected, responses=failures.DOCUMENTED)
    failures.add_handlers(app)
    app.add_middleware(
        Gate,
        keys=keys or KeyRing(),
        body_bytes=model.limits.body_bytes,
        traffic=traffic,
        metrics=metrics,
        log=access_log,
    )
    return app


def _open_routes(worker: EngineWorker, traffic: Traffic) -> APIRouter:
    router = APIRouter()
    page = resources.files("derailleur.serving").joinpath("page.html").read_text(encoding="utf-8")

    @router.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    @router.get("/docs", include_in_schema=False)
    async def reference(http: Request) -> HTMLResponse:
        return HTMLResponse(reference_page(http.app.openapi()), headers=_PAGE_HEADERS)

    @router.get("/health")
    async def health() -> JSONResponse:
        """Whether new requests are answered, and what the engine is busy with."""
        if traffic.draining:
            return JSONResponse({"status": "shutting down"}, status_code=503)
        try:
            load = await asyncio.wait_for(worker.load(), _LOAD_SECONDS)
        except TimeoutError:
            return JSONResponse({"status": "the engine does not answer"}, status_code=503)
        return JSONResponse(
            {
                "status": "ok",
                "running": load.running,
                "waiting": load.waiting,
                "limited_by": load.limited_by,
                "state_bytes": dict(load.used_bytes),
                "prefix_cache_bytes": load.cached_bytes,
                "state_memory_bytes": load.budget_bytes,
            }
        )

    return router


def _metrics_route(worker: EngineWorker, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Counters, gauges and histograms in Prometheus' text format."""
        try:
            load = await asyncio.wait_for(worker.load(), _LOAD_SECONDS)
        except TimeoutError:
            # An engine that hangs is when its counters are needed most.
            load = None
        return Response(metrics.text(load), media_type=_METRICS_TYPE)

    return router


def _model_routes(model: ServedModel) -> APIRouter:
    router = APIRouter(prefix="/v1")

    def described(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": model.created,
            "owned_by": "derailleur",
            # Clients that look for a bound to their prompts look for one of these.
            "max_model_len": model.max_context,
            "context_length": model.max_context,
        }

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The model, and the model at each of its presets."""
        return {"object": "list", "data": [described(name) for name in model.names]}

    @router.get("/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        """One of the names under which the model is served."""
        if name not in model.names:
            raise UnknownModelError(f"model '{name}' does not exist; this server has '{model.name}'")
        return described(name)

    @router.get("/presets")
    async def presets() -> dict[str, Any]:
        """The presets with their placements, quality and speed."""
        return {
            "object": "list",
            "model": model.name,
            "default": model.default_preset,
            "auto": model.auto and {"candidates": model.auto.candidates, **asdict(model.auto.target)},
            "draft": str(model.draft) if model.draft else None,
            "infill": model.tokenizer.fim is not None,
            "chat": model.chat_template is not None,
            "max_context": model.max_context,
            "data": [preset.model_dump(mode="json") for preset in model.presets.details],
        }

    return router


def _text_routes(model: ServedModel, answering: Answering) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions", response_model=Completion, responses=_STREAMED)
    async def completions(body: CompletionRequest, http: Request) -> Response:
        """Continue prompts, or fill in between prompt and suffix."""
        # Tokenizing a long prompt must not hold up other clients' streams.
        job = await asyncio.to_thread(CompletionJob, body, model)
        return await answering.respond(job, http, stream=body.stream)

    @router.post("/v1/chat/completions", response_model=ChatCompletion, responses=_STREAMED)
    async def chat(body: ChatRequest, http: Request) -> Response:
        """Answer the last message of a conversation."""
        job = await asyncio.to_thread(chat_job, body, model)
        return await answering.respond(job, http, stream=body.stream)

    @router.post("/v1/fim/completions", response_model=ChatCompletion, responses=_STREAMED)
    async def fim(body: FimRequest, http: Request) -> Response:
        """Fill in between prompt and suffix, as Mistral's clients ask for it."""
        job = await asyncio.to_thread(fim_job, body, model)
        return await answering.respond(job, http, stream=body.stream)

    @router.post("/infill", response_model=InfillAnswer | ChosenFields, responses=_STREAMED)
    async def infill(body: InfillRequest, http: Request) -> Response:
        """Fill in at the cursor, as clients of llama.cpp's server ask for it."""
        job = await asyncio.to_thread(InfillJob, body, model)
        return await answering.respond(job, http, stream=body.stream)

    @router.post("/tokenize", response_model=Tokens)
    async def tokens_of(body: TokenizeRequest) -> Tokens:
        """The token ids of a text."""
        return await asyncio.to_thread(tokenize, body, model.tokenizer)

    @router.post("/detokenize", response_model=Content)
    async def text_of(body: DetokenizeRequest) -> Content:
        """The text of token ids."""
        return await asyncio.to_thread(detokenize, body, model.tokenizer)

    return router
