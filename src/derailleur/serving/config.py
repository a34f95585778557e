"""The configuration of a server: the engine's keys, and what clients may ask of it."""

from pydantic import Field

from derailleur.config import Config
from derailleur.engine import EngineConfig
from derailleur.errors import CapacityError, UserError
from derailleur.serving.auto import AutoConfig


class LimitsConfig(Config):
    """What one request may ask for, and how much may be asked at once."""

    prompt_tokens: int | None = Field(None, ge=1, description="longest prompt, tokens; the context if absent")
    max_tokens: int | None = Field(None, ge=1, description="most tokens to generate; the context if absent")
    samples: int = Field(32, ge=1, description="most answers per prompt (n, best_of)")
    body_bytes: int = Field(4 << 20, ge=1 << 10, description="largest request body, bytes")
    request_seconds: float = Field(600, gt=0, description="longest time to answer one request, seconds")
    max_waiting: int = Field(
        256, ge=0, description="requests that may wait beside max_rows that run; further ones get 429"
    )
    grace_seconds: float = Field(
        30, ge=0, description="after SIGTERM, how long running requests may go on, seconds"
    )

    def check(self, *, prompt_tokens: int, max_tokens: int, samples: int) -> None:
        """Refuse a request that asks for too much.

        Raises:
            CapacityError: if it is too long.
            UserError: if it asks for too many answers.
        """
        if self.prompt_tokens is not None and prompt_tokens > self.prompt_tokens:
            raise CapacityError(
                f"the prompt has {prompt_tokens} tokens; this server takes at most {self.prompt_tokens}"
            )
        if self.max_tokens is not None and max_tokens > self.max_tokens:
            raise CapacityError(
                f"max_tokens is {max_tokens}; this server generates at most {self.max_tokens}"
            )
        if samples > self.samples:
            raise UserError(f"{samples} answers per prompt; this server gives at most {self.samples}")


class ServeConfig(EngineConfig):
    """Settings of the engine and of the server before it."""

    limits: LimitsConfig = Field(LimitsConfig(), description="what clients may ask for")
    auto: AutoConfig = Field(AutoConfig(), description="what the preset 'auto' promises")
