"""The tables of `engine_gpu.py`: what is planned, and beside it what was measured, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpu_plan import ACCEPTANCE, DRAFTED, PRESETS, TARGET, DecodePlan, SpeculationPlan, net_speed

from derailleur.placement import Placement

Plans = Mapping[tuple[Placement, int], DecodePlan]
Points = Mapping[str, Mapping[str, Any]]


def print_tables(plans: Plans, speculation: SpeculationPlan, points: Points) -> None:
    """All of them; what was not measured is left empty.

    Args:
        plans: by placement and context.
        points: what was measured, by the plans' keys.
    """
    machine, scale = speculation.machine, speculation.footprint.scale
    print(
        f"{scale.name} on {machine.name}: {machine.bandwidth / 1e12:.3g} TB/s, "
        f"{machine.memory_bytes / 2**30:.3g} GiB, {scale.work_bytes / 2**30:.3g} of them for work.\n"
    )
    for place, context in enumerate(scale.contexts):
        print_table(decode_table(plans, points, place, context))
    print(f"All-GDN drafts for all-FA at {speculation.context} tokens: times all-FA (drafted tokens).\n")
    floors = {
        batch: {n: speculation.floor_seconds(batch, n) for n in DRAFTED} for batch in speculation.batches
    }
    print_table(speculation_table("rows, by the floor", floors))
    if measured := measured_steps(points):
        print_table(speculation_table("rows, measured", measured))


def decode_table(plans: Plans, points: Points, place: int, context: int) -> list[list[str]]:
    """A preset a row: what it needs, and its speed by the floor, in the paper and here.

    Args:
        place: of the context among the paper's.
    """
    head = ["preset", "FA SWA KDA GDN", "parameters, 1e9", "weights, GB", "state, MiB a row", "rows"]
    head += ["floor, tokens/s", f"floor, x @ {context}", f"paper, x @ {('16k', '32k')[place]}"]
    head += [f"measured, x @ {context}", "measured, tokens/s", "of the floor"]
    full = plans[TARGET, context]
    full_floor = full.floor_speed(full.batch)
    full_speed = points.get(full.key, {}).get("tokens_per_second")
    table = [head]
    for preset in PRESETS:
        plan = plans[preset.placement, context]
        floor, footprint = plan.floor_speed(plan.batch), plan.footprint
        row = [
            preset.name,
            " ".join(map(str, preset.counts)),
            f"{footprint.num_parameters(preset.placement) / 1e9:.2f}",
            f"{footprint.weight_bytes(preset.placement) / 1e9:.1f}",
            f"{plan.row_bytes / 2**20:,.0f}",
            str(plan.batch),
            f"{floor:,.0f}",
            _times(floor, full_floor),
            f"{preset.paper[place]:.2f}",
        ]
        table.append(row + _measured_cells(plan, points.get(plan.key), full_speed))
    return table


def _measured_cells(plan: DecodePlan, point: Mapping[str, Any] | None, full_speed: float | None) -> list[str]:
    if point is None:
        return [""] * 3
    batch, speed = point["batch"], point["tokens_per_second"]
    fewer = "" if batch == plan.batch else f" ({batch} rows)"
    return [
        _times(speed, full_speed),
        f"{speed:,.0f}{fewer}",
        f"{speed / plan.floor_speed(batch):.0%}",
    ]


def _times(speed: float, full_speed: float | None) -> str:
    return f"{speed / full_speed:.2f}" if full_speed else ""


def measured_steps(points: Points) -> dict[int, dict[int, float]]:
    """Seconds of a step, by batch and by drafted tokens."""
    steps: dict[int, dict[int, float]] = {}
    for n in DRAFTED:
        point = points.get(SpeculationPlan.key(n), {})
        for batch, seconds in point.get("seconds_per_step", {}).items():
            steps.setdefault(int(batch), {})[n] = seconds
    return steps


def speculation_table(title: str, steps: Mapping[int, Mapping[int, float]]) -> list[list[str]]:
    """A batch a row, an acceptance a column: the net speed at the best number of drafted tokens."""
    table = [[title, *(f"a = {acceptance:.1f}" for acceptance in ACCEPTANCE)]]
    for batch, seconds in sorted(steps.items()):
        if 0 in seconds and len(seconds) > 1:
            best = [net_speed(seconds, acceptance) for acceptance in ACCEPTANCE]
            table.append([str(batch), *(f"{speed:.2f} ({n})" for speed, n in best)])
    return table


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Markdown, the first row the head."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if number == 0:
            print("|" + " --- |" * len(row))
    print(flush=True)
