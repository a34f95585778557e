"""`derailleur evaluate code-to-text`: docstrings of Python functions, written and compared by BLEU."""

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result, progress_bars, split_overrides
from derailleur.config import Config, load_config, validate
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Ask every preset of a model, or a server."""
    from derailleur.evaluation.benchmark.writers import folder_writers, server_writers
    from derailleur.evaluation.code_to_text import VERSION, CodeToTextConfig, code_to_text, read_rows
    from derailleur.evaluation.generation.http import is_url
    from derailleur.model import model_folder

    options, overrides = split_overrides(_parser(command, CodeToTextConfig), arguments)
    values = load_config(CodeToTextConfig, options.config, overrides).model_dump()
    chosen = {"prompt": options.prompt, "presets": options.preset}
    if is_url(options.model):
        chosen["server"] = values["server"] | {"url": options.model}
    config = validate(CodeToTextConfig, values | {key: value for key, value in chosen.items() if value})
    rows = read_rows(options.file, config)
    folder = None if config.server.url else model_folder(Path(options.model))
    inputs = {"file": options.file} | ({} if folder is None else {"model": folder})
    with progress_bars() as progress, tempfile.TemporaryDirectory() as unkept:

        def work(out: Path) -> dict[str, Any]:
            writers = (
                server_writers(config.server, config.presets)
                if folder is None
                else folder_writers(folder, config.engine, config.presets)
            )
            return code_to_text(config, rows, writers, out, progress=progress)

        stage = Stage(command.split()[0], VERSION, config, inputs, work)
        results = execute(stage, options.out or Path(unkept) / "evaluate")["results"]
    if options.json:
        print_result(results, as_json=True, text="")
    else:
        Console().print(_table(results))
    return 0


def _table(results: dict[str, Any]) -> Table:
    left_out = results["without_docstring"]
    table = Table(
        title=f"{results['rows']:,} docstrings, prompt {results['prompt']}, greedy, first line",
        caption=f"{left_out:,} rows left out: their code has no docstring" if left_out else None,
    )
    table.add_column("preset")
    table.add_column("placement", overflow="fold")
    for heading in ("smoothed BLEU", "95 % interval"):
        table.add_column(heading, justify="right")
    for row in results["presets"]:
        low, high = row["interval"]
        table.add_row(row["preset"], row["placement"] or "", f"{row['bleu']:.2f}", f"{low:.2f} to {high:.2f}")
    return table


def _parser(command: str, config: type[Config]) -> Parser:
    made = parser(
        command,
        "Docstrings of Python functions (CodeXGLUE's layout), by smoothed BLEU of their first lines.",
        f"derailleur {command} test.jsonl.gz runs/quickstart/model --limit 500",
        config,
    )
    made.add_argument(
        "file", type=Path, metavar="FILE", help="JSON lines {code, docstring_tokens, ...}, .gz or not"
    )
    made.add_argument(
        "model", metavar="MODEL_OR_URL", help="a model folder, or the address of an OpenAI-compatible server"
    )
    made.add_argument("--prompt", choices=("left", "full"), help="key prompt")
    made.add_argument("--preset", nargs="+", action="extend", metavar="NAME", help="presets or placements")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the predictions here, and resume from them"
    )
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    return made
