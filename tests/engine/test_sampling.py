"""Sampling: the right distribution, and the same text for the same seed in any company."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from derailleur.engine.logprobs import token_logprobs
from derailleur.engine.sampling import GREEDY, Sampling, choose

VOCAB = 12
LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 2, VOCAB), dtype=torch.float32)


def expected_distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """As on paper: temperature, then the k likeliest, then the fewest that reach p."""
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    order = sorted(range(len(logits)), key=lambda token: -weights[token])
    order = order[: sampling.top_k or None]
    total, kept = sum(weights[token] for token in order), []
    for token in order:
        kept.append(token)
        if sum(weights[t] for t in kept) >= sampling.top_p * total:
            break
    result = np.zeros(len(logits))
    result[kept] = weights[kept] / weights[kept].sum()
    return result


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.6),
        Sampling(temperature=1.5, top_k=4),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=1.2, top_k=6, top_p=0.7),
        Sampling(temperature=1.0, top_k=1),
    ],
)
def test_the_distribution_is_the_one_on_paper(sampling: Sampling) -> None:
    draws = 6000
    generator = torch.Generator().manual_seed(1)
    tokens = choose(LOGITS.expand(draws, -1), [sampling] * draws, [generator] * draws)
    counts = np.bincount(tokens, minlength=VOCAB)
    expected = expected_distribution(LOGITS.double().numpy(), sampling) * draws
    assert not counts[expected == 0].any()
    possible = expected > 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], expected[possible]).pvalue > 1e-3


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.9]),
    seed=st.integers(0, 5),
)


@given(batch=st.lists(samplings, min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_company_does_not_matter(batch: list[Sampling]) -> None:
    logits = torch.randn(len(batch), 50, generator=torch.Generator().manual_seed(3))
    together = choose(logits, batch, [sampling.generator() for sampling in batch])
    alone = [choose(logits[i : i + 1], [s], [s.generator()])[0] for i, s in enumerate(batch)]
    assert together == alone


def test_greedy_takes_the_likeliest_and_needs_no_generator() -> None:
    logits = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    assert choose(logits, [GREEDY] * 5, [None] * 5) == logits.argmax(-1).tolist()


def test_seeds_repeat_and_their_absence_does_not() -> None:
    def draw(seed: int | None) -> list[int]:
        sampling = Sampling(temperature=1.0, seed=seed)
        generator = sampling.generator()
        return choose(torch.zeros(40, 1000), [sampling] * 40, [generator] * 40)

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)


def test_impossible_tokens_are_never_drawn() -> None:
    """Even at the edges of the uniform number: tokens of probability zero at both ends."""
    logits = torch.full((2000, 4), -torch.inf)
    logits[:, 1:3] = 0
    generator = torch.Generator().manual_seed(0)
    drawn = choose(logits, [Sampling(temperature=1.0)] * 2000, [generator] * 2000)
    assert set(drawn) == {1, 2}


def test_logprobs_are_untempered() -> None:
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    expected = logits.log_softmax(-1)
    for row, entry in enumerate(token_logprobs(logits, [4, 5, 6], 2)):
        assert entry.token == 4 + row
        assert entry.logprob == pytest.approx(float(expected[row, 4 + row]))
        best = expected[row].topk(2)
        assert [token for token, _ in entry.top] == best.indices.tolist()
        assert [value for _, value in entry.top] == pytest.approx(best.values.tolist())
    assert [entry.top for entry in token_logprobs(logits, [4, 5, 6], 0)] == [[], [], []]
