"""Sampling: the right distribution, and the same text for the same seed in any company."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from derailleur.engine.choosing import Chooser, Place, adjust, choose
from derailleur.engine.logprobs import token_logprobs
from derailleur.engine.sampling import GREEDY, Sampling, distributions

VOCAB = 12
LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 2, VOCAB), dtype=torch.float32)


def chooser(sampling: Sampling, vocab_size: int = VOCAB, **settings) -> Chooser:
    return Chooser(sampling, vocab_size=vocab_size, device=torch.device("cpu"), **settings)


def adjusted_on_paper(
    logits: list[float], sampling: Sampling, prompt: list[int], generated: list[int]
) -> list[float]:
    """Token by token: repetition, frequency and presence penalty, then bias."""
    result = []
    counts = Counter(generated)
    for token, value in enumerate(logits):
        if token in prompt or token in counts:
            value = value / sampling.repetition_penalty if value > 0 else value * sampling.repetition_penalty
        value -= sampling.frequency_penalty * counts[token]
        value -= sampling.presence_penalty if token in counts else 0
        result.append(value + sampling.logit_bias.get(token, 0))
    return result


def distribution_on_paper(logits: list[float], sampling: Sampling) -> np.ndarray:
    """Temperature, then min-p, then the k likeliest, then the fewest that reach p; ties stay together."""
    logits = np.array(logits, dtype=np.float64)
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    weights /= weights.sum()
    weights[weights < sampling.min_p * weights.max()] = 0
    ordered = sorted(weights, reverse=True)
    if sampling.top_k:
        weights[weights < ordered[: sampling.top_k][-1]] = 0
    if sampling.top_p < 1:
        ordered = ordered[: sampling.top_k or None]
        reached, total, least = 0.0, sum(ordered), 0.0
        for least in ordered:
            reached += least
            if reached >= sampling.top_p * total:
                break
        weights[weights < least] = 0
    return weights / weights.sum()


filters = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 1.0, 1.7]),
    min_p=st.sampled_from([0.0, 0.05, 0.4]),
    top_k=st.sampled_from([0, 1, 3, 7, 40]),
    top_p=st.sampled_from([1.0, 0.9, 0.35]),
)
some_logits = st.lists(st.floats(-8, 8, width=32), min_size=VOCAB, max_size=VOCAB)


@given(rows=st.lists(st.tuples(some_logits, filters), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_filters_are_those_on_paper(rows: list[tuple[list[float], Sampling]]) -> None:
    """Over a batch; where two probabilities differ by rounding alone, either may be cut."""
    found = distributions(torch.tensor([logits for logits, _ in rows]), [sampling for _, sampling in rows])
    for own, (logits, sampling) in zip(found.numpy(), rows, strict=True):
        gaps = np.diff(np.unique(logits))
        if gaps.size and gaps.min() < 1e-6:
            continue
        np.testing.assert_allclose(own, distribution_on_paper(logits, sampling), atol=1e-9)


@pytest.mark.parametrize("sampling", [Sampling(temperature=1.0, top_p=p) for p in (0.2, 0.97, 0.9999)])
def test_top_p_over_a_vocabulary_too_large_to_sort_at_once(sampling: Sampling) -> None:
    """Peaked and flat rows together: some need only the few likeliest tokens, some nearly all."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3000, generator=generator) * torch.tensor([[8.0], [1.0], [0.01]])
    found = distributions(logits, [sampling, sampling, replace(sampling, top_k=400)])
    for row, own in enumerate(found):
        expected = distribution_on_paper(
            logits[row].tolist(), sampling if row < 2 else replace(sampling, top_k=400)
        )
        np.testing.assert_allclose(own.numpy(), expected, atol=1e-9)


penalties = st.builds(
    Sampling,
    repetition_penalty=st.sampled_from([1.0, 0.8, 1.5]),
    presence_penalty=st.sampled_from([0.0, 1.0, -0.5]),
    frequency_penalty=st.sampled_from([0.0, 0.7, -0.2]),
    logit_bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-100, 100, width=32), max_size=3),
)
some_tokens = st.lists(st.integers(0, VOCAB - 1), max_size=6)


