import json
import math
from pathlib import Path

import numpy as np
import pytest

from derailleur.errors import ConfigError, DataError, PlacementError, UserError
from derailleur.placement.placement import Placement
from derailleur.placement.presets import (
    Preset,
    PresetQuality,
    Presets,
    PresetSpeed,
    choose_presets,
    load_presets,
)
from derailleur.placement.search import FrontierPoint

NAMES = ("full", "quality", "balanced", "fast")


def example() -> Presets:
    speed = PresetSpeed(batch=16, context=8192, predicted=90.0, measured=88.5)
    quality = PresetQuality(predicted=-1.3, measured=-1.31, confirmed=-1.35)
    return Presets(
        [
            Preset(name="full", placement=Placement("FFFF"), cost=1.0),
            Preset(name="fast", placement=Placement("GGSG"), quality=quality, speed=(speed,), cost=0.3),
        ]
    )


def test_saved_and_loaded(tmp_path: Path) -> None:
    example().save(tmp_path)
    loaded = load_presets(tmp_path, full=Placement("FFFF"))
    assert dict(loaded) == {"full": Placement("FFFF"), "fast": Placement("GGSG")}
    assert (loaded.default, loaded.num_layers) == ("full", 4)
    assert loaded.details == example().details
    content = json.loads((tmp_path / "presets.json").read_text())
    assert content["presets"][1]["placement"] == "GGSG"
    assert content["presets"][1]["speed"] == [
        {"batch": 16, "context": 8192, "predicted": 90.0, "measured": 88.5}
    ]
    assert content["presets"][1]["quality"]["unit"] == "mean log-likelihood, nats per token"


def test_a_short_file_written_by_hand_is_enough(tmp_path: Path) -> None:
    presets = [{"name": "mine", "placement": "FG"}]
    content = {"num_layers": 2, "default": "mine", "presets": presets}
    (tmp_path / "presets.json").write_text(json.dumps(content))
    assert load_presets(tmp_path).resolve(None) == Placement("FG")


def test_resolve_takes_every_spelling() -> None:
    presets = example()
    assert presets.resolve(None) == Placement("FFFF")
    assert presets.resolve("fast") == Placement("GGSG")
    assert presets.resolve("all-kda") == Placement("KKKK")
    assert presets.resolve("2F 2G") == Placement("FFGG")
    assert presets.resolve("FSKG") == Placement("FSKG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fats", "unknown preset 'fats'; did you mean 'fast'"),
        ("Full", "did you mean 'full'"),
        ("zzz", r"unknown preset 'zzz' \(known: full, fast\)"),
        ("FSK", "has 3 layers, the model has 4"),
        ("all-mamba", "unknown mixer 'mamba'"),
    ],
)
def test_an_unknown_preset_names_the_nearest(text: str, message: str) -> None:
    with pytest.raises(PlacementError, match=message):
        example().resolve(text)


def test_without_a_file_there_is_all_fa_alone(tmp_path: Path) -> None:
    assert dict(load_presets(tmp_path, full=Placement("FFF"))) == {"full": Placement("FFF")}
    with pytest.raises(DataError, match=r"presets\.json: no such file"):
        load_presets(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"default": "slow"}, PlacementError, "default preset 'slow' is not among full"),
        ({"num_layers": 3}, DataError, "num_layers is 3"),
        ({"presets": [{"name": "full", "placement": "FXFF"}]}, ConfigError, "presets.0.placement"),
        ({"presets": [{"name": "full", "placement": 4}]}, ConfigError, "presets.0.placement"),
        ({"presets": [{"name": "full", "placement": "FF"}] * 2}, PlacementError, "two presets have one name"),
        ({"preset": []}, ConfigError, "unknown key 'preset'; did you mean 'presets'"),
        ({"presets": []}, PlacementError, "no presets"),
        (
            {"presets": [{"name": "full", "placement": "FFFF"}, {"name": "b", "placement": "F"}]},
            PlacementError,
            "'b' has 1 layers, 'full' has 4",
        ),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, change: dict[str, object], error: type[UserError], message: str
) -> None:
    content = {"num_layers": 4, "default": "full", "presets": [{"name": "full", "placement": "FFFF"}]}
    (tmp_path / "presets.json").write_text(json.dumps(content | change))
    with pytest.raises(error, match=message) as caught:
        load_presets(tmp_path)
    assert str(tmp_path / "presets.json") in str(caught.value)


def test_presets_of_another_model_are_refused(tmp_path: Path) -> None:
    example().save(tmp_path)
    with pytest.raises(DataError, match="the model has 5"):
        load_presets(tmp_path, full=Placement("FFFFF"))
    (tmp_path / "presets.json").write_text("[]")
    with pytest.raises(DataError, match="expected an object"):
        load_presets(tmp_path)


def frontier(costs: list[float]) -> list[FrontierPoint]:
    """Points with these costs and as many different placements."""
    letters = [np.base_repr(index, 4).rjust(4, "0") for index in range(255, 255 - len(costs), -1)]
    spelt = [Placement(text.translate(str.maketrans("0123", "FSKG"))) for text in letters]
    return [FrontierPoint(p, cost, -1 - 1 / cost) for p, cost in zip(spelt, costs, strict=True)]


def test_presets_go_from_all_fa_to_the_fastest_evenly_in_log_speed() -> None:
    points = frontier(list(np.geomspace(1 / 8, 0.999, 40)))
    chosen = choose_presets(points, NAMES)
    assert list(chosen) == list(NAMES)
    assert chosen["full"] == Placement("FFFF")
    assert chosen["fast"] == points[0].placement
    cost = {point.placement: point.cost for point in points}
    assert math.log2(1 / cost[chosen["quality"]]) == pytest.approx(1, abs=0.05)
    assert math.log2(1 / cost[chosen["balanced"]]) == pytest.approx(2, abs=0.05)


def test_no_placement_is_chosen_twice_and_the_order_is_by_speed() -> None:
    points = frontier([0.1, 0.101, 0.102, 0.103, 0.104])
    chosen = choose_presets(points, [*NAMES[:-1], "faster", "fast"])
    assert len(set(chosen.values())) == 5
    cost = {Placement("FFFF"): 1.0} | {point.placement: point.cost for point in points}
    costs = [cost[placement] for placement in chosen.values()]
    assert costs == sorted(costs, reverse=True)


def test_all_fa_on_the_frontier_is_not_chosen_twice() -> None:
    points = [*frontier([0.2, 0.5]), FrontierPoint(Placement("FFFF"), 1.0, -1.0)]
    assert list(choose_presets(points, NAMES).items()) == [
        ("full", Placement("FFFF")),
        ("quality", points[1].placement),
        ("fast", points[0].placement),
    ]


def test_too_short_a_frontier_leaves_names_unused() -> None:
    assert list(choose_presets(frontier([0.5]), NAMES)) == ["full", "fast"]
    assert list(choose_presets([FrontierPoint(Placement("FFFF"), 1.0, -1.0)], NAMES)) == ["full"]
    assert list(choose_presets(frontier([1.2, 1.5]), NAMES)) == ["full"]
    assert list(choose_presets(frontier([0.5]), ["full"])) == ["full"]
