"""The preset 'auto': its forecast, its choices under simulated load, and what a served answer says of it."""

import itertools
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur import serving
from derailleur.cli import main
from derailleur.engine import Delta, Engine, Request
from derailleur.errors import ConfigError, PlacementError
from derailleur.placement import Placement
from derailleur.placement.presets import Preset, PresetQuality, Presets, PresetSpeed
from derailleur.serving.auto import AutoConfig, AutoPreset, measured
from derailleur.serving.forecast import Forecast, Latency
from derailleur.serving.price import Price

FULL = Price(row=1e-3, row_per_token=1e-6, fixed=2e-3, fixed_per_token=1e-7)
PRICES = {"full": FULL, "balanced": Price(1e-3, 2e-7, 2e-3), "fast": Price(5e-4, 0.0, 2e-3)}
PLACEMENTS = {"full": "FFFF", "balanced": "FSKG", "fast": "GGGG"}
REGIMES = [(1, 512), (1, 4096), (16, 512), (16, 4096)]
PREFILL_TOKENS = 256


def speeds(price: Price) -> tuple[PresetSpeed, ...]:
    return tuple(PresetSpeed(batch=b, context=c, measured=b / price.step_seconds(b, c)) for b, c in REGIMES)


def preset(name: str, quality: float) -> Preset:
    return Preset(
        name=name,
        placement=Placement(PLACEMENTS[name]),
        quality=PresetQuality(measured=quality),
        speed=speeds(PRICES[name]),
    )


PRESETS = Presets([preset("fast", -4.0), preset("full", -3.0), preset("balanced", -3.2)], default="full")


def request(
    prompt_tokens: int, max_tokens: int = 32, name: str = "full", draft: str | None = None
) -> Request:
    return Request(
        prompt=[1] * prompt_tokens,
        placement=PRESETS[name],
        max_tokens=max_tokens,
        draft=None if draft is None else PRESETS[draft],
    )


def controller(
    clock: Callable[[], float] = lambda: 0.0, *, max_rows: int = 64, **config: object
) -> AutoPreset:
    return AutoPreset(
        PRESETS, AutoConfig(**config), prefill_tokens=PREFILL_TOKENS, max_rows=max_rows, clock=clock
    )


def taken(requests: Sequence[Request]) -> str:
    return next(name for name, placement in PRESETS.items() if placement == requests[0].placement)


# Prices


def test_where_rows_are_free_prompts_are_not() -> None:
    """As on a GPU, whose steps take no longer with more rows: what prompts take is learnt all the same."""
    timed = tuple(PresetSpeed(batch=b, context=c, measured=b / 0.01) for b, c in REGIMES)
    price = Price.fit(preset("full", 0.0).model_copy(update={"speed": timed}))
    assert price.row_seconds(512) < 0.1 * price.fixed_seconds(512)
    seen = Forecast(prefill_tokens=512, max_rows=4, target=Latency(1, 1), clock=lambda: 0.0)
    for i in range(40):
        seen.begin(i, request(512), price)
        seen.observe(0.5, [Delta(i, [5], finish_reason="stop")], num_running=1)
        seen.end(i)
    assert seen.latency([request(512)], price).first_token_seconds == pytest.approx(0.5, rel=0.05)


def test_a_price_is_what_was_timed() -> None:
    fitted = Price.fit(preset("full", 0.0))
    for batch, context in [*REGIMES, (5, 1000)]:
        assert fitted.step_seconds(batch, context) == pytest.approx(FULL.step_seconds(batch, context))
    steps = sum(FULL.row_seconds(context) for context in range(1000))
    assert FULL.reading_seconds(1000) == pytest.approx(steps, rel=1e-3)


