"""`derailleur dedup`, and `derailleur dedup audit`."""

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, positive, print_result, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_config, add_counts, count_table, show_counts
from derailleur.config import load_config
from derailleur.corpus.dedup import VERSION, audit_files, dedup
from derailleur.corpus.near_dedup import BINS, PROFILES, Audit, NearDedupConfig
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Run `dedup` or `dedup audit`."""
    return _audit(arguments[1:]) if arguments[:1] == ["audit"] else _dedup(arguments)


def _dedup(arguments: list[str]) -> int:
    made = parser(
        "dedup",
        "Drop exact and near-duplicates among the rows (id, content) of Parquet or JSONL files.\n"
        "DIR gets kept.parquet, the rows kept, and clusters.parquet, the survivor of every row.\n"
        "`derailleur dedup audit FILE...` says how often near-dedup errs.",
        "derailleur dedup stack.parquet --out deduplicated --threshold 0.8",
        NearDedupConfig,
    )
    _add_files(made)
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
                    config, options.files, out, progress=progress, num_workers=options.workers
                ),
            ),
            options.out,
        )
    show_counts(manifest["results"], _dedup_table, as_json=options.json)
    return 0


def _audit(arguments: list[str]) -> int:
    made = parser(
        "dedup audit",
        "Run near-dedup, and compare it with the exact similarities of a sample of rows with all others: of\n"
        "how many similar pairs both stayed, and how many dropped rows are unlike their survivor. With the\n"
        "keys given, else with each profile. Writes nothing; takes memory of about the size of the texts.",
        "derailleur dedup audit stack.parquet --sample 2000",
        NearDedupConfig,
    )
    _add_files(made)
    made.add_argument(
        "--sample",
        type=positive,
        default=1000,
        metavar="N",
        help="rows that are compared with all others (default: 1000)",
    )
    made.add_argument("--seed", type=_natural, default=0, metavar="S", help="of the sample (default: 0)")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    options, overrides = split_overrides(made, arguments)
    configs = {name: NearDedupConfig.model_validate({"profile": name}) for name in PROFILES}
    if options.config or overrides:
        configs = {"given": load_config(NearDedupConfig, options.config, overrides)}
    with progress_bars() as progress:
        audits = audit_files(
            configs,
            options.files,
            sample=options.sample,
            seed=options.seed,
            progress=progress,
            num_workers=options.workers,
        )
    if options.json:
        print_result({name: _audit_json(found) for name, found in audits.items()}, as_json=True, text="")
    else:
        Console().print(_audit_table(audits))
    return 0


def _add_files(made: Parser) -> None:
    made.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help=".parquet or .jsonl[.gz|.zst], rows with id and content",
    )
    made.add_argument("--workers", type=positive, metavar="N", help="processes (default: all cores)")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a number from 0, got '{text}'")
    return int(text)


def _dedup_table(results: Mapping[str, Any]) -> Table:
    table = count_table(("rows", "right"))
    table.add_row("read", f"{results['rows']:,}")
    table.add_row("kept", f"{results['kept']:,}", style="bold")
    table.add_row("dropped", f"{sum(results['dropped'].values()):,}", style="bold")
    add_counts(table, results["dropped"])
    return table


def _audit_json(audit: Audit) -> dict[str, Any]:
    rates = {
        "false_negative_rate": audit.false_negative_rate,
        "false_positive_rate": audit.false_positive_rate,
        "recall_by_bin": dict(zip(map(str, BINS), audit.recall_by_bin, strict=True)),
    }
    return asdict(audit) | rates


def _audit_table(audits: Mapping[str, Audit]) -> Table:
    table = count_table(*((name, "right") for name in audits))
    _add_row(table, "documents sampled", audits, lambda a: f"{a.num_sampled:,} of {a.num_documents:,}")
    _add_row(table, "pairs over the threshold", audits, lambda a: f"{a.num_similar:,}")
    _add_row(table, "  both stayed", audits, lambda a: f"{a.false_negative_rate:.2%}")
    _add_row(table, "near-duplicates dropped", audits, lambda a: f"{a.num_dropped:,}")
    _add_row(table, "  unlike their survivor", audits, lambda a: f"{a.false_positive_rate:.2%}")
    table.add_row("candidates by similarity", style="bold")
    for number, least in enumerate(BINS):
        name = f"  {least:.2f} to {least + 0.05:.2f}"
        _add_row(table, name, audits, lambda a, number=number: _recall(a, number))
    return table


def _add_row(table: Table, name: str, audits: Mapping[str, Audit], show: Callable[..., str]) -> None:
    table.add_row(name, *map(show, audits.values()))


def _recall(audit: Audit, number: int) -> str:
    recall = audit.recall_by_bin[number]
    return "-" if recall is None else f"{recall:.1%} of {audit.pairs_by_bin[number]:,}"
