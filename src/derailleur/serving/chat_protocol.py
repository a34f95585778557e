"""What clients of /v1/chat/completions send and get."""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from derailleur.serving.pieces import TextPiece
from derailleur.serving.protocol import (
    FinishReason,
    GenerationRequest,
    SpeculationStatistics,
    Usage,
    in_our_words,
)

_NO_EFFECT = frozenset(
    {
        *("metadata", "parallel_tool_calls", "reasoning_effort", "service_tier", "store", "tool_choice"),
        *("cache_prompt", "repeat_last_n", "samplers", "t_max_predict_ms", "t_max_prompt_ms", "typical_p"),
        *("dry_allowed_length", "dry_base", "dry_multiplier", "dry_penalty_last_n", "timings_per_token"),
        *("dynatemp_exponent", "dynatemp_range", "xtc_probability", "xtc_threshold"),
        *("id_slot", "lora", "response_fields"),
    }
)
"""Sent by default by clients of OpenAI and of llama.cpp's server; what they set is not there to be set."""


class TextPart(BaseModel):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation; what else it has is handed to the template."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(min_length=1, description="system, user, assistant, or what the template knows.")
    content: str | list[TextPart] | None = Field(None, description="The text, whole or in parts.")

    def plain(self) -> dict[str, Any]:
        """As templates expect it: the content one text."""
        content = self.content
        text = "".join(part.text for part in content) if isinstance(content, list) else content
        return self.model_dump(exclude_none=True) | {"content": text}


class ChatRequest(GenerationRequest):
    """The body of POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, description="The conversation so far.")
    max_tokens: int | None = Field(
        None,
        ge=0,
        description="Most tokens to generate; what the context leaves if absent; 0 only reads the messages.",
    )
    max_completion_tokens: int | None = Field(None, ge=1, description="Newer name of max_tokens.")
    logprobs: bool = Field(False, description="Report the log-probability of each token.")
    top_logprobs: int | None = Field(None, ge=0, le=20, description="And this many likeliest tokens.")
    tools: list[Any] | None = Field(None, description="Accepted if it is empty.")

    @model_validator(mode="before")
    @classmethod
    def _without_effect(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        body = {"max_tokens" if key == "n_predict" else key: value for key, value in body.items()}
        # -1 is how clients of llama.cpp's server say that there is no bound.
        unbounded = {"max_tokens"} if body.get("max_tokens") == -1 else set()
        return in_our_words({key: v for key, v in body.items() if key not in _NO_EFFECT | unbounded})

    @field_validator("tools")
    @classmethod
    def _no_tools(cls, tools: list[Any] | None) -> list[Any] | None:
        if tools:
            raise ValueError("tools are not supported")
        return tools

    @model_validator(mode="after")
    def _top_needs_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs")
        return self


class ChatTokenLogprob(BaseModel):
    """A token and its log-probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(ChatTokenLogprob):
    """A generated token, and the likeliest in its place."""

    top_logprobs: list[ChatTokenLogprob] = []


class ChatLogprobs(BaseModel):
    """One entry a generated token."""

    content: list[ChatLogprob] = []


class AnswerMessage(BaseModel):
    """What the model wrote."""

    role: Literal["assistant"] = "assistant"
    content: str = ""


class AnswerDelta(BaseModel):
    """A piece of it; the first one has the role."""

    role: Literal["assistant"] | None = None
    content: str = ""

    @model_serializer(mode="wrap")
    def _role_only_once(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Clients of OpenAI's protocol take a role that is there for the beginning of a message."""
        return {name: value for name, value in serialize(self).items() if value is not None}


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage = Field(default_factory=AnswerMessage)
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    speculation: SpeculationStatistics | None = None


class ChatChunkChoice(BaseModel):
    """A piece of one answer."""

    index: int
    delta: AnswerDelta = Field(default_factory=AnswerDelta)
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None
    speculation: SpeculationStatistics | None = None
    pieces: list[TextPiece] | None = Field(
        None, description="Ours, where something drafts: the content, parted by whether a draft proposed it."
    )


class ChatAnswer(BaseModel):
    """What whole answers and their pieces have in common."""

    id: str
    created: int
    model: str
    usage: Usage | None = None
    placement: str = Field(description="Ours: the placement that wrote the text.")
    preset: str = Field(description="Ours: its name among the presets, or 'other'.")
    draft: str | None = Field(None, description="Ours: the placement that drafted.")


class ChatCompletion(ChatAnswer):
    """The answer of POST /v1/chat/completions."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[ChatChoice]


class ChatChunk(ChatAnswer):
    """A piece of a streamed answer."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChatChunkChoice]