@pytest.mark.parametrize(
    ("regimes", "price"),
    [
        ([(8, 512)], Price(row=FULL.step_seconds(8, 512) / 8)),
        ([(1, 512), (9, 512)], Price(row=FULL.row_seconds(512), fixed=FULL.fixed_seconds(512))),
        ([], Price()),
    ],
)
def test_what_was_not_varied_is_not_told_apart(regimes: list[tuple[int, int]], price: Price) -> None:
    speed = [PresetSpeed(batch=b, context=c, predicted=b / FULL.step_seconds(b, c)) for b, c in regimes]
    fitted = Price.fit(preset("full", 0.0).model_copy(update={"speed": tuple(speed)}))
    assert vars(fitted) == pytest.approx(vars(price))


# Forecasts


def forecast(clock: Callable[[], float] = lambda: 0.0, *, max_rows: int = 64) -> Forecast:
    return Forecast(prefill_tokens=PREFILL_TOKENS, max_rows=max_rows, target=Latency(0.05, 2.0), clock=clock)


def test_alone_a_request_decodes_alone_and_waits_for_its_own_prompt() -> None:
    latency = forecast().latency([request(512)], FULL)
    assert latency.token_seconds == pytest.approx(FULL.step_seconds(1, 512))
    assert latency.first_token_seconds == pytest.approx(FULL.reading_seconds(512))


def test_beside_others_it_pays_for_their_prompts_and_they_for_its_own() -> None:
    seen = forecast()
    seen.begin(1, request(512), FULL)
    seen.observe(FULL.reading_seconds(512), [Delta(request_id=1, tokens=[5])], num_running=1)
    seen.begin(2, request(512), FULL)
    latency = seen.latency([request(256)], PRICES["fast"])
    own, backlog = PRICES["fast"].reading_seconds(256), FULL.reading_seconds(512)
    # Both came at this moment: that many prompt tokens in the time that the rate looks back on.
    coming = 1024 / 10 * 64 * 0.05 * own / 256
    decode = FULL.fixed_seconds(513) + FULL.row_seconds(513) + FULL.row_seconds(512) + 5e-4
    assert latency.token_seconds == pytest.approx(decode + (backlog + own + coming) / 64)
    others = FULL.fixed_seconds(513) + FULL.row_seconds(513) + FULL.row_seconds(512)
    assert latency.first_token_seconds == pytest.approx(backlog + own + 3 * others)


def test_a_step_reads_one_piece_at_most() -> None:
    seen = forecast()
    for request_id in range(50):
        seen.begin(request_id, request(1024), FULL)
    latency = seen.latency([request(512)], PRICES["fast"])
    decode = FULL.fixed_seconds(1024) + 50 * FULL.row_seconds(1024) + 5e-4
    assert latency.token_seconds == pytest.approx(decode + FULL.reading_seconds(1024) * PREFILL_TOKENS / 1024)


def test_who_finds_no_row_waits_for_one() -> None:
    seen, crowded = forecast(max_rows=64), forecast(max_rows=2)
    for request_id in range(3):
        seen.begin(request_id, request(64), FULL)
        crowded.begin(request_id, request(64), FULL)
    roomy, narrow = (each.latency([request(64)], FULL) for each in (seen, crowded))
    assert narrow.token_seconds < roomy.token_seconds
    assert narrow.first_token_seconds > roomy.first_token_seconds
    waiting = 2 / 2 * 64 * narrow.token_seconds
    assert narrow.first_token_seconds == pytest.approx(roomy.first_token_seconds + waiting)


def test_where_memory_is_short_fewer_rows_run() -> None:
    seen = forecast(max_rows=64)
    for request_id in range(3):
        seen.begin(request_id, request(64), FULL)
    free = seen.latency([request(64)], FULL)
    seen.observe(0.0, [], num_running=2)
    short = seen.latency([request(64)], FULL)
    assert short.token_seconds < free.token_seconds
    waiting = 2 / 2 * 64 * short.token_seconds
    assert short.first_token_seconds == pytest.approx(free.first_token_seconds + waiting)


