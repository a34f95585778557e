"""`derailleur curate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from derailleur.cli.arguments import parser, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_counts, count_table, megabytes, show_counts
from derailleur.config import load_config
from derailleur.corpus import VERSION, CurateConfig, curate, fingerprint, resolve_sources
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Run `curate`."""
    made = parser(
        "curate",
        "Turn folders of source code into training documents, with a reason for every file left out.",
        "derailleur curate python-stdlib ~/src/django --out curated --languages Python",
        CurateConfig,
    )
    made.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="a folder, or python-stdlib")
    add_common(made)
    options, overrides = split_overrides(made, arguments)
    config = load_config(CurateConfig, options.config, overrides)
    folders = resolve_sources(options.sources, out=options.out)
    sources = {f"source-{number}": folder for number, folder in enumerate(sorted(folders))}
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="curate",
                version=VERSION,
                config=config,
                inputs=sources,
                work=lambda out: curate(config, folders, out, progress=progress, num_threads=options.threads),
                fingerprints={role: fingerprint(config, folder) for role, folder in sources.items()},
            ),
            options.out,
        )
    show_counts(manifest["results"], _curate_table, as_json=options.json)
    return 0


def _curate_table(results: Mapping[str, Any]) -> Table:
    table = count_table(("files", "right"), ("MB", "right"))
    table.add_row("seen", f"{results['files_seen']:,}", megabytes(results["bytes_seen"]))
    table.add_row("kept", f"{results['kept']:,}", megabytes(results["bytes_kept"]), style="bold")
    for split, counts in results["splits"].items():
        table.add_row(f"  {split}", f"{counts['files']:,}", megabytes(counts["bytes"]))
    for action in ("dropped", "quarantined"):
        table.add_row(action, f"{sum(results[action].values()):,}", style="bold")
        add_counts(table, results[action])
    table.add_row("redacted", f"{sum(results['pii'].values()):,}", style="bold")
    add_counts(table, results["pii"])
    return table
