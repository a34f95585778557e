"""`derailleur pretrain`, `derailleur distill` and `derailleur finetune`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from derailleur import training
from derailleur.card import CardConfig, write_card
from derailleur.cli.arguments import add_card_option, parser, print_result, progress_bars, split_overrides
from derailleur.config import load_config
from derailleur.io import Progress
from derailleur.runs import Stage, execute
from derailleur.training.trainer import TrainerConfig


@dataclass(frozen=True)
class _Command:
    """How one of the three commands differs from the others.

    Attributes:
        source: the name of its positional argument, a model; None for `pretrain`, which has none.
    """

    summary: str
    example: str
    config: type[TrainerConfig]
    version: int
    source: str | None = None


_COMMANDS: Mapping[str, _Command] = {
    "pretrain": _Command(
        "Train a teacher from nothing on tokenized code.",
        "derailleur pretrain --data runs/mine/tokenize --out runs/mine/pretrain --steps 2000",
        training.PretrainConfig,
        training.PRETRAIN_VERSION,
    ),
    "distill": _Command(
        "Turn a teacher into a supernet: surgery, local alignment, stochastic distillation.",
        "derailleur distill runs/mine/pretrain --data runs/mine/tokenize --out runs/mine/distill",
        training.DistillConfig,
        training.DISTILL_VERSION,
        source="teacher",
    ),
    "finetune": _Command(
        "Train a supernet's mixers at chosen placements.",
        "derailleur finetune runs/mine/distill --data runs/mine/tokenize --out runs/mine/finetune "
        "--placements '[all-gdn, 2F 4G]'",
        training.FinetuneConfig,
        training.FINETUNE_VERSION,
        source="supernet",
    ),
}


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one of the three commands."""
    chosen = _COMMANDS[command]
    made = parser(command, chosen.summary, chosen.example, chosen.config)
    if chosen.source:
        made.add_argument(
            chosen.source, type=Path, help="a model folder, or the folder of the stage that made it"
        )
    made.add_argument("--data", type=Path, required=True, help="folder of a finished tokenize stage")
    made.add_argument("--out", type=Path, required=True, help="folder of the result; model/ inside it")
    made.add_argument("--config", type=Path, help="YAML file of the keys below")
    made.add_argument("--json", action="store_true", help="print the result as one JSON value")
    add_card_option(made)
    options, overrides = split_overrides(made, arguments)
    config = load_config(chosen.config, options.config, overrides)
    card = load_config(CardConfig, options.card)
    inputs = {"tokens": options.data}
    if chosen.source:
        inputs[chosen.source] = getattr(options, chosen.source)
    with progress_bars() as progress:

        def work(out: Path) -> dict[str, Any]:
            return _train(config, inputs, out, progress)

        results = execute(Stage(command, chosen.version, config, inputs, work), options.out)["results"]
    write_card(options.out, card)
    print_result(results, as_json=options.json, text=_summary(results, options.out))
    return 0


def _train(
    config: TrainerConfig, inputs: Mapping[str, Path], out: Path, progress: Progress
) -> dict[str, Any]:
    match config:
        case training.PretrainConfig():
            return training.pretrain(config, inputs["tokens"], out, progress=progress)
        case training.DistillConfig():
            return training.distill(config, inputs["teacher"], inputs["tokens"], out, progress=progress)
        case training.FinetuneConfig():
            return training.finetune(config, inputs["supernet"], inputs["tokens"], out, progress=progress)
    raise AssertionError(type(config))


def _summary(results: Mapping[str, Any], out: Path) -> str:
    size = f"{results['parameters']:,} parameters, {results['learning_parameters']:,} of them learning"
    work = f"{results['steps']:,} steps, {results['tokens']:,} tokens, {results['seconds']:.0f} seconds"
    rows = [f"{size}; {work}", f"loss {results['final_loss']:.4f}, held out {results['heldout_loss']:.4f}"]
    for placement, measured in results["heldout"].items():
        values = "  ".join(f"{name} {value:.4f}" for name, value in measured.items())
        rows.append(f"  {placement:<12} {values}")
    return "\n".join([*rows, f"-> {out / 'model'}"])