@given(rows=st.lists(st.tuples(some_logits, penalties, some_tokens, some_tokens, some_tokens), min_size=1))
@settings(max_examples=100, deadline=None)
def test_penalties_and_bias_are_those_on_paper(rows: list[tuple]) -> None:
    """Drafted tokens count as generated ones; rows without any setting stay untouched."""
    places = []
    for _, sampling, prompt, generated, ahead in rows:
        own = chooser(sampling, prompt=prompt)
        for token in generated:
            own.push(token)
        places.append(Place(own, ahead))
    logits = torch.tensor([row[0] for row in rows])
    before = logits.clone()
    found = adjust(logits, places)
    assert torch.equal(logits, before)
    for own, (given_logits, sampling, prompt, generated, ahead) in zip(found.tolist(), rows, strict=True):
        expected = adjusted_on_paper(given_logits, sampling, prompt, generated + ahead)
        assert own == pytest.approx(expected, abs=1e-4)


def test_plain_greedy_rows_are_not_copied() -> None:
    logits = torch.randn(3, VOCAB)
    assert adjust(logits, [Place(chooser(GREEDY))] * 3) is logits


def test_endings_wait_for_min_tokens() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, 3] = 5
    own = chooser(GREEDY, min_tokens=2, endings=[3, 4])
    assert choose(logits, [Place(own)])[0].token != 3
    assert choose(logits, [Place(own, [1])])[0].token != 3
    assert choose(logits, [Place(own, [1, 1])])[0].token == 3
    own.push(1)
    own.push(1)
    assert choose(logits, [Place(own)])[0].token == 3


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.6),
        Sampling(temperature=1.5, top_k=4),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=1.2, top_k=6, top_p=0.7),
        Sampling(temperature=1.0, top_k=1),
        Sampling(temperature=1.4, min_p=0.1, logit_bias={2: 1.0, 5: -100.0}),
        Sampling(temperature=1.0, repetition_penalty=1.3, presence_penalty=0.4),
    ],
)
def test_draws_are_distributed_as_on_paper(sampling: Sampling) -> None:
    draws = 6000
    own = chooser(replace(sampling, seed=1), prompt=[0, 1])
    tokens = [choice.token for choice in choose(LOGITS.expand(draws, -1), [Place(own)] * draws)]
    counts = np.bincount(tokens, minlength=VOCAB)
    adjusted = adjusted_on_paper(LOGITS.tolist(), sampling, [0, 1], [])
    expected = distribution_on_paper(adjusted, sampling) * draws
    assert not counts[expected == 0].any()
    possible = expected > 1
    if possible.sum() > 1:
        rest = counts[possible].sum() / expected[possible].sum()
        assert chisquare(counts[possible], expected[possible] * rest).pvalue > 1e-3


samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
    top_k=st.sampled_from([0, 3, 600]),
    top_p=st.sampled_from([1.0, 0.9]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    logit_bias=st.sampled_from([{}, {4: 2.0}]),
    seed=st.integers(0, 5),
)


@given(batch=st.lists(samplings, min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_company_does_not_matter(batch: list[Sampling]) -> None:
    logits = torch.randn(len(batch), 700, generator=torch.Generator().manual_seed(3))

    def places() -> list[Place]:
        return [Place(chooser(sampling, 700, prompt=[1, 2])) for sampling in batch]

    together = [choice.token for choice in choose(logits, places())]
    alone = [choose(logits[i : i + 1], [place])[0].token for i, place in enumerate(places())]
    assert together == alone


def test_greedy_takes_the_likeliest_and_says_that_it_is_certain() -> None:
    logits = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    choices = choose(logits, [Place(chooser(GREEDY, 30))] * 5)
    assert [choice.token for choice in choices] == logits.argmax(-1).tolist()
    assert all(choice.distribution is None and choice.chance == 1 for choice in choices)


def test_a_sampled_choice_says_what_it_was_drawn_from() -> None:
    sampling = Sampling(temperature=0.7, top_k=5, seed=0)
    [choice] = choose(LOGITS.unsqueeze(0), [Place(chooser(sampling))])
    assert choice.distribution is not None
    expected = distribution_on_paper(LOGITS.tolist(), sampling)
    np.testing.assert_allclose(choice.distribution.numpy(), expected, atol=1e-9)
    assert choice.chance == pytest.approx(expected[choice.token])


def test_seeds_repeat_and_their_absence_does_not() -> None:
    def draw(seed: int | None) -> list[int]:
        own = chooser(Sampling(temperature=1.0, seed=seed), 1000)
        return [choice.token for choice in choose(torch.zeros(40, 1000), [Place(own)] * 40)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)


def test_impossible_tokens_are_never_drawn() -> None:
    """Even at the edges of the uniform number: tokens of probability zero at both ends."""
    logits = torch.full((2000, 4), -torch.inf)
    logits[:, 1:3] = 0
    own = chooser(Sampling(temperature=1.0, seed=0), 4)
    assert {choice.token for choice in choose(logits, [Place(own)] * 2000)} == {1, 2}


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
