"""`derailleur place measure|fit|search`: find the best placements for every speed."""

import logging
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result, progress_bars, split_overrides
from derailleur.config import Config, load_config
from derailleur.errors import UserError
from derailleur.runs import Stage, alone, claim, execute

log = logging.getLogger(__name__)

_STEPS = {
    "measure": "measure the speed and the quality of placements",
    "fit": "fit the cost model and the surrogate to the measurements",
    "search": "find the frontier, choose presets and measure them again",
}


def run(command: str, arguments: list[str]) -> int:
    """Run one step of stage `place`, after what is missing of the steps before it."""
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help"):
        print(_usage(command))
        return 0
    if name not in _STEPS:
        raise UserError(f"{command}: expected a step, got '{name}'; known: {', '.join(_STEPS)}")

    from derailleur.model import model_folder
    from derailleur.model.weights import weight_files
    from derailleur.placement.presets import load_presets
    from derailleur.placement.stage import VERSION, PlaceConfig, Step, place

    options, overrides = split_overrides(_parser(command, name, PlaceConfig), arguments[1:])
    config = load_config(PlaceConfig, options.config, overrides)
    step = Step(name)
    model = model_folder(options.model)
    # The files that decide, not the folder: presets.json may be written into it.
    weights = {f"weights{number or ''}": file for number, file in enumerate(weight_files(model))}
    inputs = {"config": model / "config.json", **weights, "tokens": options.data}
    with progress_bars() as progress:

        def work(out: Path) -> dict[str, Any]:
            return place(config, model, options.data, out, until=step, progress=progress)

        stage = Stage("place", VERSION, config, inputs, work)
        if step is Step.SEARCH:
            results = execute(stage, options.out)["results"]
        else:
            out = options.out.resolve()
            with alone(out):
                done = claim(stage, out)
                results = done["results"] if done else work(out)
    if step is Step.SEARCH and options.write_presets:
        load_presets(options.out).save(model)
        log.info("presets written to %s", model / "presets.json")
    print_result(results, as_json=options.json, text=_summary(results))
    if step is Step.SEARCH and not options.json:
        Console().print(_table(results))
    return 0


def _usage(command: str) -> str:
    rows = "\n".join(f"  {step:<8} {summary}" for step, summary in _STEPS.items())
    return (
        f"usage: derailleur {command} STEP MODEL --data TOKENS --out DIR [options]\n\n{rows}\n\n"
        "Each step first does what is missing of those above it.\n"
        f"derailleur {command} STEP --help shows a step's options.\n"
        f"example: {_example(command, 'search')}"
    )


def _example(command: str, step: str) -> str:
    return f"derailleur {command} {step} runs/mine/finetune --data runs/mine/tokenize --out runs/mine/place"


def _parser(command: str, step: str, config: type[Config]) -> Parser:
    summary = _STEPS[step][0].upper() + _STEPS[step][1:] + "."
    made = parser(f"{command} {step}", summary, _example(command, step), config)
    made.add_argument("model", type=Path, metavar="MODEL", help="a supernet, or the stage that made it")
    made.add_argument("--data", type=Path, metavar="TOKENS", required=True, help="folder of stage tokenize")
    made.add_argument("--out", type=Path, metavar="DIR", required=True, help="where to write, and resume")
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    if step == "search":
        made.add_argument("--write-presets", action="store_true", help="also write presets.json into MODEL")
    return made


def _summary(results: dict[str, Any]) -> str:
    measured, timed = results["placements_measured"], results["placements_timed"]
    lines = [f"{measured} placements measured for quality, {timed} timed"]
    if fit := results.get("surrogate"):
        lines.append(
            f"surrogate: range {fit['range']}, leave-one-out Spearman {fit['loo_spearman']:.3f}, "
            f"R2 {fit['loo_r2']:.3f}, error {fit['loo_rmse']:.4f} nats per token"
        )
        lines += [
            f"cost at batch {row['batch']}, context {row['context']}: {_costs(row)}"
            for row in results["cost"]
        ]
    return "\n".join(lines)


def _costs(row: dict[str, Any]) -> str:
    relative = ", ".join(f"{letter} {cost:.2f}" for letter, cost in row["relative"].items())
    heldout = "" if row["heldout_mape"] is None else f", {row['heldout_mape']:.1%} on held-out placements"
    return f"{relative} (error {row['fit_mape']:.1%}{heldout})"


def _table(results: dict[str, Any]) -> Table:
    batch, context = results["regime"]["batch"], results["regime"]["context"]
    title = f"Speed at batch {batch}, context {context}; quality in nats per token"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    table.add_column("\npreset", no_wrap=True)
    table.add_column("\nplacement", overflow="fold", min_width=9)
    columns = ("speed-\nup", "tokens/s\nmeasured", "\npredicted")
    for heading in (*columns, "quality\nmeasured", "\npredicted", "\nconfirmed"):
        table.add_column(heading, justify="right", no_wrap=True)
    speeds = [
        next(row for row in preset["speed"] if (row["batch"], row["context"]) == (batch, context))
        for preset in results["presets"]
    ]
    for preset, speed in zip(results["presets"], speeds, strict=True):
        quality = preset["quality"]
        table.add_row(
            preset["name"],
            preset["placement"],
            f"{speed['measured'] / speeds[0]['measured']:.2f}x",
            *(f"{speed[key]:,.1f}" for key in ("measured", "predicted")),
            *(f"{quality[key]:.4f}" for key in ("measured", "predicted", "confirmed")),
        )
    return table
