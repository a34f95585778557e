"""Errors in OpenAI's shape, with the status that their clients expect."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from derailleur.errors import CapacityError, DerailleurError, PlacementError, UserError
from derailleur.serving.protocol import ErrorBody, ErrorDetail
from derailleur.serving.served_model import UnknownModelError

INVALID, SERVER = "invalid_request_error", "server_error"

DOCUMENTED: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "The request is not valid."},
    401: {"model": ErrorBody, "description": "No valid API key."},
    404: {"model": ErrorBody, "description": "No such model."},
    503: {"model": ErrorBody, "description": "The engine failed or is shutting down."},
}


def body(
    message: str, *, type: str = INVALID, param: str | None = None, code: str | None = None
) -> ErrorBody:
    """An error as clients read it."""
    return ErrorBody(error=ErrorDetail(message=message, type=type, param=param, code=code))


def add_handlers(app: FastAPI) -> None:
    """Answer every error in OpenAI's shape."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]] = {
        RequestValidationError: _invalid,
        HTTPException: _http,
        DerailleurError: _ours,
        Exception: _unexpected,
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)


def _answer(status: int, error: ErrorBody, headers: Any = None) -> JSONResponse:
    return JSONResponse(error.model_dump(), status_code=status, headers=headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"] if part != "body")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown field"
    return _answer(400, body(f"{param}: {message}" if param else message, param=param or None))


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    code = "invalid_api_key" if error.status_code == 401 else None
    return _answer(error.status_code, body(str(error.detail), code=code), error.headers)


async def _ours(request: Request, error: DerailleurError) -> JSONResponse:
    message = str(error)
    if isinstance(error, UnknownModelError):
        return _answer(404, body(message, param="model", code="model_not_found"))
    if isinstance(error, CapacityError):
        return _answer(400, body(message, code="context_length_exceeded"))
    if isinstance(error, PlacementError):
        return _answer(400, body(message, param="preset"))
    if isinstance(error, UserError):
        return _answer(400, body(message))
    return _answer(503, body(message, type=SERVER))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, body("an internal error; the server's log has the details", type=SERVER))