def test_arrivals_are_forgotten() -> None:
    now = [0.0]
    seen = forecast(lambda: now[0])
    idle = seen.latency([request(512)], FULL)
    seen.begin(1, request(512), FULL)
    seen.end(1)
    busy = [seen.latency([request(512)], FULL).token_seconds for now[0] in (0.0, 10.0, 200.0)]
    assert busy[0] > busy[1] > busy[2] == pytest.approx(idle.token_seconds)
    excess = [each - idle.token_seconds for each in busy]
    assert excess[1] == pytest.approx(excess[0] / math.e)


@pytest.mark.parametrize("times", [0.3, 3.0])
def test_it_learns_how_fast_this_machine_is(times: float) -> None:
    seen = forecast()
    for request_id in range(40):
        seen.begin(request_id, request(512), FULL)
        seen.observe(2 * times * FULL.reading_seconds(512), [Delta(request_id, [5])], num_running=1)
        for _ in range(3):
            step = times * (FULL.fixed_seconds(513) + FULL.row_seconds(513))
            seen.observe(step, [Delta(request_id, [5])], num_running=1)
        seen.end(request_id)
    latency = seen.latency([request(512)], FULL)
    assert latency.first_token_seconds == pytest.approx(2 * times * FULL.reading_seconds(512), rel=0.02)


def test_a_pause_is_no_news_and_a_draft_makes_tokens_cheaper() -> None:
    seen = forecast()
    seen.begin(1, request(512), FULL)
    seen.observe(FULL.reading_seconds(512), [Delta(1, [5])], num_running=1)
    before = seen.latency([request(512)], FULL).token_seconds
    seen.observe(60.0, [Delta(1, [5])], num_running=1)
    paused = seen.latency([request(512)], FULL).token_seconds
    assert before < paused < 1.3 * before
    for _ in range(50):
        seen.observe(FULL.step_seconds(1, 512), [Delta(1, [5, 6, 7, 8])], num_running=1)
    assert seen.latency([request(512)], FULL).token_seconds < 0.85 * before


# Choices


def test_candidates_are_ordered_by_quality_and_lie_between_the_bounds() -> None:
    assert controller().candidates == ["full", "balanced", "fast"]
    assert controller(best="balanced").candidates == ["balanced", "fast"]
    assert controller(fastest="balanced").candidates == ["full", "balanced"]
    assert controller(best="balanced", fastest="balanced").candidates == ["balanced"]
    dear = preset("fast", -5.0).model_copy(update={"name": "useless", "speed": speeds(FULL)})
    config = AutoConfig()
    more = AutoPreset(Presets([*PRESETS.details, dear]), config, prefill_tokens=1, max_rows=1)
    assert more.candidates == ["full", "balanced", "fast"], "one that is neither good nor fast is none"


def test_presets_without_the_memory_are_passed_over() -> None:
    """Unless there is none: then the engine refuses, and says what it would take."""
    asked = [request(10)]
    auto = controller()
    assert taken(auto.place(asked)) == "full"
    assert taken(auto.place(asked, fits=lambda r: r.placement != Placement("FFFF"))) == "balanced"
    assert taken(auto.place(asked, fits=lambda r: r.placement == Placement("GGGG"))) == "fast"
    assert taken(controller().place(asked, fits=lambda r: False)) == "full"


def test_a_model_with_one_preset_takes_it() -> None:
    alone = Presets.full_only(Placement("FFFF"))
    auto = AutoPreset(alone, AutoConfig(token_seconds=1e-9), prefill_tokens=1, max_rows=1)
    assert auto.candidates == ["full"]
    assert auto.place([request(10)])[0].placement == Placement("FFFF")
    auto.begin(1, request(10))
    auto.observe(0.1, [Delta(1, [5])], num_running=1)
    auto.observe(0.1, [Delta(1, [5], finish_reason="stop")], num_running=1)
    auto.end(1)


