"""Random requests in little memory: after every step all that is held is accounted for; texts are right."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from derailleur.engine import NGRAM, DraftSource, Engine, Generation, Request, Sampling
from derailleur.engine.memory import Claim, Slot, StateMemory
from derailleur.engine.pages import CountedPool
from derailleur.engine.prefix import SharedPages
from derailleur.model import Decoder
from derailleur.placement import Placement

CONTEXT = 512


def random_requests(dice: random.Random, count: int) -> list[Request]:
    """Few placements and few texts of which prompts are beginnings, so that much can be shared."""
    placements = [Placement("".join(dice.choices("FSKG", k=4))) for _ in range(2)] + [Placement("FFFF")]
    texts = [[dice.randrange(256) for _ in range(300)] for _ in range(2)]
    requests: list[Request] = []
    for _ in range(count):
        if requests and dice.random() < 0.2:
            # A further sample of the last prompt.
            requests.append(replace(requests[-1], sampling=Sampling(temperature=0.8, seed=dice.randrange(9))))
            continue
        prompt = dice.choice(texts)[: dice.choice([dice.randrange(1, 300), dice.randrange(1, 100), 64, 128])]
        ending = [dice.randrange(256) for _ in range(dice.randrange(4))]
        draft: DraftSource | None = dice.choice([None, None, NGRAM, *placements])
        sampled = Sampling(temperature=0.9, seed=dice.randrange(9), repetition_penalty=1.1)
        requests.append(
            Request(
                prompt=[*prompt, *ending],
                placement=dice.choice(placements),
                max_tokens=dice.choice([0, 1, 30, 150, 200]),
                draft=draft,
                sampling=sampled if dice.random() < 0.2 else Sampling(),
                prompt_logprobs=dice.random() < 0.1,
                stop_tokens=frozenset(dice.sample(range(256), dice.choice([0, 0, 8]))),
                ignore_eos=dice.random() < 0.7,
            )
        )
    return requests


def needed_bytes(supernet: Decoder, request: Request) -> int:
    """What a request holds at its end, to the byte."""
    memory = StateMemory(supernet, 1 << 40, torch.float32, torch.device("cpu"))
    num_tokens = len(request.prompt) + request.max_tokens
    claims = [Claim(request.placement, num_tokens)]
    if isinstance(request.draft, Placement):
        claims.append(Claim(request.draft, num_tokens, scratch=True))
    assert memory.allocate(claims) is not None
    return memory.used_bytes().total()


def check(engine: Engine) -> None:
    """Every entry is held by as many as its count says, and by one alone where it is written."""
    memory, running = engine.memory, engine.scheduler.running
    drafts = [active.draft.state for active in running if active.draft is not None]
    states = {active.state for active in running} | {state for state in drafts if state is not None}
    assert memory._states == states
    holders: dict[CountedPool, np.ndarray] = {pool: np.zeros(pool.num_entries, int) for pool in memory._pools}
    snapshots = 0
    for state in states:
        scratch = state.scratch.layers if state.scratch is not None else ()
        for layer in {*state.layers, *scratch}:
            holders[layer.pool][layer.entries] += 1
    of_requests = {pool: count.copy() for pool, count in holders.items()}
    for prefix in memory.prefixes._by_use:
        for part in prefix.layers:
            if isinstance(part, SharedPages):
                holders[part.pool][part.pages] += 1
            else:
                snapshots += sum(x.numel() * x.element_size() for x in part.values())
    cached = snapshots
    for pool, count in holders.items():
        assert np.array_equal(pool._holders, count)
        assert sorted(pool._free) == np.flatnonzero(count == 0).tolist()
        cached += int(((count > 0) & (of_requests[pool] == 0)).sum()) * pool.bytes_per_entry
    free = sum(pool.num_free * pool.bytes_per_entry for pool in memory._pools)
    assert memory.prefixes.snapshot_bytes == snapshots and memory.cached_bytes == cached
    assert memory.used_bytes().total() + cached + free == memory.allocated_bytes <= memory.budget_bytes
    for state in states:
        assert state.length <= CONTEXT + 32
        for layer in state.layers:
            if isinstance(layer, Slot):
                assert holders[layer.pool][layer.number] == 1
            elif state.length < state.writable:
                written = [layer.entries[place] for place in layer._places(state.length, state.writable)]
                assert (holders[layer.pool][written] == 1).all()


def progress(engine: Engine) -> tuple[int, int]:
    """Changes with every step that does something."""
    drafts = [active.draft.state for active in engine.scheduler.running if active.draft is not None]
    states = [active.state for active in engine.scheduler.running] + [state for state in drafts if state]
    return engine.load.num_preempted, sum(state.length for state in states)


def run(
    engine: Engine, requests: list[Request], dice: random.Random, *, cancel_rate: float
) -> tuple[dict[int, Generation], set[int], Counter[str]]:
    """Answers by the request's place, places of those that were cancelled, and what came to pass."""
    answers, ids, cancelled, seen = {}, {}, set(), Counter()
    todo, num_idle = list(enumerate(requests)), 0
    while todo or engine.busy:
        while todo and (not engine.busy or dice.random() < 0.6):
            place, request = todo.pop(0)
            ids[engine.submit(request)] = place
            answers[place] = Generation()
        if ids and dice.random() < cancel_rate:
            chosen = dice.choice(list(ids))
            active = engine._active[chosen]
            phase = (
                "waiting" if active in engine.scheduler.waiting else "reading" if active.reads else "writing"
            )
            seen["preempted" if active.preempted else phase] += 1
            cancelled.add(ids.pop(chosen))
            engine.cancel(chosen)
            check(engine)
        before = progress(engine)
        deltas = engine.step()
        check(engine)
        num_idle = 0 if deltas or progress(engine) != before or not engine.busy else num_idle + 1
        assert num_idle < 2, "nothing goes on"
        for delta in deltas:
            answers[ids[delta.request_id]].add(delta)
            seen["cached"] += (delta.num_cached or 0) > 0
            if delta.finish_reason:
                del ids[delta.request_id]
    seen["preemptions"] = engine.load.num_preempted
    return answers, cancelled, seen


