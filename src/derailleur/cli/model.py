"""`derailleur import`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from derailleur.card import CardConfig, write_card
from derailleur.cli.arguments import add_card_option, parser, print_result
from derailleur.cli.mapping import mapping_lines
from derailleur.config import Config, load_config
from derailleur.model.importing import ImportPlan, import_checkpoint, plan_import
from derailleur.runs import Stage, execute

VERSION = 2


class ImportConfig(Config):
    """Importing has no settings: the folder says it all."""


def run(command: str, arguments: Sequence[str]) -> int:
    """Import a Hugging Face folder as teacher."""
    made = parser(
        command,
        "A Llama, Mistral, Qwen2, Qwen3, StarCoder2 or GPT-BigCode checkpoint as a teacher of ours, or a "
        "Super Apriel with its mixers.",
        "derailleur import Qwen2.5-Coder-0.5B --out runs/qwen/teacher",
    )
    made.add_argument(
        "source", type=Path, metavar="HF_FOLDER", help="config.json, *.safetensors, tokenizer.json"
    )
    made.add_argument("--out", type=Path, required=True, help="the folder to write; model/ inside it")
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="read configurations and headers alone, and say what would be done",
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    add_card_option(made)
    options = made.parse_args(arguments)
    if options.dry_run:
        plan = plan_import(options.source)
        print_result(_values(plan), as_json=options.json, text="\n".join(_lines(plan)))
        return 2 if plan.refusals else 0
    card = load_config(CardConfig, options.card)
    stage = Stage(
        "import",
        VERSION,
        ImportConfig(),
        {"source": options.source},
        lambda out: import_checkpoint(options.source, out / "model", resume=True),
    )
    result = execute(stage, options.out)["results"]
    write_card(options.out, card)
    print_result(
        result,
        as_json=options.json,
        text=f"imported a {result['family']} of {result['parameters']:,} parameters into {options.out}",
    )
    return 0


def _values(plan: ImportPlan) -> dict[str, Any]:
    """A plan with every tensor."""
    return {
        "family": plan.family,
        "config": plan.config.model_dump(mode="json"),
        "parameters": plan.num_parameters,
        "bytes": plan.num_bytes,
        "max_positions": plan.config.max_positions,
        "tensors": list(_tensors(plan)),
        "unknown_fields": plan.unknown_fields,
        "refused": plan.refusals,
    }


def _tensors(plan: ImportPlan) -> Iterator[dict[str, Any]]:
    """Each of the folder's tensors in the order of the layers, then those that are left out."""
    targets: dict[str, list[str]] = {}
    for name, made in plan.tensors.items():
        for source in made.sources:
            targets.setdefault(source, []).append(name)
    for source in targets | dict.fromkeys(plan.sources):
        spec = plan.sources.get(source)
        yield {
            "source": source,
            "shape": spec.shape if spec else None,
            "dtype": str(spec.dtype).removeprefix("torch.") if spec else None,
            "targets": targets.get(source, []),
        }


def _lines(plan: ImportPlan) -> Iterator[str]:
    """A plan for a person: tensors that differ in their layer alone are one line."""
    config = plan.config
    yield (
        f"{plan.family}: {config.num_layers} layers, width {config.hidden_size:,}, "
        f"{config.num_heads} heads of {config.head_dim} ({config.num_kv_heads} of keys and values), "
        f"MLP {config.intermediate_size:,}, vocabulary {config.vocab_size:,}"
    )
    yield (
        f"{plan.num_parameters:,} parameters, {plan.num_bytes:,} bytes to write, "
        f"context {config.max_positions:,} tokens"
    )
    yield from mapping_lines(_tensors(plan))
    if plan.unknown_fields:
        yield f"fields taken to change nothing: {', '.join(plan.unknown_fields)}"
    yield from (f"refused: {refusal}" for refusal in plan.refusals)
