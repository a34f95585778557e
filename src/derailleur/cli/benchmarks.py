"""`derailleur evaluate multipl-e` and `evaluate infill --problems`: files of problems and their tests."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli import scores
from derailleur.cli.arguments import Parser, parser, positive, print_result, progress_bars, split_overrides
from derailleur.cli.judging import add_judging_options, judging
from derailleur.config import Config, load_config, validate
from derailleur.errors import UserError
from derailleur.evaluation.benchmark.sets import ProblemSet, problem_files, read_sets
from derailleur.evaluation.generation.http import is_url
from derailleur.evaluation.problems import Gap
from derailleur.runs import Stage, execute

_INFILL = "infill"
_SUMMARIES = {
    "multipl-e": "Complete functions and run their tests in a sandbox: pass@k of every preset.",
    _INFILL: "Fill in lines or spans: exact match, and the tests run in a sandbox, of every preset.",
}
_BUILTIN = {"multipl-e": "builtin", _INFILL: "builtin-infilling"}


def run(command: str, arguments: list[str]) -> int:
    """Put problem files to every preset of a model, to a server, or to a file of completions."""
    stage_name, task = command.split()
    if task == _INFILL and not any(word.partition("=")[0] == "--problems" for word in arguments):
        return scores.run(command, arguments)

    from derailleur.evaluation.benchmark.stage import VERSION, ModelBenchmarkConfig, benchmark, open_writers

    options, overrides = split_overrides(_parser(command, task, ModelBenchmarkConfig), arguments)
    values = load_config(ModelBenchmarkConfig, options.config, overrides).model_dump()
    config = validate(ModelBenchmarkConfig, values | _chosen(options, task, values["server"]))
    model = None if is_url(options.model) else _model(Path(options.model))
    sets = read_sets(config.problems)
    _check_kind(task, sets)
    with progress_bars() as progress, tempfile.TemporaryDirectory() as unkept:

        def work(out: Path) -> dict[str, Any]:
            judge = judging(options, config.limits)
            writers = open_writers(config, model, sets)
            return benchmark(config, sets, writers, judge, out, progress=progress)

        inputs = problem_files(config.problems) | ({"model": model} if model else {})
        stage = Stage(stage_name, VERSION, config, inputs, work)
        results = execute(stage, options.out or Path(unkept) / "evaluate")["results"]
    if options.json:
        print_result(results, as_json=True, text="")
    else:
        for table in benchmark_tables(results):
            Console().print(table)
    return 0


def benchmark_tables(results: dict[str, Any]) -> Iterator[Table]:
    """A table for each set of problems; a row a preset, and of lines to fill in one a kind of line."""
    for described in results["sets"]:
        rows = [row for row in results["presets"] if row["set"] == described["name"]]
        parts = list(dict.fromkeys(score["rows"] for score in rows[0]["scores"]))
        lines = [_line(row, part, is_first=part == parts[0]) for row in rows for part in parts]
        table = Table(
            title=f"{described['name']}: {described['num_problems']:,} problems, 95 % intervals over them",
            caption=_caption(rows),
        )
        shown = [heading for heading in lines[0] if any(line[heading] for line in lines)]
        for heading in shown:
            table.add_column(
                heading, justify="left" if heading in ("preset", "placement", "lines") else "right"
            )
        for line in lines:
            table.add_row(*(line[heading] for heading in shown))
        yield table


def _line(row: dict[str, Any], part: str, *, is_first: bool) -> dict[str, str]:
    """Cells by heading; what is nowhere known has no column."""
    speed, is_alone = row["tokens_per_second"], all(score["rows"] == part for score in row["scores"])
    cells = {"preset": row["preset"], "placement": row["placement"] or ""} if is_first else {}
    cells = {"preset": "", "placement": ""} | cells | {"lines": "" if is_alone else part}
    for score in row["scores"]:
        if score["rows"] == part:
            heading, kept = _heading(score), score["retention"]
            cells |= {heading: _cell(score), f"of all-FA,\n{heading}": "" if kept is None else f"{kept:.1%}"}
    return cells | {"tokens/s": f"{speed:,.0f}" if speed is not None and is_first else ""}


def _heading(score: dict[str, Any]) -> str:
    metric, temperature = score["metric"].replace("_", " "), score["temperature"]
    return f"{metric}, T {temperature:g}" if temperature else metric


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "not judged"
    low, high = score["interval"]
    return f"{score['value']:.1%} [{100 * low:.0f}, {100 * high:.0f}]"


def _caption(rows: Sequence[dict[str, Any]]) -> str | None:
    """What did not go as it should, if anything did not."""
    named = {
        "sandbox": "samples not counted, since the sandbox failed on them",
        "prompt_too_long": "failed, since the prompt left no room in the context",
        "cut_at_max_tokens": "cut at the longest length",
    }
    totals = {words: sum(row["counts"][key] for row in rows) for key, words in named.items()}
    return "; ".join(f"{total:,} {words}" for words, total in totals.items() if total) or None


def _chosen(options: Namespace, task: str, server: dict[str, Any]) -> dict[str, Any]:
    """What options say over what keys say."""
    problems = [_BUILTIN[task] if name == "builtin" else name for name in options.problems]
    given = {"num_samples": options.samples, "k": options.k, "presets": options.preset}
    address = {"server": server | {"url": options.model}} if is_url(options.model) else {}
    return {"problems": problems, **address} | {key: value for key, value in given.items() if value}


def _model(path: Path) -> Path:
    from derailleur.model import model_folder

    return path if path.is_file() else model_folder(path)


def _check_kind(task: str, sets: Sequence[ProblemSet]) -> None:
    for problem_set in sets:
        other = _INFILL if problem_set.gap is not Gap.END else "multipl-e"
        if task != other:
            raise UserError(
                f"{problem_set.name}: its problems are for `derailleur evaluate {other} --problems`"
            )


def _parser(command: str, task: str, config: type[Config]) -> Parser:
    example = f"derailleur {command} runs/quickstart/model --problems builtin --samples 20 --k 1 10"
    made = parser(command, _SUMMARIES[task], example, config)
    made.add_argument(
        "model",
        metavar="MODEL",
        help="a model folder, or the stage that made it; the URL of an OpenAI-compatible server; or a JSONL "
        "file of completions {id, completion}",
    )
    made.add_argument(
        "--problems",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="files of MultiPL-E, HumanEval or infilling, as published; `builtin` for our own",
    )
    made.add_argument("--preset", nargs="+", action="extend", metavar="NAME", help="presets or placements")
    made.add_argument(
        "--samples", type=positive, metavar="N", help="completions of each problem (key num_samples)"
    )
    made.add_argument("--k", nargs="+", type=positive, metavar="K", help="the pass@k to estimate (key k)")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="keep samples and scores here, and resume from them"
    )
    add_judging_options(made)
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    return made
