"""Errors in OpenAI's shape, with the status that their clients expect."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from derailleur.errors import CapacityError, DerailleurError, PlacementError, UserError
from derailleur.serving.access_log import Call
from derailleur.serving.protocol import ErrorBody, ErrorDetail
from derailleur.serving.refusals import BodyTooLargeError, RefusedError, SlowBodyError
from derailleur.serving.served_model import UnknownModelError

INVALID, SERVER, INTERNAL = "invalid_request_error", "server_error", "internal_error"

_REFUSED = {
    400: "The request is not valid.",
    401: "No valid API key.",
    404: "No such model or route.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    429: "Too many requests; Retry-After says when to try again.",
    503: "The engine failed, or the server is shutting down.",
    504: "The request took longer than one may.",
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    # "default" keeps the framework from documenting its own shape of validation errors.
    "default": {"model": ErrorBody, "description": "Any other error."},
    **{status: {"model": ErrorBody, "description": text} for status, text in _REFUSED.items()},
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


def refusal(call: Call, error: RefusedError) -> JSONResponse:
    """The answer to a call that is refused."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if isinstance(error, BodyTooLargeError | SlowBodyError):
        headers["Connection"] = "close"  # what is left of the body is not read
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(math.ceil(error.retry_after_seconds), 1))
    return _answer(call, error.status, describe(error), headers)


def describe(error: DerailleurError) -> ErrorBody:
    """One of our errors as clients read it."""
    message = str(error)
    if isinstance(error, RefusedError):
        return body(message, type=error.type, code=error.code)
    if isinstance(error, UnknownModelError):
        return body(message, param="model", code="model_not_found")
    if isinstance(error, CapacityError):
        return body(message, code="context_length_exceeded")
    if isinstance(error, PlacementError):
        return body(message, param="preset")
    return body(message, type=INVALID if isinstance(error, UserError) else SERVER)


def reason(error: ErrorBody) -> str:
    """Why a call was refused, in one word, for metrics and logs."""
    return error.error.code or error.error.type


def _answer(call: Call, status: int, error: ErrorBody, headers: Any = None) -> JSONResponse:
    call.reason = reason(error)
    return JSONResponse(error.model_dump(), status_code=status, headers=headers)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"] if part != "body")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown field"
    answer = body(f"{param}: {message}" if param else message, param=param or None)
    return _answer(request.state.call, 400, answer)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    code = "not_found" if error.status_code == 404 else None
    return _answer(request.state.call, error.status_code, body(str(error.detail), code=code), error.headers)


async def _ours(request: Request, error: DerailleurError) -> JSONResponse:
    if isinstance(error, RefusedError):
        return refusal(request.state.call, error)
    status = 404 if isinstance(error, UnknownModelError) else 400
    if not isinstance(error, UserError | CapacityError):
        status = 503
    return _answer(request.state.call, status, describe(error))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    answer = body("an internal error; the server's log has the details", type=SERVER, code=INTERNAL)
    return _answer(request.state.call, 500, answer)
