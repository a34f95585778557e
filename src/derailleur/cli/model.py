"""`derailleur import`."""

from collections.abc import Sequence
from pathlib import Path

from derailleur.cli.arguments import parser, print_result
from derailleur.config import Config
from derailleur.model.importing import import_checkpoint
from derailleur.runs import Stage, execute

VERSION = 1


class ImportConfig(Config):
    """Importing has no settings: the folder says it all."""


def run(command: str, arguments: Sequence[str]) -> int:
    """Import a Hugging Face folder as teacher."""
    made = parser(
        command,
        "A Hugging Face checkpoint of the Llama family (Llama, Mistral, Qwen2, Qwen3) as a teacher of ours.",
        "derailleur import Qwen2.5-Coder-0.5B --out runs/qwen/teacher",
    )
    made.add_argument(
        "source", type=Path, metavar="HF_FOLDER", help="config.json, *.safetensors, tokenizer.json"
    )
    made.add_argument("--out", type=Path, required=True, help="the folder to write; model/ inside it")
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    options = made.parse_args(arguments)
    stage = Stage(
        "import",
        VERSION,
        ImportConfig(),
        {"source": options.source},
        lambda out: import_checkpoint(options.source, out / "model"),
    )
    result = execute(stage, options.out)["results"]
    print_result(
        result,
        as_json=options.json,
        text=f"imported a {result['family']} of {result['parameters']:,} parameters into {options.out}",
    )
    return 0