@pytest.mark.parametrize("missing", [{"speed": ()}, {"quality": None}, {"quality": PresetQuality()}])
def test_what_was_not_measured_cannot_be_chosen(missing: dict[str, object]) -> None:
    presets = Presets([preset("full", -3.0), preset("fast", -4.0).model_copy(update=missing)])
    assert measured(PRESETS) and not measured(presets)
    with pytest.raises(PlacementError, match="needs the quality and speed of every preset"):
        AutoPreset(presets, AutoConfig(), prefill_tokens=1, max_rows=1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"best": "slow"}, "auto.best: unknown preset 'slow' (known: fast, full, balanced)"),
        ({"fastest": "slow"}, "auto.fastest: unknown preset 'slow' (known: fast, full, balanced)"),
        (
            {"best": "fast", "fastest": "full"},
            "auto.fastest: 'full' is of better quality than auto.best, 'fast'",
        ),
    ],
)
def test_bounds_that_make_no_sense_are_one_line(config: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        controller(**config)
    assert str(error.value) == message


def test_a_draft_of_the_placement_taken_is_dropped() -> None:
    [kept] = controller().place([request(10, draft="fast")])
    assert (taken([kept]), kept.draft) == ("full", PRESETS["fast"])
    [dropped] = controller(first_token_seconds=1e-9).place([request(10, draft="fast")])
    assert (taken([dropped]), dropped.draft) == ("fast", None)


def test_of_a_burst_each_sees_those_before_it() -> None:
    """All arrive in one instant, before anything is seen of the first."""
    auto, choices = controller(token_seconds=0.05, first_token_seconds=1.0), []
    for request_id in range(12):
        placed = auto.place([request(512)])
        auto.begin(request_id, placed[0])
        choices.append(taken(placed))
    ranks = [auto.candidates.index(choice) for choice in choices]
    assert ranks == sorted(ranks)
    assert (choices[0], choices[-1]) == ("full", "fast")


Rows = st.lists(
    st.tuples(st.integers(1, 4000), st.sampled_from(["full", "balanced", "fast"]), st.booleans()), max_size=12
)
Times = st.floats(0.001, 20)


@settings(deadline=None)
@given(
    fewer=Rows,
    more=Rows,
    prompts=st.lists(st.integers(0, 4000), min_size=1, max_size=3),
    token_seconds=Times,
    first_token_seconds=Times,
    max_rows=st.integers(1, 8),
    bounds=st.sampled_from([(None, None), ("balanced", None), (None, "balanced")]),
)
def test_more_load_never_gives_a_slower_preset(
    fewer: list[tuple[int, str, bool]],
    more: list[tuple[int, str, bool]],
    prompts: list[int],
    token_seconds: float,
    first_token_seconds: float,
    max_rows: int,
    bounds: tuple[str | None, str | None],
) -> None:
    ranks = []
    for rows in (fewer, fewer + more):
        auto = controller(
            token_seconds=token_seconds,
            first_token_seconds=first_token_seconds,
            max_rows=max_rows,
            best=bounds[0],
            fastest=bounds[1],
        )
        for request_id, (prompt_tokens, name, _) in enumerate(rows):
            auto.begin(request_id, request(prompt_tokens, name=name))
        read = [Delta(request_id, [5]) for request_id, (_, _, decodes) in enumerate(rows) if decodes]
        # What was read took exactly as long as was expected.
        took = sum(
            PRICES[rows[delta.request_id][1]].reading_seconds(rows[delta.request_id][0]) for delta in read
        )
        auto.observe(took, read, num_running=len(rows))
        ranks.append(auto.candidates.index(taken(auto.place([request(n) for n in prompts]))))
    assert ranks[0] <= ranks[1]


# Choices over time


@dataclass
class Simulated:
    """A machine that takes what its prices say, times a factor that nobody told the controller."""

    now: float = 0.0
    slowness: float = 1.5
    rows: dict[int, Request] = field(default_factory=dict)
    read: dict[int, int] = field(default_factory=dict)
    written: dict[int, list[float]] = field(default_factory=dict)

    def step(self, auto: AutoPreset) -> None:
        decoding = {i for i in self.rows if self.written[i]}
        prices = {i: PRICES[taken([r])] for i, r in self.rows.items()}
        seconds = max((prices[i].fixed_seconds(len(self.rows[i].prompt)) for i in decoding), default=0.0)
        seconds += sum(prices[i].row_seconds(len(self.rows[i].prompt)) for i in decoding)
        left, ended = PREFILL_TOKENS, []
        for i, asked in self.rows.items():
            num_tokens = min(left, len(asked.prompt) - self.read[i])
            seconds += prices[i].reading_seconds(self.read[i] + num_tokens)
            seconds -= prices[i].reading_seconds(self.read[i])
            self.read[i] += num_tokens
            left -= num_tokens
        seconds *= self.slowness
        self.now += seconds
        deltas = []
        for i in [i for i, asked in self.rows.items() if self.read[i] == len(asked.prompt)]:
            self.written[i].append(self.now)
            if len(self.written[i]) == self.rows[i].max_tokens:
                ended.append(i)
            deltas.append(Delta(i, [5], finish_reason="length" if i in ended else None))
        auto.observe(seconds, deltas, num_running=len(self.rows))
        for i in ended:
            auto.end(i)
            del self.rows[i]


@dataclass
class Answer:
    preset: str
    first_token_seconds: float
    token_seconds: float


def simulate(arrivals: Sequence[float], fixed: str | None = None, **config: object) -> list[Answer]:
    """Answers of 32 tokens to prompts of 1,024, in the order of their arrival."""
    machine, ids = Simulated(), itertools.count()
    auto = controller(lambda: machine.now, **config)
    coming, came, names = list(arrivals), {}, {}
    while coming or machine.rows:
        if not machine.rows:
            machine.now = max(machine.now, coming[0])
        while coming and coming[0] <= machine.now:
            asked = [request(1024, name=fixed or "full")]
            placed = asked if fixed else auto.place(asked)
            i = next(ids)
            auto.begin(i, placed[0])
            machine.rows[i], machine.read[i], machine.written[i] = placed[0], 0, []
            came[i], names[i] = coming.pop(0), taken(placed)
        machine.step(auto)
    return [
        Answer(names[i], times[0] - came[i], (times[-1] - times[0]) / (len(times) - 1))
        for i, times in machine.written.items()
    ]


QUIET = [8.0 * n for n in range(4)]
BURST = [30.0 + 1.6 * n for n in range(20)]
AFTER = [80.0 + 8.0 * n for n in range(4)]


def test_targets_are_held_through_a_burst_that_all_fa_misses() -> None:
    def late(answers: Sequence[Answer]) -> float:
        """Share of the answers that miss a target."""
        return sum(a.token_seconds > 0.05 or a.first_token_seconds > 4 for a in answers) / len(answers)

    config = {"token_seconds": 0.05, "first_token_seconds": 4.0}
    answers = simulate(QUIET + BURST + AFTER, **config)
    burst = slice(len(QUIET), len(QUIET) + len(BURST))
    assert late(simulate(QUIET + BURST + AFTER, fixed="full", **config)[burst]) > 0.6
    # Those that ran on the best preset when the burst came are slowed down by its prompts.
    assert late(answers) <= 0.1
    assert {answer.preset for answer in answers[: len(QUIET)]} == {"full"}
    assert "fast" in {answer.preset for answer in answers[burst]}
    assert [answer.preset for answer in answers[-3:]] == ["full"] * 3, "what was left comes back"


def test_a_steady_load_does_not_change_gear_again_and_again() -> None:
    names = [answer.preset for answer in simulate([1.6 * n for n in range(80)], first_token_seconds=4.0)]
    changes = sum(a != b for a, b in itertools.pairwise(names[20:]))
    assert changes <= 12, names


# Served


@contextmanager
def served(
    engine: Engine, model: serving.ServedModel, log: Path | None = None, **config: object
) -> Iterator[TestClient]:
    """The model with measured presets, and 'auto' where a request names none."""
    auto = AutoPreset(
        PRESETS,
        AutoConfig(**config),
        prefill_tokens=engine.config.prefill_tokens,
        max_rows=engine.config.max_rows,
    )
    measured_model = replace(model, presets=PRESETS, default="auto", auto=auto)
    worker = serving.EngineWorker(engine, auto=auto)
    access_log = serving.AccessLog(str(log)) if log else None
    with TestClient(serving.create_app(measured_model, worker, access_log=access_log)) as client:
        yield client
    if access_log is not None:
        access_log.close()


BODY = {"prompt": "def f(", "max_tokens": 4, "temperature": 0}
PROMISE_NOTHING, PROMISE_ALL = {"first_token_seconds": 1e4, "token_seconds": 1e4}, {"token_seconds": 1e-9}


def test_auto_is_a_name_of_the_model(engine: Engine, model: serving.ServedModel) -> None:
    with served(engine, model, token_seconds=0.2, fastest="balanced") as client:
        names = [listed["id"] for listed in client.get("/v1/models").json()["data"]]
        assert names == ["tiny", "tiny@auto", "tiny@fast", "tiny@full", "tiny@balanced"]
        assert client.get("/v1/models/tiny@auto").status_code == 200
        presets = client.get("/v1/presets").json()
        assert presets["default"] == "auto"
        assert presets["auto"] == {
            "candidates": ["full", "balanced"],
            "token_seconds": 0.2,
            "first_token_seconds": 2.0,
        }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", BODY),
        ("/v1/completions", {**BODY, "model": "tiny@auto"}),
        ("/v1/completions", {**BODY, "preset": "auto", "prompt": ["a", "b"], "n": 3, "temperature": 1}),
        ("/infill", {"input_prefix": "x", "input_suffix": "y", "n_predict": 4}),
        ("/v1/fim/completions", {"prompt": "x", "suffix": "y", "max_tokens": 4}),
    ],
)
@pytest.mark.parametrize(("promise", "preset"), [(PROMISE_NOTHING, "full"), (PROMISE_ALL, "fast")])
def test_an_answer_says_which_preset_was_taken(
    engine: Engine,
    model: serving.ServedModel,
    path: str,
    body: dict[str, object],
    promise: dict[str, float],
    preset: str,
) -> None:
    with served(engine, model, **promise) as client:
        whole = client.post(path, json=body)
        assert whole.json()["preset"] == whole.headers["x-derailleur-preset"] == preset
        assert whole.json()["placement"] == PLACEMENTS[preset]
        streamed = client.post(path, json={**body, "stream": True})
        events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
        assert events[-1]["preset"] == streamed.headers["x-derailleur-preset"] == preset
        # The server's own draft is dropped where it is what was taken.
        assert whole.json()["draft"] == (None if preset == "fast" else "GGGG")


