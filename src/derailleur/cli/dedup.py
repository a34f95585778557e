"""`derailleur dedup`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from derailleur.cli.arguments import parser, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_counts, count_table, show_counts
from derailleur.config import load_config
from derailleur.corpus.dedup import VERSION, dedup
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Run `dedup`."""
    made = parser(
        "dedup",
        "Drop exact and near-duplicates among the rows of Parquet or JSONL files (id, content).",
        "derailleur dedup stack.parquet --out deduplicated --threshold 0.8",
        NearDedupConfig,
    )
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".parquet or .jsonl[.gz|.zst]")
    add_common(made)
    options, overrides = split_overrides(made, arguments)
    config = load_config(NearDedupConfig, options.config, overrides)
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="dedup",
                version=VERSION,
                config=config,
                inputs={f"file-{number}": path for number, path in enumerate(options.files)},
                work=lambda out: dedup(
                    config, options.files, out, progress=progress, num_threads=options.threads
                ),
            ),
            options.out,
        )
    show_counts(manifest["results"], _dedup_table, as_json=options.json)
    return 0


def _dedup_table(results: Mapping[str, Any]) -> Table:
    table = count_table(("rows", "right"))
    table.add_row("read", f"{results['rows']:,}")
    table.add_row("kept", f"{results['kept']:,}", style="bold")
    table.add_row("dropped", f"{sum(results['dropped'].values()):,}", style="bold")
    add_counts(table, results["dropped"])
    return table
