"""Prompt look-up: the longest recent match, and what came after it."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.engine import NGRAM, Engine, Generation, Request
from derailleur.engine.ngram import NgramIndex
from derailleur.placement import Placement


def looked_up(tokens: list[int], num_tokens: int) -> list[int]:
    """The slow way: every earlier end of at least three equal tokens, the longest and last of them."""
    best = (0, 0)
    for end in range(3, len(tokens)):
        length = 0
        while length < min(16, end) and tokens[end - 1 - length] == tokens[-1 - length]:
            length += 1
        if length >= 3:
            best = max(best, (length, end))
    if best == (0, 0):
        return []
    copied = list(tokens)
    for place in range(best[1], best[1] + num_tokens):
        copied.append(copied[place])
    return copied[len(tokens) :]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(1, 5))
def test_the_index_grows_with_the_text(tokens: list[int], step: int) -> None:
    index = NgramIndex()
    for length in range(1, len(tokens) + 1, step):
        assert index.continuation(tokens[:length], 5) == looked_up(tokens[:length], 5)


def test_a_text_that_repeats_itself_goes_on_doing_so() -> None:
    assert NgramIndex().continuation([1, 2, 3, 1, 2, 3, 1], 7) == [2, 3, 1, 2, 3, 1, 2]
    assert NgramIndex().continuation([1, 2, 3, 4], 7) == []


def test_looking_up_needs_no_state_memory(make_engine: Callable[..., Engine]) -> None:
    placement = Placement("FSKG")
    engine = make_engine()
    request = Request(
        prompt=[5, 6, 7, 8] * 6, placement=placement, max_tokens=40, draft=NGRAM, ignore_eos=True
    )
    plain_bytes = _held_bytes(make_engine(), Request(**{**vars(request), "draft": None}))
    assert _held_bytes(engine, request) == plain_bytes


@pytest.mark.parametrize("target", ["FFFF", "GKGK", "FSKG"])
def test_the_text_is_the_targets_own(
    make_engine: Callable[..., Engine],
    prompts: list[list[int]],
    assert_same_text: Callable[..., None],
    target: str,
) -> None:
    placement = Placement(target)
    repeating = [prompt[:20] * 4 for prompt in prompts]
    plain = make_engine().generate(repeating, placement=placement, max_tokens=30)
    drafted = make_engine().generate(repeating, placement=placement, max_tokens=30, draft=NGRAM)
    for prompt, own, answer in zip(repeating, plain, drafted, strict=True):
        assert_same_text(prompt, placement, answer.tokens, own.tokens)
        assert answer.speculation is not None


def _held_bytes(engine: Engine, request: Request) -> int:
    answer = Generation()
    engine.submit(request)
    held = 0
    while engine.busy:
        for delta in engine.step():
            answer.add(delta)
        held = max(held, sum(engine.load.used_bytes.values()))
    assert (answer.speculation is not None) == (request.draft is not None)
    return held