def test_an_answer_that_was_asked_of_a_preset_says_so_too(engine: Engine, model: serving.ServedModel) -> None:
    with served(engine, model, **PROMISE_ALL) as client:
        assert client.post("/v1/completions", json={**BODY, "preset": "full"}).json()["preset"] == "full"
        other = client.post("/v1/completions", json={**BODY, "placement": "KKKK"})
        assert other.json()["preset"] == other.headers["x-derailleur-preset"] == "other"


def test_metrics_and_the_log_count_what_was_chosen(
    engine: Engine, model: serving.ServedModel, tmp_path: Path
) -> None:
    with served(engine, model, tmp_path / "log", token_seconds=1e-9, first_token_seconds=3.0) as client:
        for preset in ("auto", "auto", "full"):
            client.post("/v1/completions", json={**BODY, "preset": preset})
        client.post("/v1/completions", json={**BODY, "max_tokens": 9000})
        metrics = client.get("/metrics").text
    for line in (
        'derailleur_auto_choices_total{preset="fast"} 2.0',
        'derailleur_auto_target_seconds{latency="token"} 1e-09',
        'derailleur_auto_target_seconds{latency="first_token"} 3.0',
        'derailleur_calls_in_flight{preset="fast"} 0.0',
    ):
        assert line in metrics.splitlines()
    calls = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()][:4]
    assert [(call["auto"], call.get("preset"), call["status"]) for call in calls] == [
        (True, "fast", 200),
        (True, "fast", 200),
        (False, "full", 200),
        (True, None, 400),
    ]


