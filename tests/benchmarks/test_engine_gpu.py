"""The benchmark of a 15B model on a GPU, with a tiny decoder on a CPU: the same code on another device."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_gpu import Bench, Results, main, random_decoder, with_fewer_rows
from gpu_plan import DRAFT, PRESETS, TARGET, TINY, DecodePlan, Footprint, Machine, SpeculationPlan, banks

from derailleur.errors import CapacityError, DataError
from derailleur.placement import Placement

CPU = torch.device("cpu")
MACHINE = Machine("tiny", 1e10, 20 << 20)
SCALE = replace(TINY, contexts=(256, 768), prefill_tokens=768)
LATER = 60.0


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(SCALE, CPU, steps=1)


@pytest.fixture(scope="module")
def footprint() -> Footprint:
    return Footprint(SCALE)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results.json", {"device": "tiny"})


def decode_plan(footprint: Footprint, placement: Placement) -> DecodePlan:
    return DecodePlan(footprint, MACHINE, placement, SCALE.contexts[0], num_added=5)


def deadline() -> float:
    return time.monotonic() + LATER


@pytest.mark.parametrize("preset", [PRESETS[1], PRESETS[2]], ids=lambda preset: preset.name)
def test_the_engine_grants_the_planned_rows_and_no_more(
    bench: Bench, footprint: Footprint, results: Results, preset: Any
) -> None:
    plan = decode_plan(footprint, preset.placement)
    bench.measure([bench.decode_point(plan)], results, deadline())
    point = results.points[plan.key]
    assert point["batch"] == plan.batch > 1
    assert point["tokens_per_second"] > 0
    engine = bench._engine(bench._decoder([plan.placement]), plan.budget_bytes, plan.batch + 1)
    with pytest.raises(CapacityError):
        engine.decode_speed(plan.placement, plan.batch + 1, plan.context, steps=1, warmup=3)


@pytest.mark.parametrize("num_drafted", [0, 4])
def test_every_draft_is_accepted(
    bench: Bench, footprint: Footprint, results: Results, num_drafted: int
) -> None:
    plan = SpeculationPlan(footprint, MACHINE)
    bench.measure([bench.speculation_point(plan, num_drafted)], results, deadline())
    seconds = results.points[plan.key(num_drafted)]["seconds_per_step"]
    assert [int(batch) for batch in seconds] == plan.batches
    assert all(taken > 0 for taken in seconds.values())


def test_each_token_is_followed_by_the_next_whatever_mixes() -> None:
    config = SCALE.config.model_copy(update={"banks": banks((TARGET, DRAFT))})
    decoder = random_decoder(config, device=CPU, dtype=torch.float32)
    tokens = torch.randint(SCALE.config.vocab_size, (1, 64), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        for placement in (TARGET, DRAFT):
            follows = decoder(tokens, placement).logits.argmax(-1)
            assert torch.equal(follows, (tokens + 1) % SCALE.config.vocab_size)


def test_what_is_known_is_not_measured_again(bench: Bench, footprint: Footprint, results: Results) -> None:
    plan = decode_plan(footprint, TARGET)
    results.add(plan.key, {"batch": 1, "tokens_per_second": 1.0})
    again = Results(results._path, {"device": "tiny"})
    bench.measure([bench.decode_point(plan)], again, deadline())
    assert again.points == {plan.key: {"batch": 1, "tokens_per_second": 1.0}}
    with pytest.raises(DataError, match=r"results\.json: holds results of \{'device': 'tiny'\}"):
        Results(results._path, {"device": "another"})


def test_nothing_starts_when_the_time_is_up_and_a_failure_costs_one_point(
    bench: Bench, footprint: Footprint, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = decode_plan(footprint, TARGET)
    bench.measure([bench.decode_point(plan)], results, time.monotonic() - 1)
    assert not results.points
    broken = replace(plan, machine=replace(MACHINE, memory_bytes=1))
    bench.measure([bench.decode_point(broken), bench.decode_point(plan)], results, deadline())
    assert "CapacityError: not even one row fits" in capsys.readouterr().err
    assert plan.key in results.points


def test_rows_become_fewer_until_they_fit() -> None:
    def measure(batch: int) -> dict[str, Any]:
        if batch > 15:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return {"batch": batch}

    assert with_fewer_rows(measure, 20) == {"batch": 14}
    with pytest.raises(CapacityError):
        with_fewer_rows(measure, 0)


def test_the_plan_is_printed_where_nothing_can_be_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["engine_gpu.py", "--device", "H200"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Super Apriel 15B on H200: 4.8 TB/s, 139 GiB")
    reg_26 = [line for line in lines if line.startswith("| Reg-26 | 12 26 6 4 | 14.72 | 29.4 |")]
    assert len(reg_26) == 2
    assert all(line.endswith("|  |  |  |") for line in reg_26)
    assert sum(line.startswith("| 1 | ") for line in lines) == 1


def test_the_manual_shows_the_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["engine_gpu.py", "--device", "H100"])
    main()
    manual = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8").splitlines()
    assert [
        line for line in capsys.readouterr().out.splitlines() if line not in manual and line[:1] == "|"
    ] == []


def test_what_was_measured_stands_beside_the_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    call = ["engine_gpu.py", "--tiny", "--minutes", "0", "--steps", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", call)
    main()
    lines = capsys.readouterr().out.splitlines()
    full = next(line for line in lines if line.startswith("| all-FA |"))
    rows = int(full.split(" | ")[5])
    points: dict[str, dict[str, Any]] = {
        f"{TARGET} 512": {"batch": rows, "tokens_per_second": 100.0},
        f"{PRESETS[1].placement} 512": {"batch": 7, "tokens_per_second": 250.0},
        "0 drafted": {"seconds_per_step": {"1": 0.01}},
        "4 drafted": {"seconds_per_step": {"1": 0.02}},
    }
    about = {"device": "tiny", "model": "tiny", "steps": 1, "torch": torch.__version__}
    out.write_text(json.dumps(about | {"points": points}))
    main()
    text = capsys.readouterr().out
    assert " | 1.00 | 100 | " in text
    assert " | 2.50 | 250 (7 rows) | " in text
    assert text.splitlines()[-2].startswith("| 1 | ") and text.splitlines()[-2].endswith("| 2.50 (4) |")
    out.write_text(json.dumps(about | {"steps": 2, "points": points}))
    with pytest.raises(SystemExit, match="give another --out"):
        main()
