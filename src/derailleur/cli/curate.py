"""`derailleur curate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from derailleur.cli.arguments import parser, positive, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_counts, count_table, megabytes, show_counts
from derailleur.config import load_config
from derailleur.corpus import VERSION, CurateConfig, curate, open_sources, stage_inputs
from derailleur.errors import UserError
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Run `curate`."""
    made = parser(
        "curate",
        "Turn source code into training documents, with a reason for every file left out: read, judge\n"
        "licences, drop duplicates, redact personal data, filter, compare with benchmarks. A killed run\n"
        "goes on when the same command is given again. docs/corpus.md is the manual.",
        "derailleur curate python-stdlib ~/src/django stack/*.parquet --out curated --languages Python",
        CurateConfig,
    )
    made.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a folder; a git repository, bare or as FOLDER@REVISION; .zip, .whl, .jar, .crate, "
        ".tar[.gz|.zst|.xz|.bz2]; .parquet; .jsonl[.gz|.zst]; or python-stdlib, the running Python's own",
    )
    add_common(made)
    made.add_argument(
        "--workers", type=positive, metavar="N", help="processes, a core each (default: all cores)"
    )
    made.add_argument(
        "--ray",
        metavar="HOST:PORT",
        help="run on a Ray cluster, whose machines must see sources and DIR under the same paths (extra ray)",
    )
    made.add_argument(
        "--max-bad",
        type=float,
        metavar="N",
        help="exit with 1 if more files were quarantined, a share of all files where N is under 1 "
        "(default: no bound); all is written first",
    )
    made.add_argument(
        "--salvage",
        action="store_true",
        help="use what still reads of damaged archives and tables, of which else nothing is used",
    )
    options, overrides = split_overrides(made, arguments)
    if options.max_bad is not None and not options.max_bad >= 0:  # not a number is none either
        raise UserError(f"--max-bad: expected a number of files or a share, got {options.max_bad:g}")
    if options.salvage:
        overrides += ["--salvage", "true"]
    config = load_config(CurateConfig, options.config, overrides)
    sources = open_sources(options.sources, config, out=options.out)
    inputs, fingerprints = stage_inputs(config, sources)
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="curate",
                version=VERSION,
                config=config,
                inputs=inputs,
                work=lambda out: curate(
                    config,
                    sources,
                    out,
                    progress=progress,
                    workers=options.workers,
                    ray_address=options.ray,
                    max_bad=options.max_bad,
                ),
                fingerprints=fingerprints,
            ),
            options.out,
        )
    show_counts(manifest["results"], _curate_table, as_json=options.json)
    _write_report(options.out, quiet=options.json)
    return 0


def _write_report(out: Path, *, quiet: bool) -> None:
    """Write the page about the corpus, unless it is there."""
    from derailleur.report import PAGE, report_corpus

    if not (out / PAGE).is_file():
        report_corpus(out)
    if not quiet:
        print(f"\nreport  {out / PAGE}")


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
