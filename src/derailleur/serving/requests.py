"""From what a client asked for to requests of the engine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from derailleur.engine import Request, Sampling
from derailleur.serving.protocol import GenerationRequest
from derailleur.serving.served_model import ServedModel


def engine_requests(
    prompts: Sequence[Sequence[int]],
    body: GenerationRequest,
    model: ServedModel,
    *,
    max_tokens: int,
    samples: int,
    logprobs: int | None = None,
    prompt_logprobs: bool = False,
) -> list[Request]:
    """The samples of every prompt, one prompt after the other.

    Where the server chooses the placement, they are written for the best one until it does.

    Raises:
        UserError: if the model, the placement or the draft does not exist, or too much is asked for.
    """
    placement = model.placement(body)
    draft = model.draft_for(body, placement)
    longest = max(map(len, prompts))
    model.limits.check(prompt_tokens=longest, max_tokens=max_tokens, samples=samples)
    return [
        Request(
            prompt=prompt,
            placement=placement,
            draft=draft,
            max_tokens=max_tokens,
            min_tokens=body.min_tokens,
            grammar=body.grammar,
            sampling=_sampling(body, sample, logprobs),
            stop=body.stop_strings,
            stop_tokens=model.control_ids,
            prompt_logprobs=prompt_logprobs,
        )
        for prompt in prompts
        for sample in range(samples)
    ]


class Writer(TypedDict):
    """What wrote an answer, as the answer says it."""

    preset: str
    placement: str
    draft: str | None


def writer(request: Request, model: ServedModel) -> Writer:
    """Of the answer to a request that the engine took on."""
    return Writer(
        preset=model.preset_of(request.placement),
        placement=str(request.placement),
        draft=str(request.draft) if request.draft else None,
    )


def _sampling(body: GenerationRequest, sample: int, logprobs: int | None) -> Sampling:
    made = Sampling(
        temperature=body.temperature,
        min_p=body.min_p,
        top_k=body.top_k,
        top_p=body.top_p,
        repetition_penalty=body.repetition_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        logit_bias=body.logit_bias,
        seed=body.seed,
        logprobs=logprobs,
    )
    # The samples of one seed differ from each other, and the first does not depend on their number.
    return made if body.seed is None else replace(made, seed=body.seed + sample)
