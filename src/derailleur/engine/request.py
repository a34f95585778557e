"""What is asked of the engine, and what it answers: requests, deltas, generations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from derailleur.engine.grammar import Grammar
from derailleur.engine.sampling import GREEDY, Sampling
from derailleur.placement.placement import Placement

FinishReason = Literal["stop", "length", "cancelled", "error"]

NGRAM: Literal["ngram"] = "ngram"
"""Drafts are copied from where the text said the same before."""

DraftSource = Placement | Literal["ngram"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt to be continued.

    Attributes:
        prompt: token ids, at least one.
        placement: the mixers that write the text.
        max_tokens: how many tokens to generate at most; 0 only reads the prompt.
        min_tokens: how many tokens to generate before the text may end by one of its ending tokens.
        grammar: what the text must look like; it ends where nothing can follow any more.
        draft: what proposes tokens for `placement` to verify: another placement, or `NGRAM`.
        stop: the text ends before the first of these strings.
        stop_tokens: the text ends before the first of these tokens, as it does before the end-of-text token.
        ignore_eos: go on after the end-of-text token, up to `max_tokens`.
        prompt_logprobs: report the log-probability of each prompt token too.
    """

    prompt: Sequence[int]
    placement: Placement
    max_tokens: int
    sampling: Sampling = GREEDY
    min_tokens: int = 0
    grammar: Grammar | None = None
    draft: DraftSource | None = None
    stop: Sequence[str] = ()
    stop_tokens: frozenset[int] = frozenset()
    ignore_eos: bool = False
    prompt_logprobs: bool = False


@dataclass(frozen=True)
class TokenLogprob:
    """The log-probability of one token, and the likeliest tokens in its place.

    Attributes:
        logprob: natural logarithm, untempered; None for the first token of a prompt.
        top: pairs of token and log-probability, the likeliest first.
    """

    token: int
    logprob: float | None
    top: Sequence[tuple[int, float]] = ()


@dataclass
class Speculation:
    """How well a request's drafts were accepted.

    Attributes:
        steps: verify steps.
        drafted, accepted: tokens that were proposed, and those that the target kept.
    """

    steps: int = 0
    drafted: int = 0
    accepted: int = 0

    @property
    def acceptance_rate(self) -> float:
        """accepted / drafted."""
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def acceptance_length(self) -> float:
        """Mean tokens per verify step, the target's own next token included."""
        return 1 + self.accepted / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class Delta:
    """What one step added to one request.

    Attributes:
        text: decoded text that no stop string can take back any more.
        num_accepted: how many of the tokens, from the first on, a draft proposed.
        num_cached: on the first delta of a request, tokens of its prompt that were remembered, not read.
        logprobs: one entry a token, the prompt's first, where they were asked for.
        finish_reason: set on the last delta of a request.
        speculation: set on the last delta of a request with a draft.
    """

    request_id: int
    tokens: Sequence[int] = ()
    text: str = ""
    num_accepted: int = 0
    num_cached: int | None = None
    logprobs: Sequence[TokenLogprob] = ()
    finish_reason: FinishReason | None = None
    speculation: Speculation | None = None


@dataclass
class Generation:
    """A whole answer.

    Attributes:
        tokens: the generated ids, with the token that ended the text.
        text: their text, without special tokens, cut before a stop string.
    """

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason = "length"
    logprobs: list[TokenLogprob] = field(default_factory=list)
    speculation: Speculation | None = None

    def add(self, delta: Delta) -> None:
        """Append what a step added."""
        self.tokens.extend(delta.tokens)
        self.text += delta.text
        self.logprobs.extend(delta.logprobs)
        self.speculation = delta.speculation
        if delta.finish_reason:
            self.finish_reason = delta.finish_reason
