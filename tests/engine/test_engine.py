"""The engine as its callers see it: texts, batches, endings, memory, refusals."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from derailleur.engine import Engine, EngineConfig, Generation, Request, Sampling
from derailleur.engine.memory import State
from derailleur.errors import CapacityError, PlacementError, UserError
from derailleur.model import Decoder, MixersConfig
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement import Placement

PLACEMENTS = [Placement(letters) for letters in ("FFFF", "SSSS", "KKKK", "GGGG", "FSKG", "GKSF")]
FULL = PLACEMENTS[0]


def run(engine: Engine, requests: list[Request]) -> list[Generation]:
    answers = {engine.submit(request): Generation() for request in requests}
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


@pytest.mark.parametrize("placement", PLACEMENTS, ids=str)
def test_greedy_text_equals_plain_forward_passes(
    engine: Engine,
    prompts: list[list[int]],
    placement: Placement,
    continue_plainly: Callable[..., list[int]],
    assert_same_text: Callable[..., None],
) -> None:
    answers = engine.generate(prompts, placement=placement, max_tokens=16)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_same_text(prompt, placement, answer.tokens, continue_plainly(prompt, placement, 16))


def test_mixed_placements_together_equal_each_alone(
    make_engine: Callable[..., Engine],
    prompts: list[list[int]],
    assert_same_text: Callable[..., None],
) -> None:
    requests = [
        Request(prompt=prompt, placement=placement, max_tokens=6 + 3 * i)
        for i, (prompt, placement) in enumerate(itertools.product(prompts[1:], PLACEMENTS))
    ]
    together = run(make_engine(prefill_tokens=32, max_rows=11), requests)
    for request, answer in zip(requests, together, strict=True):
        [alone] = run(make_engine(), [request])
        assert_same_text(request.prompt, request.placement, answer.tokens, alone.tokens)


@pytest.mark.parametrize("prefill_tokens", [1, 7, 33, 1000])
def test_the_size_of_prompt_pieces_does_not_matter(
    make_engine: Callable[..., Engine],
    prompts: list[list[int]],
    assert_same_text: Callable[..., None],
    continue_plainly: Callable[..., list[int]],
    prefill_tokens: int,
) -> None:
    placement = Placement("FSKG")
    answers = make_engine(prefill_tokens=prefill_tokens).generate(prompts, placement=placement, max_tokens=5)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_same_text(prompt, placement, answer.tokens, continue_plainly(prompt, placement, 5))


def test_requests_come_and_go_while_others_decode(
    make_engine: Callable[..., Engine], prompts: list[list[int]], assert_same_text: Callable[..., None]
) -> None:
    engine = make_engine(prefill_tokens=16)
    first = Request(prompt=prompts[2], placement=Placement("FSKG"), max_tokens=40)
    [alone] = run(make_engine(), [first])
    answer = Generation()
    watched = engine.submit(first)
    for number in itertools.count():
        if number % 3 == 0 and number < 30:
            engine.submit(
                Request(prompt=prompts[number % 4], placement=PLACEMENTS[number % 6], max_tokens=number + 1)
            )
        for delta in engine.step():
            if delta.request_id == watched:
                answer.add(delta)
        if not engine.busy:
            break
    assert_same_text(first.prompt, first.placement, answer.tokens, alone.tokens)


def test_seeded_text_does_not_depend_on_the_batch(
    make_engine: Callable[..., Engine], prompts: list[list[int]]
) -> None:
    sampling = Sampling(temperature=0.9, top_p=0.95, seed=11)
    asked = Request(prompt=prompts[2], placement=Placement("FSKG"), max_tokens=20, sampling=sampling)
    others = [
        Request(prompt=prompt, placement=placement, max_tokens=12, sampling=Sampling(temperature=1.0, seed=i))
        for i, (prompt, placement) in enumerate(zip(prompts, PLACEMENTS, strict=False))
    ]
    [alone] = run(make_engine(), [asked])
    together = run(make_engine(), [*others, asked])
    assert together[-1].tokens == alone.tokens
    different = run(
        make_engine(), [Request(**{**vars(asked), "sampling": Sampling(temperature=0.9, seed=12)})]
    )
    assert different[0].tokens != alone.tokens


def test_memory_returns_to_zero_after_finish_and_cancel(engine: Engine, prompts: list[list[int]]) -> None:
    ids = [
        engine.submit(Request(prompt=prompt, placement=placement, draft=draft, max_tokens=30))
        for prompt, placement, draft in zip(prompts, PLACEMENTS[1:], (None, FULL, None, FULL), strict=False)
    ]
    for _ in range(4):
        engine.step()
    assert sum(engine.load.used_bytes.values()) > 0
    for request_id in ids[:2]:
        engine.cancel(request_id)
        engine.cancel(request_id)
    while engine.busy:
        assert all(delta.request_id in ids[2:] for delta in engine.step())
    assert sum(engine.load.used_bytes.values()) == 0
    assert (engine.load.running, engine.load.waiting) == (0, 0)


def test_a_waiting_request_can_be_cancelled(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(max_rows=1)
    first, second = (engine.submit(Request(prompt=[1], placement=FULL, max_tokens=3)) for _ in range(2))
    engine.step()
    assert (engine.load.running, engine.load.waiting) == (1, 1)
    engine.cancel(second)
    answered = set()
    while engine.busy:
        answered |= {delta.request_id for delta in engine.step()}
    assert answered == {first}


def test_first_come_first_served_within_the_budget(make_engine: Callable[..., Engine]) -> None:
    """Memory for one long request: those behind it wait though they would fit, and all get their turn."""
    layers, tensors, kv_heads, head_dim, float_bytes = 4, 2, 2, 16, 4
    page = layers * tensors * kv_heads * head_dim * float_bytes * PAGE_TOKENS
    engine = make_engine(state_memory_bytes=page * math.ceil(170 / PAGE_TOKENS))
    long = Request(prompt=[1] * 150, placement=FULL, max_tokens=20, ignore_eos=True)
    short = Request(prompt=[2] * 10, placement=FULL, max_tokens=4, ignore_eos=True)
    ids = [engine.submit(request) for request in (short, long, long, short)]
    started, finished = [], []
    while engine.busy:
        for delta in engine.step():
            if delta.request_id not in started:
                started.append(delta.request_id)
            if delta.finish_reason:
                finished.append(delta.request_id)
        assert engine.memory.allocated_bytes <= engine.memory.budget_bytes
    assert started == ids
    assert finished.index(ids[1]) < finished.index(ids[3])


def test_reading_a_long_prompt_does_not_hold_up_decoding(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(prefill_tokens=8)
    decoding = engine.submit(Request(prompt=[1, 2], placement=FULL, max_tokens=60, ignore_eos=True))
    engine.step()
    reading = engine.submit(Request(prompt=[3] * 100, placement=Placement("GGGG"), max_tokens=1))
    steps = 0
    while engine.busy:
        deltas = engine.step()
        steps += 1
        if engine.load.running == 2:
            assert [delta.request_id for delta in deltas] == [decoding]
        if any(delta.request_id == reading for delta in deltas):
            break
    assert steps == 13  # ceil(100 / 8)


def test_a_text_ends_at_eos_stop_token_stop_string_or_length(
    engine: Engine, prompts: list[list[int]], continue_plainly: Callable[..., list[int]]
) -> None:
    prompt = prompts[2]
    tokens = continue_plainly(prompt, FULL, 12)
    assert len(tokens) == 12
    text = bytes(tokens).decode(errors="replace")

    def ask(**settings: object) -> Generation:
        return run(engine, [Request(prompt=prompt, placement=FULL, max_tokens=12, **settings)])[0]

    plain = ask()
    assert (plain.tokens, plain.text, plain.finish_reason) == (tokens, text, "length")
    position = tokens.index(tokens[7])
    stopped = ask(stop_tokens=frozenset([tokens[7]]))
    assert (stopped.tokens, stopped.finish_reason) == (tokens[: position + 1], "stop")
    assert stopped.text == bytes(tokens[:position]).decode(errors="replace")
    stop = text[5:8]
    cut = ask(stop=[stop])
    assert (cut.text, cut.finish_reason) == (text[: text.index(stop)], "stop")
    assert len(cut.tokens) < 12


def test_eos_ends_a_text_unless_it_is_ignored(
    supernet: Decoder, engine: Engine, prompts: list[list[int]]
) -> None:
    asked = {"prompt": prompts[2], "placement": FULL, "max_tokens": 12}
    [plain] = run(engine, [Request(**asked)])
    tokenizer = type(engine.tokenizer)()
    tokenizer.eos_id = plain.tokens[6]
    other = Engine(supernet, tokenizer, EngineConfig())
    [ended] = run(other, [Request(**asked)])
    [ignored] = run(other, [Request(**asked, ignore_eos=True)])
    position = plain.tokens.index(tokenizer.eos_id)
    assert (ended.tokens, ended.finish_reason) == (plain.tokens[: position + 1], "stop")
    assert (ignored.tokens, ignored.finish_reason) == (plain.tokens, "length")


@torch.inference_mode()
def test_logprobs_are_those_of_the_forward_pass(
    engine: Engine, supernet: Decoder, prompts: list[list[int]]
) -> None:
    placement, prompt = Placement("FSKG"), prompts[3]
    [answer] = run(
        engine,
        [
            Request(
                prompt=prompt,
                placement=placement,
                max_tokens=5,
                sampling=Sampling(logprobs=2),
                prompt_logprobs=True,
            )
        ],
    )
    tokens = prompt + answer.tokens
    expected = supernet(torch.tensor([tokens]), placement).logits[0].log_softmax(-1)
    assert [entry.token for entry in answer.logprobs] == tokens
    assert answer.logprobs[0].logprob is None
    for place, entry in enumerate(answer.logprobs[1:]):
        assert entry.logprob == pytest.approx(float(expected[place, entry.token]), abs=1e-4)
        best = [value for _, value in entry.top]
        assert best == pytest.approx(expected[place].topk(2).values.tolist(), abs=1e-4)


@pytest.mark.parametrize("length", [1, 40, 150])
def test_a_prompt_can_be_scored_without_generating(engine: Engine, length: int) -> None:
    prompt = list(range(length))
    [answer] = run(engine, [Request(prompt=prompt, placement=FULL, max_tokens=0, prompt_logprobs=True)])
    assert (answer.tokens, answer.finish_reason) == ([], "length")
    assert [entry.token for entry in answer.logprobs] == prompt


def test_what_cannot_work_is_refused_at_once(engine: Engine) -> None:
    def submit(**settings: object) -> None:
        engine.submit(Request(**{"prompt": [1], "placement": FULL, "max_tokens": 4, **settings}))

    with pytest.raises(UserError, match="prompt is empty"):
        submit(prompt=[])
    with pytest.raises(UserError, match=r"outside 0 \.\. 256"):
        submit(prompt=[1, 257])
    with pytest.raises(PlacementError, match="has 3 layers"):
        submit(placement=Placement("FFF"))
    with pytest.raises(UserError, match=r"logit_bias has token ids outside 0 \.\. 256"):
        submit(sampling=Sampling(logit_bias={257: 1.0}))
    with pytest.raises(CapacityError, match="together 513; the context is 512"):
        submit(prompt=[1] * 500, max_tokens=13)
    assert not engine.busy


def test_a_request_that_never_fits_is_refused(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(state_memory_bytes=300_000)
    asked = Request(prompt=[1] * 200, placement=FULL, max_tokens=100)
    assert not engine.fits(asked)
    assert engine.fits(replace(asked, placement=Placement("GGGG")))
    assert not engine.fits(replace(asked, placement=Placement("GGGG"), draft=FULL))
    with pytest.raises(CapacityError, match=r"the budget is 300,000: .* raise state_memory_bytes"):
        engine.submit(asked)
    assert not engine.busy


def test_one_refused_prompt_leaves_none_behind(engine: Engine) -> None:
    with pytest.raises(CapacityError):
        engine.generate([[1, 2], [1] * 600], placement=FULL, max_tokens=4)
    assert not engine.busy
    assert len(engine.generate([[1, 2]], placement=FULL, max_tokens=4)) == 1


def test_a_mixer_that_the_model_lacks_is_refused(
    make_engine: Callable[..., Engine], supernet: Decoder
) -> None:
    teacher = Decoder(supernet.config.model_copy(update={"mixers": MixersConfig()})).eval()
    engine = Engine(teacher, make_engine().tokenizer, EngineConfig())
    with pytest.raises(PlacementError, match="mixer 'G' is not in this layer"):
        engine.submit(Request(prompt=[1], placement=Placement("FFFG"), max_tokens=1))


def test_decode_speed_leaves_nothing_after_a_failure(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.runner, "step", lambda pieces: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.decode_speed(FULL, 2, 50)
    assert not engine.busy and not engine.load.running and engine.memory.allocated_bytes == 0


def test_decode_speed_decodes_and_leaves_nothing(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the context; every step has as many rows as asked for, at the right position."""
    engine = make_engine()
    seen: list[list[int]] = []
    step = engine.runner.step

    def watched(pieces):  # type: ignore[no-untyped-def]
        seen.append([piece.state.length for piece in pieces])
        return step(pieces)

    monkeypatch.setattr(engine.runner, "step", watched)
    speed = engine.decode_speed(Placement("FSKG"), 3, 600, steps=4, warmup=2)
    assert seen[-6:] == [[600 + i] * 3 for i in range(6)]
    assert speed.tokens_per_second == pytest.approx(3 / speed.seconds_per_step)
    assert (speed.batch, speed.context_tokens) == (3, 600)
    assert engine.memory.allocated_bytes == 0
    with pytest.raises(CapacityError, match="do not fit"):
        make_engine(state_memory_bytes=1000).decode_speed(FULL, 3, 600)


