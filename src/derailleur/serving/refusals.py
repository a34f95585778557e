"""Why the server does not answer although the request may be fine: keys, limits, load, shutting down."""

from typing import ClassVar

from derailleur.errors import DerailleurError


class RefusedError(DerailleurError):
    """A refusal with what its HTTP answer needs.

    Attributes:
        status: of the HTTP answer.
        type, code: as OpenAI's clients know them; `code` is the reason in metrics and logs.
        retry_after_seconds: when another attempt makes sense, or None.
    """

    status: ClassVar[int]
    type: ClassVar[str]
    code: ClassVar[str]

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class InvalidKeyError(RefusedError):
    """No key, or an unknown one."""

    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class BodyTooLargeError(RefusedError):
    """More bytes than the server reads."""

    status, type, code = 413, "invalid_request_error", "request_too_large"


class SlowBodyError(RefusedError):
    """A body that does not arrive."""

    status, type, code = 408, "invalid_request_error", "request_timeout"


class SlowClientError(RefusedError):
    """A client that does not read what it asked for."""

    status, type, code = 408, "invalid_request_error", "slow_client"


class KeyLimitError(RefusedError):
    """A key that asks more often, or for more at once, than it may."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"


class OverloadedError(RefusedError):
    """The queue is full."""

    status, type, code = 429, "rate_limit_error", "overloaded"


class DrainingError(RefusedError):
    """The server ends; running requests are finished, new ones are not begun."""

    status, type, code = 503, "server_error", "shutting_down"


class DeadlineError(RefusedError):
    """A request that took longer than one may."""

    status, type, code = 504, "server_error", "deadline_exceeded"
