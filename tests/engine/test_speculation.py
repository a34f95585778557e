"""Speculation: the target's own text, whatever drafts for it, and honest numbers."""

from collections.abc import Callable

import pytest
import torch

from derailleur.engine import Engine, Generation, Request
from derailleur.engine import engine as engine_module
from derailleur.engine.choosing import Choice
from derailleur.engine.runner import Runner
from derailleur.engine.speculative import DraftTask, propose
from derailleur.engine.verifying import count_accepted
from derailleur.model import Decoder
from derailleur.placement import Placement

PAIRS = [
    ("FFFF", "GGGG"),
    ("FFFF", "SSSS"),
    ("FSKG", "GGGG"),
    ("FSKG", "KSGF"),
    ("GKGK", "SSSS"),
    ("SSFF", "FKKF"),
]


def run(engine: Engine, requests: list[Request]) -> list[Generation]:
    answers = {engine.submit(request): Generation() for request in requests}
    while engine.busy:
        for delta in engine.step():
            answers[delta.request_id].add(delta)
    return list(answers.values())


@pytest.mark.parametrize("max_draft_tokens", [1, 3, 8])
@pytest.mark.parametrize(("target", "draft"), PAIRS)
def test_the_text_is_the_targets_own(
    make_engine: Callable[..., Engine],
    prompts: list[list[int]],
    assert_same_text: Callable[..., None],
    target: str,
    draft: str,
    max_draft_tokens: int,
) -> None:
    placement = Placement(target)
    plain = make_engine().generate(prompts, placement=placement, max_tokens=20)
    engine = make_engine(max_draft_tokens=max_draft_tokens, prefill_tokens=40)
    drafted = engine.generate(prompts, placement=placement, max_tokens=20, draft=Placement(draft))
    for prompt, own, answer in zip(prompts, plain, drafted, strict=True):
        assert_same_text(prompt, placement, answer.tokens, own.tokens)
        assert answer.finish_reason == own.finish_reason
        assert answer.speculation is not None
        assert answer.speculation.drafted > 0 or len(own.tokens) <= 2


