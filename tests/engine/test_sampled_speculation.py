"""Speculation with sampling: the distribution is the target's own, and seeds repeat in any company."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from derailleur.engine import NGRAM, DraftSource, Engine, EngineConfig, Generation, Request, Sampling
from derailleur.engine.choosing import Chooser, Place, adjust
from derailleur.engine.sampling import distributions
from derailleur.model import (
    Decoder,
    DecoderConfig,
    GdnConfig,
    KdaConfig,
    MixersConfig,
    SlidingWindowConfig,
)
from derailleur.placement import Placement

VOCAB = 6
PROMPT = [0, 1, 2, 0, 1, 2, 0, 1]
NUM_TOKENS = 3


class Letters:
    eos_id = VOCAB - 1

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text]

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        return bytes(ord("a") + i for i in ids)


@pytest.fixture(scope="module")
def tiny() -> Decoder:
    """Six tokens, two layers; the mixers disagree."""
    config = DecoderConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=8,
        intermediate_size=16,
        max_positions=64,
        mixers=MixersConfig(S=SlidingWindowConfig(window_tokens=3), K=KdaConfig(), G=GdnConfig()),
    )
    torch.manual_seed(0)
    decoder = Decoder(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.5, generator=generator)
    return decoder


def run(engine: Engine, requests: list[Request]) -> list[Generation]:
    answers = {engine.submit(request): Generation() for request in requests}
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


@torch.inference_mode()
def exact_distribution(
    decoder: Decoder, placement: Placement, sampling: Sampling
) -> dict[tuple[int, ...], float]:
    """The probability of every text of NUM_TOKENS tokens, by whole forward passes."""
    known: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(NUM_TOKENS):
        texts = list(known)
        inputs = torch.tensor([[*PROMPT, *text] for text in texts])
        logits = decoder(inputs, placement).logits[:, -1]
        chooser = Chooser(sampling, vocab_size=VOCAB, device=torch.device("cpu"), prompt=PROMPT)
        adjusted = adjust(logits, [Place(chooser, text) for text in texts])
        found = distributions(adjusted, [sampling] * len(texts))
        known = {
            (*text, token): known[text] * float(found[row, token])
            for row, text in enumerate(texts)
            for token in range(VOCAB)
        }
    return known


def requests_of(sampling: Sampling, draft: DraftSource | None, placement: Placement) -> Iterator[Request]:
    return (
        Request(
            prompt=PROMPT,
            placement=placement,
            draft=draft,
            # One more, so that the last one that is looked at can be drafted too.
            max_tokens=NUM_TOKENS + 1,
            sampling=replace(sampling, seed=seed),
            ignore_eos=True,
        )
        for seed in itertools.count()
    )


@pytest.mark.parametrize(
    ("target", "draft", "sampling"),
    [
        ("FF", "SS", Sampling(temperature=1.0)),
        ("GK", "SF", Sampling(temperature=0.8)),
        ("SG", NGRAM, Sampling(temperature=1.2)),
        ("KF", "GG", Sampling(temperature=1.5, top_k=4, top_p=0.9)),
        ("GG", "KS", Sampling(temperature=1.0, repetition_penalty=1.4, frequency_penalty=0.5, min_p=0.05)),
    ],
)
def test_the_distribution_is_the_targets_own(
    tiny: Decoder, target: str, draft: str, sampling: Sampling
) -> None:
    """Chi-square over all texts of three tokens, of which the second and the third are drafted."""
    placement, draws = Placement(target), 2000
    source = NGRAM if draft == NGRAM else Placement(draft)
    engine = Engine(tiny, Letters(), EngineConfig(drafting="always", max_draft_tokens=4))
    asked = list(itertools.islice(requests_of(sampling, source, placement), draws))
    answers = run(engine, asked)
    counts = Counter(tuple(answer.tokens[:NUM_TOKENS]) for answer in answers)
    expected = {text: draws * p for text, p in exact_distribution(tiny, placement, sampling).items()}
    assert not [text for text in counts if expected[text] == 0]
    common = [text for text, number in expected.items() if number >= 5]
    observed = [counts[text] for text in common] + [draws - sum(counts[text] for text in common)]
    wanted = [expected[text] for text in common] + [draws - sum(expected[text] for text in common)]
    assert len(common) > 10
    if wanted[-1] < 1:
        observed, wanted = observed[:-1], wanted[:-1]
        wanted = list(np.array(wanted) * sum(observed) / sum(wanted))
    assert chisquare(observed, wanted).pvalue > 1e-3
    drafted = sum(answer.speculation.drafted for answer in answers if answer.speculation)
    accepted = sum(answer.speculation.accepted for answer in answers if answer.speculation)
    assert 0 < accepted < drafted


def test_a_placement_that_drafts_for_itself_is_kept(make_engine: Callable[..., Engine]) -> None:
    """p equals q, so nothing is refused: drafts are drawn as the target draws, from the exact state."""
    placement = Placement("FSKG")
    sampling = Sampling(temperature=0.9, top_p=0.9, repetition_penalty=1.1, seed=2)
    request = Request(
        prompt=[1, 2, 3],
        placement=placement,
        draft=placement,
        max_tokens=50,
        sampling=sampling,
        ignore_eos=True,
    )
    [answer] = run(make_engine(), [request])
    assert answer.speculation is not None
    assert answer.speculation.acceptance_rate > 0.95  # but for rounding at the edge of top-p


def test_seeded_text_does_not_depend_on_the_batch(
    make_engine: Callable[..., Engine], prompts: list[list[int]]
) -> None:
    """Not with drafts either, though other prompts hold up the reading of the draft's."""
    sampling = Sampling(temperature=0.9, top_p=0.95, seed=11)
    asked = [
        Request(
            prompt=prompts[3],
            placement=Placement("FSKG"),
            draft=draft,
            max_tokens=25,
            sampling=sampling,
            ignore_eos=True,
        )
        for draft in (Placement("GGGG"), Placement("SSSS"), NGRAM)
    ]
    others = [
        Request(prompt=prompt, placement=Placement("FFFF"), max_tokens=12, draft=Placement("KKKK"))
        for prompt in prompts
    ]
    for drafting in ("always", "measured"):
        alone = [run(make_engine(), [request])[0].tokens for request in asked]
        together = run(make_engine(prefill_tokens=16, drafting=drafting), [*others, *asked])
        assert [answer.tokens for answer in together[len(others) :]] == alone


