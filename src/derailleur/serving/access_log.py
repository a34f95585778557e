"""What is known of one call, and the log that keeps it as one JSON line. Never a word of what was asked."""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path

from derailleur.errors import ConfigError

STANDARD_OUTPUT = "-"
UNMATCHED = "unmatched"
"""The route of calls that match none: their paths are anybody's text."""


@dataclass
class Call:
    """One call of the server; those who answer it fill it in.

    Attributes:
        route: the path as it was declared, not as it was asked for.
        key: name of the API key.
        reason: why it was refused or broke off.
        auto: whether the server chose the preset.
        cached_tokens: of the prompts', those that were remembered and not read again.
        client_left: whether the client left before the end.
    """

    method: str
    route: str = UNMATCHED
    status: int = 500
    key: str | None = None
    reason: str | None = None
    preset: str | None = None
    placement: str | None = None
    draft: str | None = None
    auto: bool = False
    stream: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_token_seconds: float | None = None
    seconds: float = 0.0
    client_left: bool = False


class AccessLog:
    """A file that grows by one line a call; `-` is standard output.

    Raises:
        ConfigError: if the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            handler = (
                logging.StreamHandler(sys.stdout)
                if path == STANDARD_OUTPUT
                # Opened anew when a log rotation moves it away.
                else WatchedFileHandler(Path(path), encoding="utf-8")
            )
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened: {error.strerror}") from None
        self._log = logging.Logger("access", logging.INFO)
        self._log.addHandler(handler)

    def write(self, call: Call) -> None:
        """Append a call."""
        known = {name: value for name, value in vars(call).items() if value is not None}
        rounded = {name: round(v, 6) if isinstance(v, float) else v for name, v in known.items()}
        self._log.info(json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds")} | rounded))

    def close(self) -> None:
        """Close the file."""
        for handler in self._log.handlers:
            handler.close()
