"""`derailleur export`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from derailleur import model
from derailleur.card import CardConfig, write_card
from derailleur.cli.arguments import Parser, add_card_option, parser, print_result
from derailleur.cli.mapping import mapping_lines
from derailleur.config import Config, load_config
from derailleur.errors import UserError
from derailleur.model.export import LAYOUTS, describe_export, map_export, plan_export, write_export
from derailleur.placement.presets import PRESETS_FILE, Presets, load_presets
from derailleur.report import units
from derailleur.runs import Stage, execute

VERSION = 1


class ExportConfig(Config):
    """What an export keeps."""

    format: str = Field(description="the layout")
    placements: dict[str, str] | None = Field(description="whose mixers are kept, by name; all if absent")


def run(command: str, arguments: Sequence[str]) -> int:
    """Write a checkpoint of ours in another layout."""
    options = _parser(command).parse_args(arguments)
    restricted = options.placement is not None or options.presets is not None
    if options.format == "thin" and not restricted:
        raise UserError(f"{command}: --format thin needs --presets A,B or --placement")
    if not (options.out or options.dry_run):
        raise UserError(f"{command}: --out is missing")
    card = load_config(CardConfig, options.card)
    folder = model.model_folder(options.model)
    presets = _chosen(folder, options.placement, options.presets)
    plan = plan_export(folder, options.format, set(presets.values()) if restricted else ())
    # Where full attention alone is left there is nothing to choose from.
    kept_presets = presets if any(set(placement) != {"F"} for placement in presets.values()) else None
    results = describe_export(plan, folder)
    results["files"] += [PRESETS_FILE] if kept_presets else []
    if options.dry_run:
        mapping = map_export(plan, folder)
        lines = (f"would write a checkpoint in {_summary(results)}", *mapping_lines(mapping))
        print_result({**results, "mapping": mapping}, as_json=options.json, text="\n".join(lines))
        return 0

    def work(out: Path) -> dict[str, Any]:
        if kept_presets:
            kept_presets.save(out)
        write_export(plan, folder, out, resume=True)
        return results

    placements = {name: str(placement) for name, placement in presets.items()} if restricted else None
    config = ExportConfig(format=options.format, placements=placements)
    stage = Stage(command, VERSION, config, {"source": options.model}, work)
    execute(stage, options.out)
    write_card(options.out, card)
    print_result(results, as_json=options.json, text=f"wrote {_summary(results)}\n-> {options.out}")
    return 0


def _parser(command: str) -> Parser:
    made = parser(
        command,
        "A checkpoint in another layout, or with just the mixers of some presets.",
        "derailleur export runs/quickstart/model --format thin --presets full,fast --out thin",
    )
    made.add_argument("model", type=Path, metavar="DIR", help="a model folder, or the stage that made it")
    made.add_argument(
        "--format",
        required=True,
        choices=list(LAYOUTS),
        help="hf: what transformers loads, of a family that it knows where only full attention is kept; "
        "thin: ours; apriel2: that of the released Super Apriel",
    )
    made.add_argument("--out", type=Path, help="the folder to write")
    kept = made.add_mutually_exclusive_group()
    kept.add_argument("--placement", help="keep one placement: a preset, letters, runs or all-gdn")
    kept.add_argument("--presets", metavar="A,B", help="keep these presets")
    made.add_argument("--dry-run", action="store_true", help="say what would be written, by headers alone")
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    add_card_option(made)
    return made


def _chosen(folder: Path, placement: str | None, names: str | None) -> Presets:
    """The presets to keep."""
    presets = load_presets(folder, full=model.load_config(folder).full_placement)
    if placement is not None:
        return presets.only(presets.resolve(placement))
    return presets if names is None else presets.subset([name.strip() for name in names.split(",")])


def _summary(results: Mapping[str, Any]) -> str:
    size = f"{results['parameters']:,} parameters, {units.data_size(results['bytes'])}"
    tensors = units.plural(results["tensors"], "tensor")
    return f"{results['model_type']} layout: {tensors}, {size}\n  {', '.join(results['files'])}"
