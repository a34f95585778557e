import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derailleur.config import validate
from derailleur.errors import CheckpointError, ConfigError
from derailleur.model import Decoder, GdnConfig, MixersConfig, add_mixers, save_model
from derailleur.placement import measure
from derailleur.placement.cost import Regime, load_cost
from derailleur.placement.placement import Placement
from derailleur.placement.presets import load_presets
from derailleur.placement.stage import PlaceConfig, Step, place
from derailleur.placement.surrogate import load_surrogate

Seconds = Callable[[Placement, int, int], float]

NUM_LAYERS = 3
LONG = Regime(4, 2000)
SETTINGS: dict[str, Any] = {
    "quality": {"window_tokens": 24, "num_windows": 2, "num_random": 10, "rounds": 2, "round_size": 3},
    "speed": {"batches": [1, 4], "contexts": [100, 2000], "steps": 2, "warmup": 1},
    "search": {"batch": 4, "context": 2000},
}
CONFIG = validate(PlaceConfig, SETTINGS)

pytestmark = pytest.mark.usefixtures("formula_seconds")


@pytest.fixture(scope="module")
def out(
    supernet_folder: Path,
    tokens_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    formula_seconds: Seconds,
) -> Path:
    """The folder of a finished stage; results.json holds what it returned."""
    folder = tmp_path_factory.mktemp("place")
    results = place(CONFIG, supernet_folder, tokens_folder, folder)
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False))
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_every_planned_placement_is_measured_once(out: Path) -> None:
    quality = rows(out / "quality.jsonl")
    origins = [row["origin"] for row in quality]
    assert len({row["placement"] for row in quality}) == len(quality)
    assert (origins.count("uniform"), origins.count("swap"), origins.count("random")) == (4, 9, 10)
    assert 1 <= origins.count("round-1") <= 3
    assert all(math.isfinite(row["log_likelihood"]) and row["tokens"] == 48 for row in quality)
    assert results(out)["placements_measured"] == len(quality)


def test_the_cost_model_found_the_formula(out: Path, formula_seconds: Seconds) -> None:
    cost = load_cost(out)
    assert len(cost.regimes) == 4
    for regime, fitted in cost.regimes.items():
        assert fitted.fit_error < 1e-9
        assert fitted.heldout_error is not None
        assert fitted.heldout_error < 1e-9
        expected = formula_seconds(Placement("FSK"), regime.batch, regime.context)
        assert cost.seconds_per_step(Placement("FSK"), regime) == pytest.approx(expected)
    assert cost.regimes[LONG].relative["G"] < 0.2 < 1
    assert cost.regimes[Regime(1, 100)].relative["S"] > 1
    assert results(out)["placements_timed"] >= 4 + 4 + 3


def test_the_frontier_is_that_of_all_placements_by_the_surrogate(out: Path) -> None:
    frontier = json.loads((out / "frontier.json").read_text())
    costs = [point["cost"] for point in frontier]
    qualities = [point["predicted_quality"] for point in frontier]
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    assert frontier[0]["placement"] == "GGG"
    surrogate = load_surrogate(out)
    means, stds = surrogate.predict([Placement(point["placement"]) for point in frontier])
    assert qualities == pytest.approx(list(means), abs=1e-9)
    assert [point["predicted_quality_std"] for point in frontier] == pytest.approx(list(stds), abs=1e-9)
    assert surrogate.report().loo_spearman == results(out)["surrogate"]["loo_spearman"]
    observed = [row for row in rows(out / "quality.jsonl") if row["origin"] != "preset"]
    assert [str(placement) for placement in surrogate.placements] == [row["placement"] for row in observed]


def test_presets_go_from_all_fa_to_the_fastest_and_are_measured(out: Path, formula_seconds: Seconds) -> None:
    presets = load_presets(out, full=Placement.uniform("F", NUM_LAYERS))
    assert presets.default == "full"
    assert presets["full"] == Placement("FFF")
    assert presets["fast"] == Placement("GGG")
    assert len(set(presets.values())) == len(presets)
    costs = [preset.cost or 0 for preset in presets.details]
    assert costs[0] == 1
    assert costs == sorted(costs, reverse=True)
    searched = {row["placement"]: row["log_likelihood"] for row in rows(out / "quality.jsonl")}
    confirmed = {row["placement"]: row["log_likelihood"] for row in rows(out / "confirmed.jsonl")}
    for preset in presets.details:
        assert preset.quality is not None
        assert preset.quality.measured == searched[str(preset.placement)]
        assert preset.quality.confirmed == confirmed[str(preset.placement)] != preset.quality.measured
        assert len(preset.speed) == 4
        for speed in preset.speed:
            expected = speed.batch / formula_seconds(preset.placement, speed.batch, speed.context)
            assert speed.measured == pytest.approx(expected)
            assert speed.predicted == pytest.approx(expected)
    assert results(out)["preset_errors"]["speed_mape"] < 1e-9
    assert [row["name"] for row in results(out)["presets"]] == list(presets)


