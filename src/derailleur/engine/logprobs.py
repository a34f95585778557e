"""Log-probabilities of chosen tokens, of prompts, and of the alternatives."""

from collections.abc import Sequence

import torch
from torch import Tensor

from derailleur.engine.active import Work
from derailleur.engine.request import TokenLogprob


def token_logprobs(logits: Tensor, tokens: Sequence[int], num_top: int) -> list[TokenLogprob]:
    """The untempered log-probability of one token per row.

    Args:
        logits: [rows, vocab].
        tokens: the token of each row.
        num_top: how many of the likeliest tokens to report beside it.
    """
    logprobs = logits.float().log_softmax(-1)
    index = torch.tensor(tokens, dtype=torch.int64, device=logits.device)
    chosen = logprobs.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    values, indices = logprobs.topk(min(num_top, logits.shape[-1]))
    rows = zip(tokens, chosen.tolist(), indices.tolist(), values.tolist(), strict=True)
    return [TokenLogprob(token, own, list(zip(ids, top, strict=True))) for token, own, ids, top in rows]


def prompt_logprobs(work: Work, logits: Tensor) -> list[TokenLogprob]:
    """Of the prompt's tokens that a piece of it predicts; the first token of a prompt has none.

    A request that gave way reads its prompt again, but reports no token twice.

    Args:
        work: after its step.
        logits: [tokens of the piece, vocab].
    """
    active = work.active
    prompt, start = active.request.prompt, active.state.length - len(work.piece.tokens)
    first = [TokenLogprob(prompt[0], None)] if start == 0 else []
    predicted = prompt[start + 1 : active.state.length + 1]
    num_top = active.request.sampling.logprobs or 0
    entries = first + token_logprobs(logits[: len(predicted)], predicted, num_top)
    fresh = entries[max(active.num_reported - (start + 1 - len(first)), 0) :]
    active.num_reported += len(fresh)
    return fresh