def test_different_seeds_differ(make_engine: Callable[..., Engine]) -> None:
    requests = [
        Request(
            prompt=[5, 6, 7],
            placement=Placement("FSKG"),
            draft=Placement("GGGG"),
            max_tokens=12,
            sampling=Sampling(temperature=1.0, seed=seed),
        )
        for seed in range(4)
    ]
    assert len({tuple(answer.tokens) for answer in run(make_engine(), requests)}) == 4


def test_greedy_penalties_are_the_same_with_drafts(
    make_engine: Callable[..., Engine], prompts: list[list[int]]
) -> None:
    sampling = Sampling(repetition_penalty=1.5, presence_penalty=0.5, logit_bias={7: 3.0, 9: -100.0})
    settings = {"prompt": prompts[2], "placement": Placement("FSKG"), "max_tokens": 30, "ignore_eos": True}
    plain, *drafted = run(
        make_engine(),
        [
            Request(**settings, sampling=sampling, draft=draft)
            for draft in (None, Placement("FSKG"), Placement("GGGG"), NGRAM)
        ],
    )
    assert all(answer.tokens == plain.tokens for answer in drafted)
    assert drafted[0].speculation is not None and drafted[0].speculation.acceptance_rate == 1
    [unpenalised] = run(make_engine(), [Request(**settings)])
    assert unpenalised.tokens != plain.tokens
