"""Where memory runs out the youngest gives way, reads its text again later, and writes what it would have."""

from collections.abc import Callable

import pytest
import torch

from derailleur.engine import Engine, Generation, Request, Sampling
from derailleur.engine.memory import Claim
from derailleur.engine.pages import CountedPool
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement import Placement

PAGE = 2 * 2 * 16 * 4 * PAGE_TOKENS
"""Bytes of a page of the test's supernet: keys and values, heads, head_dim, float32."""


def tokens(count: int, seed: int) -> list[int]:
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def run(engine: Engine, requests: list[Request]) -> tuple[list[Generation], list[int]]:
    """The answers, and the requests in the order in which they ended."""
    answers = {engine.submit(request): Generation() for request in requests}
    ended = []
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
            if delta.finish_reason:
                ended.append(delta.request_id)
        assert engine.memory.allocated_bytes <= engine.memory.budget_bytes
    return list(answers.values()), ended


@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize(
    ("letters", "draft"),
    [("FFFF", None), ("FSKG", None), ("FFFF", "GGGG"), ("FFFF", "FFFF"), ("FSKG", "GFSF")],
)
def test_texts_are_those_with_plenty_of_memory(
    make_engine: Callable[..., Engine],
    assert_same_text: Callable[..., None],
    letters: str,
    draft: str | None,
    prefix_cache: bool,
) -> None:
    placement = Placement(letters)
    requests = [
        Request(
            prompt=tokens(20 + 20 * seed, seed),
            placement=placement,
            max_tokens=140,
            draft=Placement(draft) if draft else None,
            ignore_eos=True,
        )
        for seed in range(3)
    ]
    plenty, _ = run(make_engine(), requests)
    tight = make_engine(state_memory_bytes=_for_two(make_engine, requests[0]), prefix_cache=prefix_cache)
    answers, ended = run(tight, requests)
    assert tight.load.num_preempted > 0
    assert ended[0] == 0, "the oldest goes first"
    for request, answer, expected in zip(requests, answers, plenty, strict=True):
        assert len(answer.tokens) == 140
        assert_same_text(request.prompt, placement, answer.tokens, expected.tokens)
    assert sum(tight.load.used_bytes.values()) == 0


def _for_two(make_engine: Callable[..., Engine], request: Request) -> int:
    """Bytes that do for one request to its end, and for two for a while."""
    memory = make_engine().memory
    for num_tokens in (len(request.prompt) + request.max_tokens, len(request.prompt) + 70):
        claims = [Claim(request.placement, num_tokens)]
        if isinstance(request.draft, Placement):
            claims.append(Claim(request.draft, num_tokens, scratch=True))
        assert memory.allocate(claims)
    return memory.used_bytes().total()


def test_seeded_samples_and_penalties_go_on(make_engine: Callable[..., Engine]) -> None:
    sampling = Sampling(temperature=0.9, seed=5, repetition_penalty=1.2)
    requests = [
        Request(
            prompt=tokens(30, seed),
            placement=Placement("FFFF"),
            max_tokens=200,
            sampling=sampling,
            ignore_eos=True,
        )
        for seed in range(3)
    ]
    plenty, _ = run(make_engine(), requests)
    tight = make_engine(state_memory_bytes=24 * PAGE)
    answers, _ = run(tight, requests)
    assert tight.load.num_preempted > 0
    assert [answer.tokens for answer in answers] == [answer.tokens for answer in plenty]


def test_no_log_probability_is_reported_twice(make_engine: Callable[..., Engine]) -> None:
    """The second request gives way to the first while it still reads its prompt."""
    asked = {"placement": Placement("FFFF"), "ignore_eos": True}
    growing = Request(prompt=tokens(10, 0), max_tokens=300, **asked)
    scored = Request(
        prompt=tokens(200, 1), max_tokens=3, prompt_logprobs=True, sampling=Sampling(logprobs=1), **asked
    )
    engine = make_engine(state_memory_bytes=4 * 6 * PAGE, prefill_tokens=1)
    answers, _ = run(engine, [growing, scored])
    assert engine.load.num_preempted > 0
    assert [entry.token for entry in answers[1].logprobs] == [*scored.prompt, *answers[1].tokens]


def test_what_limits_is_said(make_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture) -> None:
    request = Request(prompt=tokens(10, 0), placement=Placement("FFFF"), max_tokens=50, ignore_eos=True)
    caplog.set_level("INFO")
    for settings, limit in (({"max_rows": 1}, "rows"), ({"state_memory_bytes": 4 * PAGE}, "memory")):
        engine = make_engine(**settings)
        for _ in range(3):
            engine.submit(request)
        engine.step()
        assert (engine.load.limited_by, engine.load.running, engine.load.waiting) == (limit, 1, 2)
        assert next(iter(settings)) in caplog.text
        while engine.busy:
            engine.step()
        assert engine.load.limited_by is None


@pytest.mark.parametrize(
    ("letters", "draft"), [("FFFF", None), ("FSKG", None), ("SSSS", "FFFF"), ("FFFF", "FFFF")]
)
def test_a_request_that_fills_the_budget_ends(
    make_engine: Callable[..., Engine], letters: str, draft: str | None
) -> None:
    """What it left in the prefix cache goes before it does, and then its pages need no copies."""
    request = Request(
        prompt=tokens(100, 0),
        placement=Placement(letters),
        max_tokens=28,
        draft=Placement(draft) if draft else None,
        ignore_eos=True,
    )
    roomy = make_engine(prefix_cache=False, max_draft_tokens=1)
    [expected], _ = run(roomy, [request])
    needed = roomy.memory.allocated_bytes
    engine = make_engine(state_memory_bytes=needed, max_draft_tokens=1)
    for _ in range(2):
        [answer], _ = run(engine, [request])
        assert answer.tokens == expected.tokens and engine.load.num_preempted == 0


def test_no_request_gives_way_to_a_draft(make_engine: Callable[..., Engine]) -> None:
    """A draft that rested has much to read, and no room for it."""
    asked = {"placement": Placement("FFFF"), "max_tokens": 240, "ignore_eos": True}
    engine = make_engine(state_memory_bytes=4 * 10 * PAGE)
    engine.submit(Request(prompt=tokens(10, 0), **asked))
    engine.submit(Request(prompt=tokens(10, 1), draft=Placement("FFFF"), **asked))
    engine.step()
    draft = engine.scheduler.running[1].draft
    assert draft is not None
    draft.pace._rest_tokens = 200
    while engine.busy:
        engine.step()
    assert engine.load.num_preempted == 0


def test_a_request_that_waits_costs_those_that_run_nothing(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again, and pools are not copied again, before memory was given back."""
    engine = make_engine(state_memory_bytes=4 * 40 * PAGE, prefix_cache=False, max_context=5_000)
    asked = {"placement": Placement("FFFF"), "ignore_eos": True}
    for seed in range(4):
        engine.submit(Request(prompt=tokens(10, seed), max_tokens=400, **asked))
    engine.submit(Request(prompt=tokens(2_300, 5), max_tokens=1, **asked))
    num_resized = 0
    resize = CountedPool.resize

    def counting(pool: CountedPool, num_entries: int) -> None:
        nonlocal num_resized
        num_resized += 1
        resize(pool, num_entries)

    monkeypatch.setattr(CountedPool, "resize", counting)
    while engine.load.waiting or not engine.busy:
        engine.step()
    assert 0 < num_resized < 12
