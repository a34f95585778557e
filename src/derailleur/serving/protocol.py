"""What clients send and get: OpenAI's completions protocol and our extensions to it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TokenId = Annotated[int, Field(ge=0)]


MAX_PROMPTS, MAX_STOPS, MAX_STOP_LENGTH = 128, 16, 256
"""Bounds on one request, so that none can hold up the engine's thread for all others."""


class StreamOptions(BaseModel):
    """What a stream contains beside text."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = Field(False, description="End the stream with a chunk that holds the usage.")


class CompletionRequest(BaseModel):
    """The body of POST /v1/completions."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="NAME or NAME@PRESET as listed by /v1/models.")
    prompt: str | list[str] | list[TokenId] | list[list[TokenId]] = Field(
        "", description="Text or token ids to continue; several are continued independently."
    )
    suffix: str | None = Field(None, description="Text after the cursor; the answer is what belongs between.")
    max_tokens: int = Field(16, ge=0, description="Most tokens to generate.")
    temperature: float = Field(1.0, ge=0, le=2, description="0 takes the likeliest token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Only the likeliest tokens that sum to this probability."
    )
    top_k: int = Field(0, ge=0, description="Only this many likeliest tokens; 0 keeps all.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="Makes the answer repeatable.")
    stop: str | list[str] | None = Field(None, description="The text ends before the first of these.")
    n: int = Field(1, ge=1, le=32, description="Answers per prompt.")
    logprobs: int | None = Field(None, ge=0, le=20, description="Report this many likeliest tokens.")
    echo: bool = Field(False, description="Begin the answer with the prompt.")
    stream: bool = Field(False, description="Send the text as it comes, as server-sent events.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Not used.")

    preset: str | None = Field(None, description="Ours: the preset that writes the text.")
    placement: str | None = Field(None, description="Ours: any placement, such as 'FSSG' or 'all-gdn'.")
    draft: str | None = Field(
        None, description="Ours: a preset or placement that drafts for it; 'none' switches drafting off."
    )

    best_of: int | None = Field(None, description="Accepted if it equals n.")
    presence_penalty: float = Field(0, description="Accepted if it is 0.")
    frequency_penalty: float = Field(0, description="Accepted if it is 0.")
    logit_bias: dict[str, float] | None = Field(None, description="Accepted if it is empty.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: Any) -> Any:
        """OpenAI's protocol lets a client send null for the default."""
        if not isinstance(body, dict):
            return body
        return {key: value for key, value in body.items() if value is not None}

    @field_validator("presence_penalty", "frequency_penalty", "logit_bias")
    @classmethod
    def _not_supported(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported")
        return value

    @model_validator(mode="after")
    def _combinations(self) -> "CompletionRequest":
        if len(self.prompts) > MAX_PROMPTS:
            raise ValueError(f"prompt holds {len(self.prompts)} prompts; at most {MAX_PROMPTS} are allowed")
        if len(self.stop_strings) > MAX_STOPS or any(len(s) > MAX_STOP_LENGTH for s in self.stop_strings):
            raise ValueError(f"stop: at most {MAX_STOPS} strings of {MAX_STOP_LENGTH} characters are allowed")
        if self.prompt == []:
            raise ValueError("prompt is an empty list; expected at least one prompt, or at least one token")
        if self.best_of not in (None, self.n):
            raise ValueError(f"best_of is only supported equal to n ({self.n})")
        if self.suffix is not None and self.echo:
            raise ValueError("echo and suffix do not go together")
        if self.suffix is not None and not _is_text(self.prompt):
            raise ValueError("suffix needs a prompt of text, not of token ids")
        if len([name for name in (self.preset, self.placement) if name is not None]) > 1:
            raise ValueError("give preset or placement, not both")
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts as a list, each of one kind."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]

    @property
    def stop_strings(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


def _is_text(prompt: str | list) -> bool:
    return isinstance(prompt, str) or all(isinstance(part, str) for part in prompt)


class Logprobs(BaseModel):
    """Log-probabilities of a choice's tokens, as parallel lists."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    text_offset: list[int] = []


class SpeculationStatistics(BaseModel):
    """Ours: how well the drafts were accepted."""

    drafted: int
    accepted: int
    acceptance_rate: float = Field(description="accepted / drafted")
    acceptance_length: float = Field(description="Mean tokens per verify step.")


class Choice(BaseModel):
    """One answer, or a piece of it."""

    index: int
    text: str = ""
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None
    speculation: SpeculationStatistics | None = None


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Completion(BaseModel):
    """The answer of POST /v1/completions; a stream consists of several."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    placement: str = Field(description="Ours: the placement that wrote the text.")
    draft: str | None = Field(None, description="Ours: the placement that drafted.")


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's shape of an error."""

    error: ErrorDetail