def stress(
    seed: int,
    make_engine: Callable[..., Engine],
    supernet: Decoder,
    assert_same_text: Callable[..., None],
) -> Counter[str]:
    dice = random.Random(seed)
    requests = random_requests(dice, 12)
    largest = max(needed_bytes(supernet, request) for request in requests)
    engine = make_engine(
        max_rows=dice.choice([2, 5, 64]),
        prefill_tokens=dice.choice([7, 64, 100, 512]),
        snapshot_tokens=dice.choice([1, 10, 64, 100, 512]),
        max_draft_tokens=dice.choice([1, 4, 8]),
        prefix_cache=dice.random() < 0.9,
        # To the byte what the largest request needs, or a little more.
        state_memory_bytes=int(largest * dice.choice([1, 1, 1.5, 2, 4])),
    )
    answers, cancelled, seen = run(engine, requests, dice, cancel_rate=dice.choice([0, 0.02]))
    assert sum(engine.load.used_bytes.values()) == 0
    engine.memory.drop_idle()
    assert engine.memory.allocated_bytes == 0

    plenty = make_engine(prefix_cache=False, max_draft_tokens=engine.config.max_draft_tokens)
    texts = {}
    for request in requests:
        draft = request.draft if request.sampling.repeatable else None
        texts[plenty.submit(replace(request, draft=draft))] = Generation()
    while plenty.busy:
        for delta in plenty.step():
            texts[delta.request_id].add(delta)
    for (place, request), expected in zip(enumerate(requests), texts.values(), strict=True):
        answer = answers[place]
        if place in cancelled:
            assert len(answer.tokens) <= len(expected.tokens)
            expected.tokens = expected.tokens[: len(answer.tokens)]
        elif not request.sampling.repeatable:
            assert answer.finish_reason == expected.finish_reason
            if request.prompt_logprobs:
                assert [entry.token for entry in answer.logprobs[: len(request.prompt)]] == request.prompt
        if request.sampling.repeatable:
            assert answer.tokens == expected.tokens
        else:
            assert_same_text(request.prompt, request.placement, answer.tokens, expected.tokens)
    return seen


def test_random_requests(
    make_engine: Callable[..., Engine], supernet: Decoder, assert_same_text: Callable[..., None]
) -> None:
    seen = sum((stress(seed, make_engine, supernet, assert_same_text) for seed in range(6)), Counter())
    assert min(seen["preemptions"], seen["cached"], seen["reading"], seen["writing"], seen["waiting"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 120))
def test_many_random_requests(
    make_engine: Callable[..., Engine], supernet: Decoder, assert_same_text: Callable[..., None], seed: int
) -> None:
    stress(seed, make_engine, supernet, assert_same_text)
