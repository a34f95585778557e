"""Completions by the engine: what it writes alone, whatever is beside it; stops, contexts, infilling."""

from pathlib import Path

import pytest

from derailleur.engine import Engine, EngineConfig, Sampling
from derailleur.evaluation.generation.engine import EngineSource
from derailleur.evaluation.generation.request import Finish, SampleRequest, sample_seed
from derailleur.evaluation.problems import Gap, Problem
from derailleur.evaluation.programs import Language
from derailleur.placement import Placement
from derailleur.tokens import Tokenizer, infill_prompt

FAST = Placement("GS")


def problem(number: int, prompt: str | None = None, **values: object) -> Problem:
    return Problem(
        id=f"p{number}",
        language=Language.PYTHON,
        prompt=prompt or f"def function_{number}(path):\n    ",
        tests="",
        **values,
    )


def request(of: Problem, index: int = 0, temperature: float = 0.0, max_tokens: int = 8) -> SampleRequest:
    return SampleRequest(of, temperature, 0.95, max_tokens, index, sample_seed(0, of.id, temperature, index))


@pytest.fixture
def source(model: Path, tokenizer: Tokenizer) -> EngineSource:
    return EngineSource(Engine(model, tokenizer, EngineConfig(max_rows=3)), tokenizer, FAST)


def test_greedy_is_what_the_engine_writes(source: EngineSource, tokenizer: Tokenizer) -> None:
    asked = [request(problem(number)) for number in range(7)]
    answers = {request.problem.id: completion for request, completion in source.complete(asked)}
    prompts = [tokenizer.encode(each.problem.prompt.rstrip()) for each in asked]
    special = frozenset(tokenizer.special.values())
    direct = source.engine.generate(prompts, placement=FAST, max_tokens=8, stop_tokens=special)
    assert [answers[each.problem.id].text for each in asked] == [answer.text for answer in direct]
    assert not source.engine.busy


def test_samples_depend_on_their_seed_alone(source: EngineSource) -> None:
    asked = [request(problem(0), index, temperature=0.9) for index in range(8)]
    together = {each.index: completion.text for each, completion in source.complete(asked)}
    [(_, alone)] = source.complete([asked[5]])
    assert together[5] == alone.text
    assert len(set(together.values())) > 1


def test_completions_end_before_stops(source: EngineSource) -> None:
    [(_, whole)] = source.complete([request(problem(0))])
    assert whole.finish is Finish.LENGTH and whole.num_tokens == 8
    stop = whole.text[3:5]
    [(_, short)] = source.complete([request(problem(0, stop=(stop,)))])
    assert short.text == whole.text[: whole.text.index(stop)] and short.finish is Finish.STOP


def test_where_the_context_ends(source: EngineSource, tokenizer: Tokenizer) -> None:
    """48 tokens: a prompt that leaves room for a few gets those, one that leaves none says so."""
    long, longer = "x = 1\n" * 9 + "y", "x = 1\n" * 60
    room = 48 - len(tokenizer.encode(long))
    assert 0 < room < 30
    asked = [request(problem(0, long), max_tokens=30), request(problem(1, longer)), request(problem(2))]
    answers = {each.problem.id: completion for each, completion in source.complete(asked)}
    assert answers["p0"].num_tokens is not None and answers["p0"].num_tokens <= room
    assert answers["p1"].finish is Finish.TOO_LONG and answers["p1"].text == ""
    assert answers["p2"].num_tokens == 8


def test_a_hole_is_filled_from_both_sides(source: EngineSource, tokenizer: Tokenizer) -> None:
    hole = problem(0, "def f(path):\n    ", suffix="\n    return path\n", gap=Gap.SPAN)
    [(_, completion)] = source.complete([request(hole)])
    prompt = infill_prompt(hole.prompt, hole.suffix, tokenizer, 40)
    [direct] = source.engine.generate(
        [prompt.ids],
        placement=FAST,
        max_tokens=8,
        sampling=Sampling(),
        stop_tokens=frozenset(tokenizer.special.values()),
    )
    assert completion.text == direct.text
    too_long = problem(1, "x = 1\n" * 60, suffix="\n", gap=Gap.SPAN)
    [(_, completion)] = source.complete([request(too_long)])
    assert completion.finish is Finish.TOO_LONG


def test_an_interrupted_source_leaves_the_engine_free(source: EngineSource) -> None:
    answers = source.complete([request(problem(number)) for number in range(5)])
    next(answers)
    assert source.engine.busy
    answers.close()
    assert not source.engine.busy
