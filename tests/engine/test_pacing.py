"""How long drafts are, and that a request stops drafting where it does not pay."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from derailleur.engine import Engine, Generation, Request
from derailleur.engine import engine as engine_module
from derailleur.engine.drafting import StepTimes
from derailleur.engine.pacing import Pace
from derailleur.placement import Placement


def test_lengths_double_and_halve() -> None:
    pace = Pace(max_tokens=16)
    assert pace.num_tokens == 4
    pace.record(4, 4)
    assert pace.num_tokens == 8
    pace.record(8, 8)
    pace.record(16, 16)
    assert pace.num_tokens == 16
    pace.record(16, 10)
    assert pace.num_tokens == 16
    for _ in range(6):
        pace.record(pace.num_tokens, 0)
    assert pace.num_tokens == 1
    assert Pace(max_tokens=2).num_tokens == 2
    assert (pace.statistics.steps, pace.statistics.accepted) == (10, 38)


def test_expected_tokens_are_those_of_the_acceptance() -> None:
    pace = Pace(max_tokens=1)
    for accepted in (1, 0, 1, 0) * 10:
        pace.record(1, accepted)
    assert pace.expected_tokens(1) == pytest.approx(1.5, abs=0.05)
    assert pace.expected_tokens(3) == pytest.approx(1.875, abs=0.1)
    pace = Pace(max_tokens=4)
    pace.record(4, 4)
    assert pace.expected_tokens(4) == 5


def test_rests_double_until_drafting_pays() -> None:
    pace = Pace(max_tokens=1)
    for _ in range(3):
        pace.record(1, 0)
    assert not pace.known, "too early to tell"
    pace.record(1, 0)
    assert pace.known and not pace.resting
    for length in (32, 64, 128):
        pace.settle(pays=False)
        pace.pass_by(length - 1)
        assert pace.resting
        pace.pass_by(1)
        assert not pace.resting
    pace.settle(pays=True)
    assert not pace.resting
    pace.settle(pays=False)
    pace.pass_by(32)
    assert not pace.resting


def test_slowdown_is_that_of_recent_steps_of_one_kind() -> None:
    times = StepTimes()
    assert times.wants_plain("a") and times.slowdown("a", 4) is None
    for seconds in (9.0, 1.0, 1.0):
        times.add("a", 0, seconds)
    assert not times.wants_plain("a") and times.wants_plain("b")
    for seconds in (2.0, 2.0, 50.0):
        times.add("a", 4, seconds)
    assert times.slowdown("a", 4) == times.slowdown("a", 7) == 2.0
    assert times.slowdown("a", 8) is None
    for _ in range(64):
        times.add("a", 4, 2.0)
    assert times.wants_plain("a"), "what a plain step takes is measured again now and then"


def run(engine: Engine, *requests: Request) -> list[Generation]:
    """One after the other."""
    answers = []
    for request in requests:
        answer = Generation()
        engine.submit(request)
        while engine.busy:
            for delta in engine.step():
                answer.add(delta)
        answers.append(answer)
    return answers


@pytest.mark.parametrize(("draft_cost", "pays"), [(0.01, True), (1.5, False)])
def test_drafting_stops_itself_where_it_does_not_pay(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, draft_cost: float, pays: bool
) -> None:
    """A draft that is always right pays if it is cheap; one dearer than the target does not.

    Then requests after it do not draft at all, but for the 8th and the 16th; a long one tries late.
    """
    target, draft = Placement("FSKG"), Placement("FSKG")
    engine = make_engine(drafting="measured", max_draft_tokens=4)
    now, step, propose = 0.0, engine.runner.step, engine_module.propose

    def timed_step(pieces):
        nonlocal now
        now += 1.0
        return step(pieces)

    def timed_propose(runner, tasks):
        nonlocal now
        before = now
        proposals = propose(runner, tasks)
        now = before + (now - before) * draft_cost
        return proposals

    monkeypatch.setattr(engine.runner, "step", timed_step)
    monkeypatch.setattr(engine_module, "propose", timed_propose)
    monkeypatch.setattr(engine_module.time, "perf_counter", lambda: now)
    long = Request(prompt=[1, 2, 3], placement=target, draft=draft, max_tokens=200, ignore_eos=True)
    short = replace(long, max_tokens=30)
    [plain] = run(make_engine(), replace(long, draft=None))
    [first, *later, last] = run(engine, long, *[short] * 24, long)
    assert first.tokens == plain.tokens
    assert all(answer.tokens == plain.tokens[:30] for answer in later)
    num_drafted, *of_later = [answer.speculation.drafted for answer in (first, *later)]
    if pays:
        assert num_drafted > 120 and min(of_later) > 15
    else:
        assert num_drafted < 60
        assert [place for place, number in enumerate(of_later, 1) if number] == [8, 16]
        assert last.speculation.drafted == 0