def test_a_burst_is_placed_before_its_first_step(engine: Engine, model: serving.ServedModel) -> None:
    """What the engine has not yet begun counts: no step comes before all are there."""
    step, num_calls = engine.step, 6

    def waiting() -> list[Delta]:
        if not waiting.begun and engine.load.running + engine.load.waiting < num_calls:
            return []
        waiting.begun = True
        return step()

    waiting.begun = False
    engine.step = waiting  # type: ignore[method-assign]
    # One row of all-FA keeps this target, two do not.
    target = 1.2 * FULL.step_seconds(1, 3) / 0.9
    with served(engine, model, token_seconds=target, first_token_seconds=1e4) as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/v1/completions", json=BODY)))
            for _ in range(num_calls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    presets = sorted(answer.json()["preset"] for answer in answers)
    assert presets == ["fast"] * (num_calls - 1) + ["full"]


def test_without_measured_presets_auto_is_refused(client: TestClient) -> None:
    assert "tiny@auto" not in client.get("/v1/models").text
    assert client.get("/v1/presets").json()["auto"] is None
    answer = client.post("/v1/completions", json={**BODY, "preset": "auto"})
    assert answer.status_code == 400
    assert (
        answer.json()["error"]["message"]
        == "preset 'auto' needs presets whose quality and speed were measured"
    )


def folder_with(presets: Presets, folder: Path, tmp_path: Path) -> Path:
    """The checkpoint under other presets."""
    made = tmp_path / "run" / "model"
    shutil.copytree(folder, made)
    presets.save(made)
    return made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--auto.token_seconds", "0"], "auto.token_seconds: Input should be greater than 0"),
        (["--auto.first_token_seconds", "-1"], "auto.first_token_seconds: Input should be greater than 0"),
        (["--auto.best", "slow"], "auto.best: unknown preset 'slow' (known: fast, full, balanced)"),
        (["--auto.best", "fast", "--auto.fastest", "full"], "'full' is of better quality than auto.best"),
        (["--auto.fast", "full"], "unknown key 'auto.fast'; did you mean 'auto.fastest'?"),
    ],
)
def test_a_wrong_promise_is_one_line_and_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["serve", str(folder_with(PRESETS, folder, tmp_path)), "--port", "0", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_presets_that_auto_cannot_choose_between(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(folder), "--port", "0", "--preset", "auto"]) == 2
    assert "preset 'auto' needs the quality and speed of every preset" in capsys.readouterr().err
    clash = Presets([preset("full", -3.0), preset("fast", -4.0).model_copy(update={"name": "auto"})])
    assert main(["serve", str(folder_with(clash, folder, tmp_path)), "--port", "0"]) == 2
    assert "presets.json: 'auto' is the server's own choice; rename that preset" in capsys.readouterr().err


def test_the_command_makes_it_the_default(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def serve(server: serving.Server, listener: object) -> None:
        with TestClient(server.config.app) as client:
            asked.append(client.post("/v1/completions", json=BODY).json()["preset"])

    monkeypatch.setattr(serving, "serve", serve)
    promise = ["--auto.token_seconds", "1e-9", "--auto.fastest", "balanced"]
    options = ["--port", "0", "--preset", "auto", *promise]
    assert main(["serve", str(folder_with(PRESETS, folder, tmp_path)), *options]) == 0
    assert asked == ["balanced"]
