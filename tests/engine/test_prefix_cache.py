"""The prefix cache: what was read is not read again, and texts are what they are without it."""

from collections.abc import Callable

import pytest
import torch

from derailleur.engine import NGRAM, Engine, Generation, Request, Sampling
from derailleur.model.mixers import PAGE_TOKENS
from derailleur.placement import Placement

PLACEMENTS = [Placement(letters) for letters in ("FFFF", "SSSS", "GGGG", "FSKG")]
ids = pytest.mark.parametrize("placement", PLACEMENTS, ids=str)


def tokens(count: int, seed: int = 0) -> list[int]:
    return torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


class Reader:
    """Runs requests one after another; how many tokens each had to read is counted by the runner."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.num_read, self.num_cached = engine, 0, 0
        step = engine.runner.step

        def counting(pieces):
            self.num_read += sum(len(piece.tokens) for piece in pieces)
            return step(pieces)

        engine.runner.step = counting

    def run(self, prompt: list[int], placement: Placement, max_tokens: int = 8, **asked) -> list[int]:
        self.num_read, self.num_cached, answer = 0, 0, Generation()
        asked = {"ignore_eos": True, **asked}
        self.engine.submit(Request(prompt=prompt, placement=placement, max_tokens=max_tokens, **asked))
        while self.engine.busy:
            for delta in self.engine.step():
                self.num_cached += delta.num_cached or 0
                answer.add(delta)
        return answer.tokens


@ids
def test_a_text_with_ten_more_tokens_reads_only_those(
    make_engine: Callable[..., Engine], placement: Placement
) -> None:
    """As an editor sends it: the same file, another last token, ten more."""
    file = tokens(300)
    longer = [*file[:-1], *tokens(11, seed=1)]
    reader = Reader(make_engine())
    reader.run(file, placement, 1)
    assert (reader.num_read, reader.num_cached) == (300, 0)
    text = reader.run(longer, placement, 1)
    spare = 0 if placement.letters == "FFFF" else PAGE_TOKENS
    assert reader.num_cached == len(longer) - reader.num_read >= 299 - spare
    assert text == Reader(make_engine(prefix_cache=False)).run(longer, placement, 1)


@ids
@pytest.mark.parametrize("draft", [None, NGRAM, Placement("GGGG")], ids=str)
def test_texts_are_those_without_the_cache(
    make_engine: Callable[..., Engine],
    assert_same_text: Callable[..., None],
    placement: Placement,
    draft: Placement | None,
) -> None:
    """Prompts that share beginnings of any length, and go on from earlier answers."""
    engine, plain = make_engine(snapshot_tokens=100), make_engine(prefix_cache=False)
    reader, base = Reader(engine), tokens(330)
    num_cached = 0
    for cut, seed in ((330, 1), (330, 2), (170, 3), (200, 4), (69, 5), (330, 6)):
        prompt = [*base[:cut], *tokens(seed, seed)]
        text = reader.run(prompt, placement, draft=draft)
        num_cached += reader.num_cached
        assert_same_text(prompt, placement, text, Reader(plain).run(prompt, placement))
        again = [*prompt, *text, 7]
        other = reader.run(again, placement, draft=draft)
        assert reader.num_cached >= len(prompt) + len(text) - 1
        assert_same_text(again, placement, other, Reader(plain).run(again, placement))
    assert num_cached > 4 * 64
    assert engine.load.used_bytes and sum(engine.load.used_bytes.values()) == 0 < engine.load.cached_bytes


def test_placements_do_not_share(make_engine: Callable[..., Engine]) -> None:
    reader, prompt = Reader(make_engine()), tokens(200)
    for placement in PLACEMENTS:
        reader.run(prompt, placement)
        assert reader.num_cached == 0


@ids
def test_samples_of_one_prompt_read_it_once(make_engine: Callable[..., Engine], placement: Placement) -> None:
    prompt = tokens(400)
    engine = make_engine()
    reader = Reader(engine)
    for seed in range(6):
        sampling = Sampling(temperature=1.0, seed=seed)
        engine.submit(Request(prompt=prompt, placement=placement, max_tokens=1, sampling=sampling))
    num_steps = 0
    while engine.busy:
        engine.step()
        num_steps += 1
    assert num_steps <= 5, "those that wait go on together"
    assert reader.num_read <= 400 + 5 * (PAGE_TOKENS + 1)


def test_log_probabilities_of_a_prompt_are_whole(make_engine: Callable[..., Engine]) -> None:
    """Such a request reads everything, whatever is remembered."""
    engine, prompt = make_engine(), tokens(150)
    asked = Request(
        prompt=prompt,
        placement=PLACEMENTS[0],
        max_tokens=0,
        prompt_logprobs=True,
        sampling=Sampling(logprobs=0),
    )
    Reader(engine).run(prompt, PLACEMENTS[0])
    answer = Generation()
    engine.submit(asked)
    while engine.busy:
        for delta in engine.step():
            answer.add(delta)
    assert [entry.token for entry in answer.logprobs] == prompt


def test_the_cache_stays_within_the_budget_and_gives_way(make_engine: Callable[..., Engine]) -> None:
    """Least recently used first: the file that is asked for again and again stays."""
    page = 4 * 2 * 2 * 16 * 4 * PAGE_TOKENS
    engine = make_engine(state_memory_bytes=12 * page, max_context=1_000)
    reader, placement, file = Reader(engine), PLACEMENTS[0], tokens(3 * PAGE_TOKENS)
    reader.run(file, placement, 1)
    for seed in range(1, 9):
        reader.run(tokens(3 * PAGE_TOKENS - 8, seed), placement, 1)
        assert engine.memory.allocated_bytes <= engine.memory.budget_bytes
        reader.run([*file, seed], placement, 1)
        assert reader.num_cached == 3 * PAGE_TOKENS
    reader.run(tokens(3 * PAGE_TOKENS - 8, 1), placement, 1)
    assert reader.num_cached == 0
    reader.run(tokens(11 * PAGE_TOKENS, 10), placement, 1)
    assert engine.memory.allocated_bytes <= engine.memory.budget_bytes
    assert len(engine.memory.prefixes) == 1


@torch.inference_mode()
def test_a_broken_request_leaves_nothing_behind(make_engine: Callable[..., Engine]) -> None:
    engine, prompt = make_engine(), tokens(200)
    reader = Reader(engine)
    engine.submit(Request(prompt=prompt, placement=Placement("FSKG"), max_tokens=50, ignore_eos=True))
    for _ in range(5):
        engine.step()
    remembered = len(engine.memory.prefixes)
    for layer in engine.scheduler.running[0].state.layers:
        for tensor in layer.pool.pool.tensors().values():
            tensor.fill_(torch.nan)
    while engine.busy:
        deltas = engine.step()
    assert deltas[-1].finish_reason == "error" and len(engine.memory.prefixes) == remembered
    engine.memory.drop_idle()
    reader.run(prompt, Placement("FSKG"))
    assert reader.num_cached == 0


@pytest.mark.parametrize("letters", ["GGGG", "FSKG", "FFFF"])
def test_a_text_that_ended_within_a_draft_is_not_taken_for_a_longer_one(
    make_engine: Callable[..., Engine], letters: str
) -> None:
    """The verify step kept drafted tokens behind the one that ended the text."""
    placement, prompt = Placement(letters), tokens(90)
    plain = Reader(make_engine(prefix_cache=False))
    text = plain.run(prompt, placement, 12)
    for length in range(3, 10):
        if text.index(text[length - 1]) < length - 1:
            continue
        reader = Reader(make_engine())
        ended = reader.run(prompt, placement, 60, draft=placement, stop_tokens=frozenset([text[length - 1]]))
        assert ended == text[:length]
        longer = [*prompt, *ended, 7, 8]
        assert reader.run(longer, placement) == plain.run(longer, placement)


@pytest.mark.parametrize("letters", ["FFFF", "SSSS", "GGGG"])
def test_drafts_resume_too(make_engine: Callable[..., Engine], letters: str) -> None:
    reader, prompt = Reader(make_engine(snapshot_tokens=100)), tokens(300)
    asked = {"placement": Placement("FSKG"), "draft": Placement(letters)}
    first = reader.run(prompt, **asked)
    assert reader.num_read > 600
    assert reader.run([*prompt, first[0]], **asked)[:7] == first[1:]
    assert reader.num_read < 2 * PAGE_TOKENS + 60


@torch.inference_mode()
def test_a_prompt_that_broke_while_it_was_read_is_not_remembered(make_engine: Callable[..., Engine]) -> None:
    engine, prompt, placement = make_engine(prefill_tokens=100), tokens(250), PLACEMENTS[0]
    reader = Reader(engine)
    engine.submit(Request(prompt=prompt, placement=placement, max_tokens=5))
    engine.step()
    for layer in engine.scheduler.running[0].state.layers:
        for tensor in layer.pool.pool.tensors().values():
            tensor.fill_(torch.nan)
    while engine.busy:
        deltas = engine.step()
    assert deltas[-1].finish_reason == "error" and len(engine.memory.prefixes) == 0
    text = reader.run(prompt, placement)
    assert reader.num_cached == 0 and text == Reader(make_engine()).run(prompt, placement)
