"""What clients send and get: OpenAI's completions protocol and our extensions to it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from derailleur.engine import Delta, Grammar, Speculation
from derailleur.serving.pieces import TextPiece
from derailleur.serving.structured import ResponseFormat, StructuredOutputs

TokenId = Annotated[int, Field(ge=0)]
FinishReason = Literal["stop", "length", "error"]


MAX_PROMPTS, MAX_STOPS, MAX_STOP_LENGTH, MAX_BIASES = 128, 64, 256, 1024
"""Bounds on one request, so that none can hold up the engine's thread for all others."""


class StreamOptions(BaseModel):
    """What a stream contains beside text."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = Field(False, description="End the stream with a chunk that holds the usage.")
    continuous_usage_stats: bool = Field(
        False, description="As vLLM has it: every chunk holds the usage up to there."
    )


class GenerationRequest(BaseModel):
    """What every request for text can say: who writes it, how it is sampled, where it ends."""

    # NaN is no JSON, but Python's parser reads it.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str | None = Field(None, description="NAME or NAME@PRESET as listed by /v1/models.")
    temperature: float = Field(1.0, ge=0, le=2, description="0 takes the likeliest token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Only the likeliest tokens that sum to this probability."
    )
    top_k: int = Field(0, ge=0, description="Only this many likeliest tokens; 0 keeps all.")
    min_p: float = Field(
        0.0, ge=0, le=1, description="Only tokens at least this many times as probable as the likeliest one."
    )
    repetition_penalty: float = Field(
        1.0, ge=0.01, le=10, description="Above 1: tokens of the prompt and the answer become less likely."
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="Taken off the logits of tokens that the answer holds."
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="Taken off them once for every time that they stand there."
    )
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=MAX_BIASES, description="Added to logits, by token id."
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="Makes the answer repeatable.")
    stop: str | list[str] | None = Field(None, description="The text ends before the first of these.")
    min_tokens: int = Field(0, ge=0, description="No token ends the text before this many are generated.")
    response_format: ResponseFormat | None = Field(None, description="What the answer must look like.")
    structured_outputs: StructuredOutputs | None = Field(
        None, description="The same as a JSON schema, a regular expression or a grammar."
    )
    n: int = Field(1, ge=1, le=128, description="Answers per prompt.")
    stream: bool = Field(False, description="Send the text as it comes, as server-sent events.")
    stream_options: StreamOptions = Field(default_factory=StreamOptions)
    user: str | None = Field(None, description="Not used.")

    preset: str | None = Field(
        None, description="Ours: the preset that writes the text; 'auto' leaves it to the server."
    )
    placement: str | None = Field(None, description="Ours: any placement, such as 'FSSG' or 'all-gdn'.")
    draft: str | None = Field(
        None,
        description="Ours: a preset or placement that drafts for it, 'ngram' for drafts copied from the "
        "text before, or 'none' for no drafts.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: Any) -> Any:
        """OpenAI's protocol lets a client send null for the default."""
        if not isinstance(body, dict):
            return body
        return {key: value for key, value in body.items() if value is not None}

    @field_validator("stop")
    @classmethod
    def _few_short_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        strings = [stop] if isinstance(stop, str) else stop or []
        if len(strings) > MAX_STOPS or any(len(string) > MAX_STOP_LENGTH for string in strings):
            raise ValueError(f"at most {MAX_STOPS} strings of {MAX_STOP_LENGTH} characters are allowed")
        return stop

    @model_validator(mode="after")
    def _one_placement(self) -> Self:
        if self.preset is not None and self.placement is not None:
            raise ValueError("give preset or placement, not both")
        return self

    @model_validator(mode="after")
    def _one_grammar(self) -> Self:
        if self.response_format is not None and self.structured_outputs is not None:
            raise ValueError("give response_format or structured_outputs, not both")
        return self

    @property
    def grammar(self) -> Grammar | None:
        """What the answer must look like, if anything."""
        asked = self.response_format or self.structured_outputs
        return None if asked is None else asked.grammar

    @property
    def stop_strings(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class CompletionRequest(GenerationRequest):
    """The body of POST /v1/completions."""

    prompt: str | list[str] | list[TokenId] | list[list[TokenId]] = Field(
        "", description="Text or token ids to continue; several are continued independently."
    )
    suffix: str | None = Field(None, description="Text after the cursor; the answer is what belongs between.")
    max_tokens: int = Field(16, ge=0, description="Most tokens to generate.")
    logprobs: int | None = Field(None, ge=0, le=20, description="Report this many likeliest tokens.")
    echo: bool = Field(False, description="Begin the answer with the prompt.")
    best_of: int | None = Field(
        None,
        ge=1,
        le=128,
        description="Write this many answers and give the n of the highest log-probability per token.",
    )

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        if len(self.prompts) > MAX_PROMPTS:
            raise ValueError(f"prompt holds {len(self.prompts)} prompts; at most {MAX_PROMPTS} are allowed")
        if self.prompt == []:
            raise ValueError("prompt is an empty list; expected at least one prompt, or at least one token")
        if self.num_samples < self.n:
            raise ValueError(f"best_of is {self.best_of}; expected at least n ({self.n})")
        if self.num_samples > self.n and self.stream:
            raise ValueError("best_of cannot be streamed: the best are known when all are written")
        if self.suffix is not None and self.echo:
            raise ValueError("echo and suffix do not go together")
        if self.suffix is not None and not _is_text(self.prompt):
            raise ValueError("suffix needs a prompt of text, not of token ids")
        return self

    @property
    def num_samples(self) -> int:
        """Answers written per prompt, of which `n` are given."""
        return self.n if self.best_of is None else self.best_of

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts as a list, each of one kind."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]
        return self.prompt  # type: ignore[return-value]


def in_our_words(body: dict[str, Any]) -> dict[str, Any]:
    """A body of llama.cpp's server with the names that we give to what both have."""
    names = {"repeat_penalty": "repetition_penalty"}
    renamed = {names.get(key, key): value for key, value in body.items()}
    schema = renamed.pop("json_schema", None)
    return renamed if schema is None else {**renamed, "structured_outputs": {"json": schema}}


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

    @classmethod
    def of(cls, speculation: Speculation) -> Self:
        """What the engine counted."""
        return cls(
            drafted=speculation.drafted,
            accepted=speculation.accepted,
            acceptance_rate=speculation.acceptance_rate,
            acceptance_length=speculation.acceptance_length,
        )


class Choice(BaseModel):
    """One answer, or a piece of it."""

    index: int
    text: str = ""
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    speculation: SpeculationStatistics | None = None
    pieces: list[TextPiece] | None = Field(
        None, description="Ours, in streams with a draft: the text, parted by whether a draft proposed it."
    )


class PromptDetails(BaseModel):
    """What became of a prompt's tokens."""

    cached_tokens: int = Field(0, description="Remembered from earlier requests, and not read again.")


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptDetails = Field(default_factory=PromptDetails)

    def add(self, delta: Delta, *, first_sample: bool) -> None:
        """Count what a step added; the samples of a prompt have that prompt in common."""
        self.completion_tokens += len(delta.tokens)
        if first_sample:
            self.prompt_tokens_details.cached_tokens += delta.num_cached or 0

    def summed(self) -> Self:
        """With the total."""
        return self.model_copy(update={"total_tokens": self.prompt_tokens + self.completion_tokens})


class Completion(BaseModel):
    """The answer of POST /v1/completions; a stream consists of several."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    placement: str = Field(description="Ours: the placement that wrote the text.")
    preset: str = Field(description="Ours: its name among the presets, or 'other'.")
    draft: str | None = Field(None, description="Ours: what drafted.")


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's shape of an error."""

    error: ErrorDetail
