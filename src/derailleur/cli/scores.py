"""`derailleur evaluate loss|infill|recall|speed`: score the presets of a model."""

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
    "infill": "lines or other parts of held-out files filled in, by exact match; with --problems FILE those "
    "of problem files, their tests run besides (--problems FILE --help)",
    "recall": "names completed that the file defined long before, over the distance in tokens",
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
        results = execute(stage, options.out or Path(unkept) / "evaluate")["results"]
    if options.json:
        print_result(results, as_json=True, text="")
    else:
        Console().print(score_table(results, task))
    return 0


_ROWS = {"loss": "bits_per_byte", "infill": "infilling", "recall": "recall", "speed": "speed"}


def was_measured(results: dict[str, Any], task: str) -> bool:
    """Whether a task has anything to show: where it does not apply to a model, it is left out."""
    return bool(results["presets"][0][_ROWS[task]])


def score_table(results: dict[str, Any], task: str) -> Table:
    """What one task found for every preset."""
    tables = {"speed": _speed_table, "loss": _loss_table, "infill": _infill_table, "recall": _recall_table}
    return tables[task](results)


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


def _table(*headings: str, title: str, caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption)
    table.add_column("preset")
    table.add_column("placement", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _loss_table(results: dict[str, Any]) -> Table:
    held = results["heldout"]
    title = f"Held-out files: {held['documents']:,}, {held['bytes']:,} bytes"
    table = _table("bits per byte", "retention", "next-token accuracy", "retention", title=title)
    for row in results["presets"]:
        kept, accuracy = row["retention"], f"{row['next_token_accuracy']:.2%}"
        cells = (f"{row['bits_per_byte']:.4f}", _share(kept["bits_per_byte"]), accuracy)
        table.add_row(row["preset"], row["placement"], *cells, _share(kept["next_token_accuracy"]))
        if len(row["languages"]) > 1:
            for language, own in row["languages"].items():
                score = f"{own['bits_per_byte']:.4f}"
                table.add_row(f"  {language}", "", score, "", f"{own['next_token_accuracy']:.2%}")
    for anchor, bits_per_byte in results["anchors"].items():
        table.add_row(anchor, "", f"{bits_per_byte:.3f}")
    return table


def _infill_table(results: dict[str, Any]) -> Table:
    table = _table(
        "cut",
        "holes",
        "exact match",
        "kept",
        "similar",
        title="Held-out files filled in, greedy; 95 % intervals",
    )
    for row in results["presets"]:
        for own in row["infilling"]:
            table.add_row(
                row["preset"],
                row["placement"],
                own["cut"],
                f"{own['problems']:,}",
                f"{own['exact_match']:.1%}\n{_interval(own['interval'])}",
                _share(own["retention"]),
                f"{own['edit_similarity']:.1%}",
            )
    return table


def _recall_table(results: dict[str, Any]) -> Table:
    table = _table(
        *("tokens ago", "names", "exact match", "gain, nats"),
        title="Names defined so many tokens before, completed greedily; 95 % intervals",
        caption="guessed: completed without the lines that have the name. gain: what these lines add to the "
        "name's log-likelihood. *: beyond the trained context",
    )
    for row in results["presets"]:
        for own in row["recall"]:
            low, high = own["gain_interval"]
            table.add_row(
                row["preset"],
                row["placement"],
                f"{own['low_tokens']}-{own['high_tokens']}{'*' * own['beyond_context']}",
                f"{own['places']:,}",
                f"{own['exact_match']:.1%} {_interval(own['interval'])}\n"
                f"{own['control_exact_match']:.1%} guessed",
                f"{_nats(own['gain_nats'])}\n[{_nats(low)}, {_nats(high)}]",
            )
    return table


def _nats(gain: float) -> str:
    return f"{round(gain, 2) + 0.0:.2f}"  # no zero has a sign


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _interval(interval: tuple[float, float]) -> str:
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _speed_table(results: dict[str, Any]) -> Table:
    table = _table(
        *(
            f"{speed['batch']} x {speed['context_tokens']:,}{'*' if speed['speed_only'] else ''}"
            for speed in results["presets"][0]["speed"]
        ),
        title="Decode tokens/s of the whole batch, batch x context",
        caption="*: longer than the trained context, speed only",
    )
    for row in results["presets"]:
        rates = (f"{speed['tokens_per_second']:,.1f}" for speed in row["speed"])
        table.add_row(row["preset"], row["placement"], *rates)
    return table
