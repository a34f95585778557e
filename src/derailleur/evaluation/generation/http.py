"""Asking an OpenAI-compatible server over HTTP: keys, time limits, attempts; not what is asked."""

import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from derailleur.config import Config
from derailleur.errors import ConfigError, DerailleurError, UserError

_AGAIN = frozenset({408, 429, 500, 502, 503, 504, 529})
_TOO_LONG = ("context", "too long", "maximum length")
_LONGEST_PAUSE_SECONDS = 60.0
_TOLD_PAUSE_SECONDS = 4.0
"""Whoever waits longer is told for what."""

_DETAIL_CHARACTERS, _SHOWN_CHARACTERS = 300, 60

log = logging.getLogger(__name__)


class ServerConfig(Config):
    """How an OpenAI-compatible server is asked."""

    url: str | None = Field(None, description="address, with or without the path /v1")
    model_name: str | None = Field(None, description="which of its models; the first one if absent")
    api_key_env: str | None = Field(None, description="environment variable that holds the API key")
    concurrency: int = Field(8, gt=0, description="requests under way at once")
    timeout_seconds: float = Field(600.0, gt=0, description="until an attempt counts as lost, seconds")
    attempts: int = Field(8, gt=0, description="tries of a request while the server is busy or away")
    max_n: int = Field(16, gt=0, description="samples of one problem asked for in one request, at most")
    max_stops: int = Field(
        64, gt=0, description="stop strings sent, at most (OpenAI's own server takes 4); all cut the answer"
    )


def is_url(text: str) -> bool:
    """Whether a text names a server rather than a file."""
    return text.startswith(("http://", "https://"))


class ContextExceededError(UserError):
    """The server says that a prompt and its answer do not fit into its context."""


class Server:
    """A server and the key for it.

    Attributes:
        url: without the path `/v1`.
    """

    def __init__(self, config: ServerConfig) -> None:
        if not _is_address(config.url or ""):
            raise ConfigError(f"server.url: expected http://HOST or https://HOST:PORT, got {config.url!r}")
        name = config.api_key_env
        if name and not os.environ.get(name):
            raise ConfigError(f"server.api_key_env: the environment has no {name}")
        self.url = (config.url or "").rstrip("/").removesuffix("/v1")
        self.config = config

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET the JSON object at `/v1/PATH`, or POST `body` there.

        Raises:
            ContextExceededError: if the prompt is too long.
            UserError: if the server refuses the request for another reason.
            DerailleurError: if all attempts failed.
        """
        url = f"{self.url}/v1/{path}"
        failure = ""
        for pause in _pauses(self.config.attempts):
            try:
                return self._attempt(url, body)
            except urllib.error.HTTPError as error:
                failure = _detail(error)
                if error.code not in _AGAIN:
                    raise _refusal(url, error.code, failure) from None
                pause = max(pause, _retry_after(error))
            except (OSError, http.client.HTTPException, ValueError) as error:
                failure = str(getattr(error, "reason", error)) or type(error).__name__
            if pause >= _TOLD_PAUSE_SECONDS:
                log.warning("%s: %s; asked again in %.0f s", url, failure, pause)
            time.sleep(pause)
        raise DerailleurError(f"{url}: failed {self.config.attempts} times, at last: {failure}")

    def _attempt(self, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.config.api_key_env:
            headers["Authorization"] = f"Bearer {os.environ[self.config.api_key_env]}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers)  # noqa: S310 the scheme was checked
        with _OPENER.open(request, timeout=self.config.timeout_seconds) as answer:
            value = _parsed(answer.read())
        if not isinstance(value, dict):
            raise ValueError(f"expected a JSON object, got {type(value).__name__}")
        return value


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0  # the port is read here
    except ValueError:
        return False
    return is_url(url) and has_host and url.isascii() and " " not in url


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        shown = " ".join(body.decode(errors="replace").split())[:_SHOWN_CHARACTERS]
        raise ValueError(f"the answer is not JSON: '{shown}'") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key is for the server that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _pauses(attempts: int) -> Iterator[float]:
    """After each attempt: twice as long each time, and drawn so that clients do not come back together."""
    for attempt in range(attempts):
        is_last = attempt == attempts - 1
        yield 0.0 if is_last else min(2.0**attempt, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds that the server asks to wait, if it asks in seconds."""
    said = error.headers.get("Retry-After", "")
    return min(float(said), _LONGEST_PAUSE_SECONDS) if said.isdecimal() else 0.0


def _refusal(url: str, status: int, detail: str) -> UserError:
    if status in (400, 413, 422) and any(word in detail.lower() for word in _TOO_LONG):
        return ContextExceededError(f"{url}: {detail}")
    return UserError(f"{url}: refused with status {status}: {detail}")


def _detail(error: urllib.error.HTTPError) -> str:
    """What the body says went wrong, on one line."""
    text = error.read().decode(errors="replace")
    try:
        said = json.loads(text)
        said = said.get("error", said.get("message", said.get("detail", text)))
        text = str(said.get("message", said) if isinstance(said, dict) else said)
    except (ValueError, AttributeError):  # not JSON, or no object
        pass
    line = " ".join(text.split())
    return line[:_DETAIL_CHARACTERS] or str(error.reason)