def test_the_same_seed_gives_the_same_files(
    out: Path, supernet_folder: Path, tokens_folder: Path, tmp_path: Path
) -> None:
    place(CONFIG, supernet_folder, tokens_folder, tmp_path)
    for name in ("quality.jsonl", "speed.jsonl", "frontier.json", "presets.json", "surrogate.json"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


@pytest.mark.parametrize("kill_after", [3, 24])
def test_a_killed_run_resumes(
    out: Path,
    supernet_folder: Path,
    tokens_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill_after: int,
) -> None:
    calls = 0
    real = measure.mean_log_likelihood

    def killed(*arguments: Any) -> float:
        nonlocal calls
        calls += 1
        if calls > kill_after:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "mean_log_likelihood", killed)
        with pytest.raises(KeyboardInterrupt):
            place(CONFIG, supernet_folder, tokens_folder, tmp_path)
    with (tmp_path / "quality.jsonl").open("a") as stream:
        stream.write('{"placement": "FF')
    place(CONFIG, supernet_folder, tokens_folder, tmp_path)
    for name in ("quality.jsonl", "speed.jsonl", "presets.json"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_each_step_does_what_is_missing_and_stops(
    out: Path,
    supernet_folder: Path,
    tokens_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = place(CONFIG, supernet_folder, tokens_folder, tmp_path, until=Step.MEASURE)
    assert {p.name for p in tmp_path.iterdir()} == {"quality.jsonl", "speed.jsonl"}
    assert first["placements_measured"] > 23
    with monkeypatch.context() as patch:
        patch.setattr(measure, "mean_log_likelihood", lambda *_: pytest.fail("measured twice"))
        place(CONFIG, supernet_folder, tokens_folder, tmp_path, until=Step.FIT)
    assert {p.name for p in tmp_path.iterdir()} == {
        "quality.jsonl",
        "speed.jsonl",
        "cost.json",
        "surrogate.json",
    }
    place(CONFIG, supernet_folder, tokens_folder, tmp_path, until=Step.SEARCH)
    assert (tmp_path / "presets.json").read_bytes() == (out / "presets.json").read_bytes()


def test_where_full_attention_is_the_fastest_it_is_the_only_preset(
    supernet_folder: Path, tokens_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = validate(PlaceConfig, SETTINGS | {"search": {"batch": 1, "context": 100}})
    found = place(config, supernet_folder, tokens_folder, tmp_path)
    assert dict(load_presets(tmp_path)) == {"full": Placement("FFF")}
    assert found["unused_preset_names"] == ["quality", "balanced", "fast"]
    assert "1 of 4 presets (full)" in caplog.text


def test_min_count_holds_for_every_frontier_placement(
    supernet_folder: Path, tokens_folder: Path, tmp_path: Path
) -> None:
    config = validate(PlaceConfig, SETTINGS | {"search": {"batch": 4, "context": 2000, "min_count": 2}})
    place(config, supernet_folder, tokens_folder, tmp_path)
    frontier = json.loads((tmp_path / "frontier.json").read_text())
    assert all(len(set(point["placement"])) == 1 for point in frontier)  # 3 layers: all of a kind


def test_a_supernet_with_two_mixers(
    teacher: Decoder, teacher_folder: Path, tokens_folder: Path, tmp_path: Path
) -> None:
    save_model(
        add_mixers(teacher, MixersConfig(G=GdnConfig()), seed=0),
        tmp_path / "model",
        tokenizer_from=teacher_folder,
    )
    place(CONFIG, tmp_path / "model", tokens_folder, tmp_path / "out")
    assert {"".join(sorted(set(row["placement"]))) for row in rows(tmp_path / "out/quality.jsonl")} == {
        "F",
        "G",
        "FG",
    }
    assert len(rows(tmp_path / "out/quality.jsonl")) == 2**NUM_LAYERS
    assert load_presets(tmp_path / "out")["fast"] == Placement("GGG")
    effects = json.loads((tmp_path / "out/surrogate.json").read_text())["layer_effects"]
    assert all(set(layer) == {"F", "G"} for layer in effects)


def test_a_plain_teacher_is_refused(teacher_folder: Path, tokens_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a supernet: run `derailleur distill`") as caught:
        place(CONFIG, teacher_folder, tokens_folder, tmp_path)
    assert str(teacher_folder) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": {"batch": 3}}, "batch 3, context 8192 is not among speed.batches and speed.contexts"),
        ({"presets": ["full", "full"]}, "a name is there twice"),
        ({"speed": {"contexts": [0]}}, "speed.contexts.0: Input should be greater than 0, got 0"),
        ({"max_range": 4}, "max_range: Input should be less than or equal to 3, got 4"),
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(PlaceConfig, settings)
