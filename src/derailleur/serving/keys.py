"""API keys: reading them, finding the one that a call came with, and what each may ask for."""

import hashlib
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from derailleur.config import Config, read_yaml
from derailleur.errors import ConfigError
from derailleur.serving.refusals import InvalidKeyError, KeyLimitError

_MINUTE_SECONDS = 60.0
_STRUCTURED = (".yaml", ".yml", ".json")


class ApiKey(Config):
    """One key and its limits."""

    name: str = Field(description="how logs call it", min_length=1)
    key: str | None = Field(None, description="the key itself", min_length=1, repr=False)
    sha256: str | None = Field(
        None,
        description="or its SHA-256, hexadecimal, so that the file holds no secret",
        pattern="^[0-9a-f]{64}$",
    )
    max_concurrency: int | None = Field(None, ge=1, description="requests answered at once")
    requests_per_minute: int | None = Field(None, ge=1, description="requests begun in any 60 seconds")

    @model_validator(mode="after")
    def _one_secret(self) -> "ApiKey":
        if (self.key is None) == (self.sha256 is None):
            raise ValueError(f"key '{self.name}': expected either key or sha256")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key."""
        return bytes.fromhex(self.sha256) if self.sha256 else _digest((self.key or "").encode())


class _KeyFile(Config):
    keys: tuple[ApiKey, ...] = Field(min_length=1)


class KeyUse:
    """How much a key asks for now and asked for in the last minute."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key
        self._num_running = 0
        self._begun: deque[float] = deque()

    @contextmanager
    def one_more(self, now: float) -> Iterator[None]:
        """Count a request while it is answered.

        Args:
            now: seconds, of a clock that never goes back.

        Raises:
            KeyLimitError: if the key may not ask for another one now.
        """
        key, begun = self._key, self._begun
        if key.max_concurrency is not None and self._num_running >= key.max_concurrency:
            raise KeyLimitError(
                f"this key may have {key.max_concurrency} requests answered at once", retry_after_seconds=1
            )
        if key.requests_per_minute is not None:
            while begun and begun[0] <= now - _MINUTE_SECONDS:
                begun.popleft()
            if len(begun) >= key.requests_per_minute:
                raise KeyLimitError(
                    f"this key may ask {key.requests_per_minute} times a minute",
                    retry_after_seconds=begun[0] + _MINUTE_SECONDS - now,
                )
            begun.append(now)
        self._num_running += 1
        try:
            yield
        finally:
            self._num_running -= 1


class KeyRing:
    """All keys of a server; one without any lets everybody in.

    Raises:
        ConfigError: if two keys have one name or one secret.
    """

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._keys = [(key.digest, key, KeyUse(key)) for key in keys]
        for what, values in (("name", [key.name for key in keys]), ("key", [key.digest for key in keys])):
            twice = next((i for i, value in enumerate(values) if value in values[:i]), None)
            if twice is not None:
                raise ConfigError(f"key '{keys[twice].name}': another one has the same {what}")

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, authorization: bytes) -> tuple[ApiKey, KeyUse]:
        """The key of an Authorization header.

        Raises:
            InvalidKeyError: if it is none of ours.
        """
        scheme, _, given = authorization.partition(b" ")
        digest = _digest(given.strip()) if scheme.lower() == b"bearer" else b""
        # Every key is compared, each in constant time: the answer's delay says nothing about them.
        matches = [secrets.compare_digest(digest, known) for known, _, _ in self._keys]
        if True not in matches:
            raise InvalidKeyError("no valid API key was given; expected 'Authorization: Bearer KEY'")
        _, key, use = self._keys[matches.index(True)]
        return key, use


def read_keys(path: Path) -> KeyRing:
    """Read a file of keys: one a line, or YAML or JSON that gives keys names and limits.

    Raises:
        ConfigError: naming the file, and the key or field that is wrong.
    """
    if path.suffix in _STRUCTURED:
        keys = _validated(path)
    else:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None
        named = [(f"line {number}", line.strip()) for number, line in enumerate(lines, start=1)]
        keys = tuple(ApiKey(name=name, key=key) for name, key in named if key)
        if not keys:
            raise ConfigError(f"{path}: no API key in it; expected one a line")
    try:
        return KeyRing(keys)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _validated(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a structured file; an error names the field, never what is in it."""
    try:
        return _KeyFile.model_validate(read_yaml(path)).keys
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where}: {message}") from None


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