def test_endings_wait_for_min_tokens(engine: Engine, prompts: list[list[int]]) -> None:
    asked = {"prompt": prompts[2], "placement": FULL, "max_tokens": 12}
    [plain] = run(engine, [Request(**asked)])
    ending = plain.tokens[2]
    for draft in (None, FULL):
        [held] = run(engine, [Request(**asked, stop_tokens=frozenset([ending]), min_tokens=6, draft=draft)])
        assert held.tokens[:2] == plain.tokens[:2]
        assert ending not in held.tokens[:6] and len(held.tokens) >= 6


@pytest.mark.parametrize("draft", [None, Placement("GGGG"), Placement("FSKG")], ids=str)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=1)])
def test_a_request_whose_numbers_overflow_fails_alone(
    make_engine: Callable[..., Engine], prompts: list[list[int]], draft: Placement | None, sampling: Sampling
) -> None:
    placement = Placement("FSKG")
    requests = [
        Request(
            prompt=prompt, placement=placement, draft=draft, max_tokens=60, sampling=sampling, ignore_eos=True
        )
        for prompt in prompts[1:]
    ]
    expected = run(make_engine(), requests)
    engine = make_engine()
    answers = {engine.submit(request): Generation() for request in requests}
    for _ in range(3):
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    victim = engine.scheduler.running[1]
    _poison(victim.state)
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    failed, *others = [answers[victim.id], answers[0], answers[2]]
    assert failed.finish_reason == "error"
    assert [answer.tokens for answer in others] == [expected[0].tokens, expected[2].tokens]
    assert sum(engine.load.used_bytes.values()) == 0


@torch.inference_mode()
def _poison(state: State) -> None:
    for layer in state.layers:
        entries = layer.entries
        for tensor in layer.pool.pool.tensors().values():
            tensor[entries] = torch.nan


def test_warming_up_runs_every_mixer_and_leaves_nothing(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, ran = make_engine(), set()
    step = engine.runner.step

    def watched(pieces):
        ran.update((letter, len(piece.tokens) > 32) for piece in pieces for letter in piece.state.placement)
        return step(pieces)

    monkeypatch.setattr(engine.runner, "step", watched)
    engine.warm_up()
    assert ran == set(itertools.product("FSKG", (True, False)))
    assert not engine.busy and engine.memory.allocated_bytes == 0 and engine.load.cached_bytes == 0
    make_engine(max_context=4).warm_up()