@pytest.mark.parametrize("target", ["FFFF", "SSSS", "FSKG", "GKGK"])
def test_a_drafted_token_that_overflows_changes_nothing(
    make_engine: Callable[..., Engine],
    make_supernet: Callable[..., Decoder],
    target: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The text does not hold it, so whoever proposes it must not do harm: the step is made without."""
    decoder = make_supernet(257, tie_embeddings=False)
    never, prompt = 7, list(range(20, 60))
    with torch.no_grad():
        decoder.embed.weight[never] = torch.nan
    placement = Placement(target)
    [plain] = make_engine(decoder).generate([prompt], placement=placement, max_tokens=40)
    assert never not in plain.tokens
    proposed = []

    def propose_it_now_and_then(runner: Runner, tasks: list[DraftTask]) -> list[list[Choice]]:
        proposals = propose(runner, tasks)
        for task, proposal in zip(tasks, proposals, strict=True):
            if len(proposal) > 1 and len(task.tokens) % 3:
                proposal[len(task.tokens) % len(proposal)] = Choice(never)
                proposed.append(never)
        return proposals

    monkeypatch.setattr(engine_module, "propose", propose_it_now_and_then)
    [drafted] = make_engine(decoder).generate([prompt], placement=placement, max_tokens=40, draft=placement)
    assert proposed
    assert (drafted.tokens, drafted.finish_reason) == (plain.tokens, plain.finish_reason)


@pytest.mark.parametrize("letters", ["FSKG", "GKGK"])
def test_a_placement_that_drafts_for_itself_is_always_right(
    make_engine: Callable[..., Engine], prompts: list[list[int]], letters: str
) -> None:
    """So the draft's state is exact after any number of accepted tokens; the length grows to its limit."""
    engine = make_engine(max_draft_tokens=6)
    placement = Placement(letters)
    answers = engine.generate(prompts, placement=placement, max_tokens=60, draft=placement)
    for answer in answers:
        assert answer.speculation is not None
        assert answer.speculation.acceptance_rate == 1.0
        assert answer.speculation.accepted + answer.speculation.steps >= len(answer.tokens) - 2
    longest = max(answer.speculation.acceptance_length for answer in answers if answer.speculation)
    assert longest > 6


def test_speculating_and_plain_requests_share_a_batch(
    make_engine: Callable[..., Engine], prompts: list[list[int]], assert_same_text: Callable[..., None]
) -> None:
    requests = [
        Request(prompt=prompt, placement=Placement(target), max_tokens=15 + 2 * i, draft=draft)
        for i, (prompt, target, draft) in enumerate(
            [
                (prompts[0], "FSKG", Placement("GGGG")),
                (prompts[1], "FSKG", None),
                (prompts[2], "FFFF", Placement("FSKG")),
                (prompts[3], "GKGK", Placement("GKGK")),
                (prompts[3], "GKGK", None),
            ]
        )
    ]
    together = run(make_engine(prefill_tokens=50), requests)
    for request, answer in zip(requests, together, strict=True):
        [alone] = run(make_engine(), [Request(**{**vars(request), "draft": None})])
        assert_same_text(request.prompt, request.placement, answer.tokens, alone.tokens)
        assert (answer.speculation is not None) == (request.draft is not None)


def test_stop_strings_and_limits_cut_what_was_accepted(
    make_engine: Callable[..., Engine], prompts: list[list[int]]
) -> None:
    """A stop inside an accepted draft ends the text at the same place as without drafting."""
    placement = Placement("FSKG")
    settings = {"prompt": prompts[2], "placement": placement, "max_tokens": 30, "ignore_eos": True}
    [plain] = run(make_engine(), [Request(**settings)])
    for place in (3, 8, 13):
        ending = frozenset([plain.tokens[place]])
        [own] = run(make_engine(), [Request(**settings, stop_tokens=ending)])
        [drafted] = run(make_engine(), [Request(**settings, stop_tokens=ending, draft=placement)])
        assert (drafted.tokens, drafted.text, drafted.finish_reason) == (own.tokens, own.text, "stop")
    for limit in range(1, 12):
        [drafted] = run(make_engine(), [Request(**{**settings, "max_tokens": limit}, draft=placement)])
        assert drafted.tokens == plain.tokens[:limit]


def test_a_draft_gets_shorter_when_it_is_wrong(
    make_engine: Callable[..., Engine], prompts: list[list[int]]
) -> None:
    engine = make_engine(max_draft_tokens=8)
    [answer] = run(
        engine,
        [
            Request(
                prompt=prompts[3],
                placement=Placement("FFFF"),
                draft=Placement("GGGG"),
                max_tokens=60,
                ignore_eos=True,
            )
        ],
    )
    statistics = answer.speculation
    assert statistics is not None
    assert 0 <= statistics.acceptance_rate < 0.5
    assert statistics.drafted / statistics.steps < 2.5


def test_counting_accepted_tokens() -> None:
    assert count_accepted([], [5]) == 0
    assert count_accepted([1, 2, 3], [1, 2, 3, 4]) == 3
    assert count_accepted([1, 9, 3], [1, 2, 3, 4]) == 1
    assert count_accepted([9, 2, 3], [1, 2, 3, 4]) == 0


def test_deltas_say_which_tokens_were_drafted(engine: Engine, prompts: list[list[int]]) -> None:
    """Every step adds the accepted tokens and one of the target's own, unless the text ends before."""
    placement = Placement("FSKG")
    request = Request(prompt=prompts[2], placement=placement, max_tokens=40, draft=placement)
    request_id, deltas = engine.submit(request), []
    while engine.busy:
        deltas += [delta for delta in engine.step() if delta.request_id == request_id]
    statistics = deltas[-1].speculation
    assert statistics is not None
    assert deltas[0].num_accepted == 0 and sum(delta.num_accepted for delta in deltas) > 20
    assert all(delta.num_accepted >= len(delta.tokens) - 1 for delta in deltas)
    assert sum(delta.num_accepted for delta in deltas) <= statistics.accepted
