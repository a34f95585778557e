"""`derailleur evaluate loss|infill|speed`: score the presets of a model."""

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result, progress_bars, split_overrides
from derailleur.config import Config, load_config, validate
from derailleur.runs import Stage, execute

_SUMMARIES = {
    "loss": "bits per byte and next-token accuracy on held-out files, beside gzip and xz",
    "infill": "single lines of held-out files filled in, by exact match",
    "speed": "decode tokens per second over batch and context",
}


def run(command: str, arguments: list[str]) -> int:
    """Run one task, the last word of `command`, on every preset, or on those that are named."""
    from derailleur.evaluation.stage import VERSION, EvaluateConfig, evaluate
    from derailleur.model import model_folder

    stage_name, task = command.split()
    options, overrides = split_overrides(_parser(command, task, EvaluateConfig), arguments)
    values = load_config(EvaluateConfig, options.config, overrides).model_dump()
    chosen = {"tasks": (task,)} | ({"presets": options.preset} if options.preset else {})
    config = validate(EvaluateConfig, values | chosen)
    model = model_folder(options.model)
    inputs = {"model": model} | ({"corpus": options.corpus} if options.corpus else {})
    with progress_bars() as progress, tempfile.TemporaryDirectory() as unkept:

        def work(out: Path) -> dict[str, Any]:
            return evaluate(config, model, options.corpus, out, progress=progress)

        stage = Stage(stage_name, VERSION, config, inputs, work)
        results = execute(stage, options.out or Path(unkept))["results"]
    if options.json:
        print_result(results, as_json=True, text="")
    else:
        Console().print(score_table(results, task))
    return 0


def score_table(results: dict[str, Any], task: str) -> Table:
    """What one task found for every preset."""
    return _speed_table(results) if task == "speed" else _quality_table(results, task)


def _parser(command: str, task: str, config: type[Config]) -> Parser:
    summary = _SUMMARIES[task][0].upper() + _SUMMARIES[task][1:] + "."
    needs_corpus = task != "speed"
    corpus = " --corpus runs/quickstart/curate" if needs_corpus else ""
    made = parser(command, summary, f"derailleur {command} runs/quickstart/model{corpus}", config)
    made.add_argument("model", type=Path, metavar="MODEL", help="a model folder, or the stage that made it")
    made.add_argument(
        "--corpus",
        type=Path,
        metavar="PATH",
        required=needs_corpus,
        help="a curate folder, or Parquet or JSONL with 'content'; all of it where there is no 'split'",
    )
    made.add_argument(
        "--preset",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="presets or placements (default: every preset)",
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="keep the scores here, and resume from them")
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    return made


def _quality_table(results: dict[str, Any], task: str) -> Table:
    if task == "infill":
        table = Table(title=f"{results['infilling_problems']} lines, greedy, exact match")
        headings = ["exact match", "95 % interval", "retention"]
    else:
        held = results["heldout"]
        table = Table(title=f"Held-out files: {held['documents']:,}, {held['bytes']:,} bytes")
        headings = ["bits per byte", "retention", "next-token accuracy", "retention"]
    table.add_column("preset")
    table.add_column("placement", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in results["presets"]:
        table.add_row(row["preset"], row["placement"], *_quality_cells(row, task))
    for anchor, bits_per_byte in results["anchors"].items():
        if task == "loss" and bits_per_byte is not None:
            table.add_row(anchor, "", f"{bits_per_byte:.3f}")
    return table


def _quality_cells(row: dict[str, Any], task: str) -> tuple[str, ...]:
    kept = {metric: "" if share is None else f"{share:.1%}" for metric, share in row["retention"].items()}
    if task == "infill":
        low, high = row["infilling_interval"]
        interval = f"{low:.1%} to {high:.1%}"
        return f"{row['infilling_exact_match']:.1%}", interval, kept["infilling_exact_match"]
    accuracy = f"{row['next_token_accuracy']:.2%}"
    return f"{row['bits_per_byte']:.4f}", kept["bits_per_byte"], accuracy, kept["next_token_accuracy"]


def _speed_table(results: dict[str, Any]) -> Table:
    table = Table(
        title="Decode tokens/s of the whole batch, batch x context",
        caption="*: longer than the trained context, speed only",
    )
    table.add_column("preset")
    table.add_column("placement", overflow="fold")
    for speed in results["presets"][0]["speed"]:
        mark = "*" if speed["speed_only"] else ""
        table.add_column(f"{speed['batch']} x {speed['context_tokens']:,}{mark}", justify="right")
    for row in results["presets"]:
        rates = (f"{speed['tokens_per_second']:,.1f}" for speed in row["speed"])
        table.add_row(row["preset"], row["placement"], *rates)
    return table
