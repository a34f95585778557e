"""Mistral's fill-in-the-middle, which editors speak too: a prompt and a suffix, answered as chat is."""

from pydantic import AliasChoices, Field

from derailleur.serving.chat import MessageJob
from derailleur.serving.protocol import GenerationRequest
from derailleur.serving.served_model import ServedModel
from derailleur.tokens import infill_prompt


class FimRequest(GenerationRequest):
    """The body of POST /v1/fim/completions."""

    prompt: str = Field(description="Text before the cursor.")
    suffix: str = Field("", description="Text after the cursor.")
    max_tokens: int | None = Field(None, ge=1, description="Most tokens to generate; 256 if absent.")
    max_completion_tokens: int | None = Field(None, ge=1, description="Another name of max_tokens.")
    seed: int | None = Field(
        None,
        ge=-(2**63),
        lt=2**63,
        validation_alias=AliasChoices("random_seed", "seed"),
        description="Makes the answer repeatable.",
    )


def fim_job(body: FimRequest, model: ServedModel) -> MessageJob:
    """What belongs between prompt and suffix.

    Raises:
        CheckpointError: if the tokenizer has no fill-in-the-middle tokens.
    """
    max_tokens = model.filling_tokens(body.max_completion_tokens or body.max_tokens)
    ids = infill_prompt(body.prompt, body.suffix, model.tokenizer, model.prompt_room(max_tokens)).ids
    return MessageJob(ids, body, model, max_tokens=max_tokens)
