"""A request's text and log-probabilities are the same to the last bit, whatever happens around it."""

from collections.abc import Callable, Iterator

import pytest
import torch

from derailleur.engine import NGRAM, Engine, EngineConfig, Generation, Request, Sampling
from derailleur.errors import ConfigError
from derailleur.model import Decoder, DecoderConfig
from derailleur.placement import Placement

PLACEMENTS = [Placement(letters) for letters in ("FFFF", "SSSS", "KKKK", "GGGG", "FSKG")]


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def run(engine: Engine, requests: list[Request]) -> list[Generation]:
    answers = {engine.submit(request): Generation() for request in requests}
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


def asked(placement: Placement, seed: int, **more) -> Request:
    sampling = Sampling(logprobs=2)
    return Request(
        prompt=tokens(90 + 31 * seed, seed),
        placement=placement,
        max_tokens=12,
        sampling=sampling,
        ignore_eos=True,
        **more,
    )


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_company_pieces_and_drafts_change_no_bit(
    make_engine: Callable[..., Engine], placement: Placement
) -> None:
    def make(**settings) -> Engine:
        return make_engine(batch_invariant=True, **settings)

    requests = [asked(placement, seed) for seed in range(2)]
    alone = [run(make(), [request])[0] for request in requests]
    crowd = [asked(other, 3 + i) for i, other in enumerate(PLACEMENTS)]
    others = {
        "crowd": run(make(prefill_tokens=70), [*crowd[:3], *requests, *crowd[3:]])[3:5],
        "pieces": run(make(prefill_tokens=7, snapshot_tokens=64), requests),
        "ngram": run(make(), [asked(placement, seed, draft=NGRAM) for seed in range(2)]),
        "drafted": run(make(), [asked(placement, seed, draft=Placement("GFSK")) for seed in range(2)]),
        "own draft": run(make(max_draft_tokens=5), [asked(placement, s, draft=placement) for s in range(2)]),
    }
    again = make()
    run(again, requests)
    others["remembered"] = run(again, requests)
    for name, answers in others.items():
        for one, other in zip(alone, answers, strict=True):
            assert one.tokens == other.tokens, name
            assert one.logprobs == other.logprobs, name


@pytest.mark.parametrize(("letters", "budget"), [("FFFF", 400_000), ("FSKG", 200_000)])
def test_giving_way_changes_no_bit(make_engine: Callable[..., Engine], letters: str, budget: int) -> None:
    placement = Placement(letters)
    requests = [
        Request(prompt=tokens(60, seed), placement=placement, max_tokens=140, ignore_eos=True)
        for seed in range(3)
    ]
    alone = [run(make_engine(batch_invariant=True), [request])[0].tokens for request in requests]
    tight = make_engine(batch_invariant=True, state_memory_bytes=budget)
    assert [answer.tokens for answer in run(tight, requests)] == alone
    assert tight.load.num_preempted > 0


def test_what_cannot_promise_it_is_refused(engine: Engine) -> None:
    def refusal(dtype: torch.dtype = torch.float32, **settings) -> str:
        sizes = {"hidden_size": 32, "intermediate_size": 32, "head_dim": 16} | settings
        config = DecoderConfig(
            vocab_size=257, num_layers=1, num_heads=2, num_kv_heads=1, max_positions=64, **sizes
        )
        with pytest.raises(ConfigError, match="batch_invariant:") as caught:
            Engine(Decoder(config).to(dtype), engine.tokenizer, EngineConfig(batch_invariant=True))
        return str(caught.value)

    assert "bfloat16" in refusal(torch.bfloat16)
    assert "gelu" in refusal(activation="gelu")
    assert "head_dim 20" in refusal(head_dim=20)
    assert "down_proj maps 40" in refusal(intermediate_size=40)
