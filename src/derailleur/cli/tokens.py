"""`derailleur tokenize`."""

from pathlib import Path
from typing import Any

from derailleur.cli.arguments import parser, print_result, progress_bars, split_overrides
from derailleur.config import load_config
from derailleur.runs import Stage, execute
from derailleur.tokens import VERSION, TokenizeConfig, tokenize


def run(command: str, arguments: list[str]) -> int:
    """Run `derailleur tokenize CORPUS --out DIR`."""
    made = parser(
        command,
        "Train a tokenizer (or reuse one with --tokenizer PATH) and pack documents into shards of token ids.",
        "derailleur tokenize runs/mine/curate --out runs/mine/tokenize --vocab-size 4096",
        TokenizeConfig,
    )
    made.add_argument(
        "corpus", type=Path, help="a curate folder, or a folder or file of Parquet or JSONL with 'content'"
    )
    made.add_argument("--out", type=Path, required=True, help="folder of the result")
    made.add_argument("--config", type=Path, help="YAML file of the keys below")
    made.add_argument("--json", action="store_true", help="print the result as one JSON value")
    options, overrides = split_overrides(made, arguments)
    config = load_config(TokenizeConfig, options.config, overrides)
    inputs = {"corpus": options.corpus}
    if config.tokenizer:
        inputs["tokenizer"] = config.tokenizer
    with progress_bars() as progress:

        def work(out: Path) -> dict[str, Any]:
            return tokenize(config, options.corpus, out, progress=progress)

        manifest = execute(Stage(command, VERSION, config, inputs, work), options.out)
    print_result(manifest["results"], as_json=options.json, text=_summary(manifest["results"], options.out))
    return 0


def _summary(results: dict[str, Any], out: Path) -> str:
    rows = [
        f"{split:<8} {results['documents'][split]:>12,} documents {results['bytes'][split]:>16,} bytes "
        f"{tokens:>16,} tokens"
        for split, tokens in results["tokens"].items()
    ]
    size = f"vocabulary {results['vocab_size']:,}, {results['bytes_per_token']:.3f} bytes/token -> {out}"
    return "\n".join([*rows, size])
