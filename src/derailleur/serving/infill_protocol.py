"""What editors send to /infill: llama.cpp's fields, and ours for the placement."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator, model_validator

from derailleur.serving.protocol import GenerationRequest, in_our_words

MAX_EXTRA_FILES = 256


class ExtraFile(BaseModel):
    """A piece of another file."""

    model_config = ConfigDict(extra="ignore")

    filename: str = Field("", description="Its name; the model reads it before the text.")
    text: str = Field(description="What is in it.")


class InfillRequest(GenerationRequest):
    """The body of POST /infill. Fields of llama.cpp's server that mean nothing here are accepted."""

    # As llama.cpp's server does: editors send settings of its samplers, caches and slots.
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    input_prefix: str = Field("", description="Text before the cursor, up to the beginning of its line.")
    prompt: str = Field("", description="Text before the cursor in its line; comes after input_prefix.")
    input_suffix: str = Field("", description="Text after the cursor.")
    input_extra: list[ExtraFile] = Field(
        default=[], max_length=MAX_EXTRA_FILES, description="Pieces of other files, the nearest last."
    )
    n_predict: int = Field(
        -1, ge=-1, description="Most tokens to generate; -1: what the server allows; 0 only reads the prompt."
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0, unless given, takes the likeliest token.")
    top_k: int = Field(40, ge=0, description="Only this many likeliest tokens; 0 keeps all.")
    top_p: float = Field(0.95, gt=0, le=1, description="Only the likeliest that sum to this probability.")
    t_max_predict_ms: int = Field(
        0, ge=0, description="Ends at a line's end once this long after the first token, ms; 0: never."
    )
    response_fields: list[str] | None = Field(
        None, description="Give only these fields; 'timings/prompt_n' gives an inner one under that name."
    )
    return_tokens: bool = Field(False, description="Give the ids of the tokens too.")
    cache_prompt: bool = Field(True, description="Accepted; the server decides what it keeps.")
    n: Literal[1] = Field(1, description="One answer.")
    n_probs: int = Field(0, description="Accepted if it is 0.")

    @model_validator(mode="before")
    @classmethod
    def _as_llama_cpp_says_it(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        if body.get("grammar"):
            raise ValueError("grammar: not supported; use structured_outputs")
        random = {"seed"} if body.get("seed") == -1 else set()
        return in_our_words({key: value for key, value in body.items() if key not in {"grammar"} | random})

    @field_validator("n_probs")
    @classmethod
    def _no_probabilities(cls, value: int) -> int:
        if value:
            raise ValueError("not supported")
        return value


class Timings(BaseModel):
    """How long it took."""

    cache_n: int = Field(description="Tokens of the prompt that were remembered.")
    prompt_n: int = Field(description="Tokens of the prompt that were read.")
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class InfillPiece(BaseModel):
    """A piece of a streamed answer."""

    index: int = 0
    content: str
    tokens: list[int] = []
    stop: Literal[False] = False
    id_slot: int = -1
    tokens_predicted: int
    tokens_evaluated: int


class InfillAnswer(BaseModel):
    """The answer of POST /infill; in a stream its last event, without the text."""

    index: int = 0
    content: str
    tokens: list[int] = []
    stop: Literal[True] = True
    id_slot: int = -1
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int = Field(description="Of the evaluated ones, remembered and not read again.")
    generation_settings: dict[str, Any]
    prompt: str = Field(description="What the model read, special tokens spelt out.")
    has_new_line: bool
    truncated: bool = Field(description="Whether something did not fit into the context.")
    stop_type: Literal["eos", "word", "limit"]
    stopping_word: str
    timings: Timings
    placement: str = Field(description="Ours: the placement that wrote the text.")
    preset: str = Field(description="Ours: its name among the presets, or 'other'.")
    draft: str | None = Field(None, description="Ours: the placement that drafted.")


class ChosenFields(RootModel[dict[str, Any]]):
    """An answer of which only some fields were asked for."""
