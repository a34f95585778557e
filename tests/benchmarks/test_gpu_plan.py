"""What the benchmark of a 15B model on a GPU plans, against the model itself and the published figures."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from gpu_plan import (
    ACCEPTANCE,
    DRAFT,
    PRESETS,
    SUPER_APRIEL,
    TARGET,
    DecodePlan,
    Footprint,
    Machine,
    Preset,
    SpeculationPlan,
    banks,
    expected_tokens,
    net_speed,
    spread,
)
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import ArgumentError
from derailleur.model import Decoder
from derailleur.placement import Placement
from derailleur.placement.placement import MIXERS

H100 = Machine.of("NVIDIA H100 80GB HBM3")
ADDED = 20


@pytest.fixture(scope="module")
def footprint() -> Footprint:
    return Footprint(SUPER_APRIEL)


def plan(footprint: Footprint, placement: Placement, context: int) -> DecodePlan:
    return DecodePlan(footprint, H100, placement, context, ADDED)


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any))
def test_mixers_are_spread_evenly(counts: Sequence[int]) -> None:
    placement = spread(counts)
    assert tuple(placement.counts().values()) == tuple(counts)
    for letter, count in zip(MIXERS, counts, strict=True):
        for depth in range(len(placement)):
            share = count * depth / len(placement)
            # Each of the other mixers can be in the way by one layer.
            assert abs(placement.letters[:depth].count(letter) - share) <= 2


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_fill_the_layers(preset: Preset) -> None:
    assert sum(preset.counts) == 48
    rarest = [i for i, letter in enumerate(preset.placement) if letter == "K"]
    gaps = [b - a for a, b in pairwise(rarest)]
    assert not gaps or max(gaps) - min(gaps) <= 2


def test_parameters_are_those_of_thin_decoders(footprint: Footprint) -> None:
    assert footprint.num_parameters(*(Placement.uniform(x, 48) for x in MIXERS)) == 24_635_823_616
    placements = (PRESETS[2].placement, DRAFT)
    with torch.device("meta"):
        thin = Decoder(SUPER_APRIEL.config.model_copy(update={"banks": banks(placements)}))
    count = sum(x.numel() for x in thin.parameters())
    assert footprint.num_parameters(*placements) == count
    assert footprint.weight_bytes(*placements) == 2 * count
    assert round(footprint.num_parameters(TARGET) / 1e9, 2) == 14.43


@pytest.mark.parametrize(
    ("name", "mebibytes"),
    # 4 KiB a token and layer under FA, at most 16 MiB under SWA, 2 MiB in a recurrent layer.
    [
        ("all-FA", (3072, 6144)),
        ("Reg-26", (1204, 1972)),
        ("Idealized-All-18", (1350, 2182)),
        ("Reg-18", (632, 824)),
        ("Idealized-All-6", (516, 516)),
        ("Reg-13", (320, 320)),
        ("Reg-10", (236, 236)),
    ],
)
def test_states_are_as_large_as_published(
    footprint: Footprint, name: str, mebibytes: tuple[int, int]
) -> None:
    preset = next(preset for preset in PRESETS if preset.name == name)
    for context, expected in zip(SUPER_APRIEL.contexts, mebibytes, strict=True):
        assert footprint.held_bytes(preset.placement, context) / 2**20 == pytest.approx(expected, rel=0.02)


def test_as_many_rows_as_fit(footprint: Footprint) -> None:
    full = plan(footprint, TARGET, 32_768)
    states = full.batch * full.row_bytes
    spent = footprint.weight_bytes(TARGET) + SUPER_APRIEL.work_bytes + states
    assert spent <= H100.memory_bytes < spent + full.row_bytes
    small = DecodePlan(footprint, Machine("small", 1e12, 24 << 30), TARGET, 32_768, ADDED)
    assert small.batch == 0
    assert SpeculationPlan(footprint, small.machine).batches == []


def test_the_floor_moves_weights_once_and_states_of_all_rows(footprint: Footprint) -> None:
    embeddings = 131_072 * 5120
    weights = 2 * (footprint.num_parameters(TARGET) - embeddings)
    keys_and_values = 48 * 16_384 * 2 * 8 * 128 * 2
    seconds = footprint.floor_seconds(H100, TARGET, 15, 16_384)
    assert seconds == pytest.approx((weights + 15 * keys_and_values) / 3.35e12)
    assert plan(footprint, TARGET, 16_384).floor_speed(15) == pytest.approx(15 / seconds)
    recurrent = footprint.moved_bytes(DRAFT, 16_384)
    assert recurrent == footprint.moved_bytes(DRAFT, 32_768) == 2 * footprint.held_bytes(DRAFT, 1)
    # An idle bank costs memory, not bandwidth.
    assert footprint.weight_bytes(TARGET, DRAFT) > footprint.weight_bytes(TARGET)


def test_the_floor_orders_presets_as_the_paper_measured_them(footprint: Footprint) -> None:
    for place, context in enumerate(SUPER_APRIEL.contexts):
        full = plan(footprint, TARGET, context)
        speedups = {}
        for preset in PRESETS:
            planned = plan(footprint, preset.placement, context)
            speedups[preset.paper[place]] = planned.floor_speed(planned.batch) / full.floor_speed(full.batch)
        ordered = [speedups[x] for x in sorted(speedups)]
        assert ordered == sorted(ordered)
        assert all(floor >= paper for paper, floor in speedups.items())


def test_devices_by_name() -> None:
    assert Machine.of("NVIDIA H200").bandwidth == 4.8e12
    assert Machine.of("NVIDIA H100 PCIe").bandwidth == 2.0e12
    assert Machine.of("H200", bandwidth=1e12, memory_bytes=7) == Machine("H200", 1e12, 7)
    assert Machine.of("abacus", bandwidth=1.0, memory_bytes=1) == Machine("abacus", 1.0, 1)
    with pytest.raises(ArgumentError, match=r"device 'NVIDIA GH200 480GB'.*--bandwidth"):
        Machine.of("NVIDIA GH200 480GB")


def test_speculation_is_planned_from_one_row_to_the_limit(footprint: Footprint) -> None:
    speculation = SpeculationPlan(footprint, H100)
    most, *fewer = speculation.batches
    row = speculation.budget_bytes // (most + 1)
    assert footprint.held_bytes(TARGET, 32_768) + 2 * footprint.held_bytes(DRAFT, 32_768) > row
    assert fewer[-1] == 1
    alone, drafted = speculation.floor_seconds(most, 0), speculation.floor_seconds(most, 4)
    assert alone == footprint.floor_seconds(H100, TARGET, most, 32_768)
    assert drafted == alone + 4 * footprint.floor_seconds(H100, DRAFT, most, 32_768)


def test_expected_tokens() -> None:
    assert expected_tokens(0.0, 4) == 1
    assert expected_tokens(1.0, 4) == 5
    assert expected_tokens(0.8, 4) == pytest.approx((1 - 0.8**5) / (1 - 0.8))


def test_the_best_number_of_drafted_tokens_grows_with_acceptance() -> None:
    seconds = {0: 1.0, 2: 1.5, 4: 1.9, 8: 2.6}
    speeds, lengths = zip(*(net_speed(seconds, acceptance) for acceptance in ACCEPTANCE), strict=True)
    assert list(speeds) == sorted(speeds)
    assert list(lengths) == sorted(lengths)
    assert net_speed(seconds, 1.0) == (pytest.approx(9 / 2.6), 8)
    assert math.isclose(net_speed(seconds, 0.5)[0], 1.75 / 1.5)
