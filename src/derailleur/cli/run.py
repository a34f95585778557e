"""`derailleur run`: a whole recipe, stage by stage, resuming where an earlier run stopped."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from derailleur.card import CardConfig, write_card
from derailleur.cli.arguments import parser, progress_bars, split_overrides
from derailleur.cli.benchmarks import benchmark_tables
from derailleur.cli.scores import score_table, was_measured
from derailleur.config import load_config
from derailleur.errors import UserError
from derailleur.recipe import Recipe, stages
from derailleur.runs import execute

EXAMPLE = "derailleur run recipes/quickstart.yaml --out runs/quickstart --pretrain.steps 2000"


def run(command: str, arguments: Sequence[str]) -> int:
    """Run the stages of a recipe into a run folder."""
    made = parser(command, "A whole recipe: curate to report. The same command resumes.", EXAMPLE, Recipe)
    made.add_argument(
        "recipe", type=Path, metavar="RECIPE", help="a YAML file such as recipes/quickstart.yaml"
    )
    made.add_argument("--out", type=Path, help="the run folder; runs/NAME-OF-THE-RECIPE if absent")
    made.add_argument("--until", metavar="STAGE", help="stop after this stage")
    options, overrides = split_overrides(made, arguments)
    recipe = load_config(Recipe, options.recipe, overrides)
    out = options.out or Path("runs") / options.recipe.stem
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    console = Console(stderr=True)
    with progress_bars(console) as progress:
        planned = stages(recipe, out, progress=progress)
        names = [stage.name for stage in planned]
        if options.until and options.until not in names:
            raise UserError(f"--until: unknown stage '{options.until}'; this recipe has {', '.join(names)}")
        manifest_of = {}
        for stage in planned:
            manifest = manifest_of[stage.name] = execute(stage, out / stage.name)
            _write_cards([out / name for name in manifest_of], recipe.card)
            console.print(f"[bold]{stage.name:<10}[/] {manifest['seconds']:8.1f} s   {out / stage.name}")
            if stage.name == options.until:
                return 0
    scores = manifest_of["evaluate"]["results"]
    for task in recipe.evaluate.tasks:
        if task != "problems" and was_measured(scores, task):
            console.print(score_table(scores, task))
    for table in benchmark_tables(scores["problems"]) if scores["problems"] else ():
        console.print(table)
    ours = "derailleur" if shutil.which("derailleur") else sys.argv[0]
    console.print(f"\nreport  {out / 'report' / 'report.html'}", highlight=False)
    console.print(f"serve   {ours} serve {out / 'model'}", highlight=False)
    return 0


def _write_cards(stages: Sequence[Path], settings: CardConfig) -> None:
    """Cards of the checkpoints so far; later stages have more to say about them."""
    for folder in stages:
        if any((place / "config.json").is_file() for place in (folder, folder / "model")):
            write_card(folder, settings)
