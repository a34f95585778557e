"""`derailleur curate`, `derailleur dedup` and `derailleur pii`."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result, progress_bars, split_overrides
from derailleur.config import load_config
from derailleur.corpus import VERSION as CURATE_VERSION
from derailleur.corpus import CurateConfig, curate, fingerprint, resolve_sources
from derailleur.corpus.dedup import VERSION as DEDUP_VERSION
from derailleur.corpus.dedup import dedup
from derailleur.corpus.near_dedup import NearDedupConfig
from derailleur.corpus.pii import PiiConfig
from derailleur.corpus.pii.files import VERSION as REDACT_VERSION
from derailleur.corpus.pii.files import redact_files, scan_file
from derailleur.errors import UserError
from derailleur.runs import Stage, execute

_MB = 1e6


def run(command: str, arguments: list[str]) -> int:
    """Run one of the commands of this module."""
    commands: Mapping[str, Callable[[list[str]], int]] = {"curate": _curate, "dedup": _dedup, "pii": _pii}
    return commands[command](arguments)


def _curate(arguments: list[str]) -> int:
    made = parser(
        "curate",
        "Turn folders of source code into training documents, with a reason for every file left out.",
        "derailleur curate python-stdlib ~/src/django --out curated --languages Python",
        CurateConfig,
    )
    made.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="a folder, or python-stdlib")
    _add_common(made)
    options, overrides = split_overrides(made, arguments)
    config = load_config(CurateConfig, options.config, overrides)
    folders = resolve_sources(options.sources, out=options.out)
    sources = {f"source-{number}": folder for number, folder in enumerate(sorted(folders))}
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="curate",
                version=CURATE_VERSION,
                config=config,
                inputs=sources,
                work=lambda out: curate(config, folders, out, progress=progress, num_threads=options.threads),
                fingerprints={role: fingerprint(config, folder) for role, folder in sources.items()},
            ),
            options.out,
        )
    _show(manifest["results"], _curate_table, as_json=options.json)
    return 0


def _dedup(arguments: list[str]) -> int:
    made = parser(
        "dedup",
        "Drop exact and near-duplicates among the rows of Parquet or JSONL files (id, content).",
        "derailleur dedup stack.parquet --out deduplicated --threshold 0.8",
        NearDedupConfig,
    )
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".parquet or .jsonl[.gz|.zst]")
    _add_common(made)
    options, overrides = split_overrides(made, arguments)
    config = load_config(NearDedupConfig, options.config, overrides)
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="dedup",
                version=DEDUP_VERSION,
                config=config,
                inputs={f"file-{number}": path for number, path in enumerate(options.files)},
                work=lambda out: dedup(
                    config, options.files, out, progress=progress, num_threads=options.threads
                ),
            ),
            options.out,
        )
    _show(manifest["results"], _dedup_table, as_json=options.json)
    return 0


def _pii(arguments: list[str]) -> int:
    actions = {"scan": _pii_scan, "redact": _pii_redact}
    action = arguments[0] if arguments else ""
    if action in ("-h", "--help"):
        print(
            "usage: derailleur pii scan FILE... [--json]\n"
            "       derailleur pii redact FILE... --out DIR [--style placeholders]\n\n"
            "Find or replace e-mail addresses, IP addresses, keys of known formats and private keys.\n"
            "example: derailleur pii scan settings.py rows.jsonl --json"
        )
        return 0
    if action not in actions:
        raise UserError(f"pii: expected an action, got '{action}'; known: {', '.join(actions)}")
    return actions[action](arguments[1:])


def _pii_scan(arguments: list[str]) -> int:
    made = parser(
        "pii scan",
        "Find personal data and secrets. JSONL and Parquet rows (id, content) are scanned one by one, any "
        "other file as one text.",
        "derailleur pii scan settings.py rows.jsonl --json",
    )
    made.add_argument("files", nargs="+", type=Path, metavar="FILE")
    made.add_argument("--json", action="store_true", help="one JSON object a row or file")
    options = made.parse_args(arguments)
    found: Counter[str] = Counter()
    for path in options.files:
        for scanned in scan_file(path):
            found.update(span.tag for span in scanned.spans)
            if options.json:
                spans = [{"start": s.start, "end": s.end, "tag": s.tag} for s in scanned.spans]
                print(json.dumps({"id": scanned.id, "spans": spans}))
            else:
                for span in scanned.spans:
                    line = scanned.text.count("\n", 0, span.start) + 1
                    print(f"{scanned.id}:{line}: {span.tag} at characters {span.start}-{span.end}")
    if not options.json:
        print(", ".join(f"{number} {tag}" for tag, number in sorted(found.items())) or "nothing found")
    return 0


def _pii_redact(arguments: list[str]) -> int:
    made = parser(
        "pii redact",
        "Write a redacted file of the same name into --out for every FILE, and redactions.jsonl.",
        "derailleur pii redact settings.py rows.jsonl --out redacted --style placeholders",
        PiiConfig,
    )
    made.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_common(made, threads=False)
    options, overrides = split_overrides(made, arguments)
    config = load_config(PiiConfig, options.config, overrides)
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="pii-redact",
                version=REDACT_VERSION,
                config=config,
                inputs={f"file-{number}": path for number, path in enumerate(options.files)},
                work=lambda out: redact_files(config, options.files, out, progress=progress),
            ),
            options.out,
        )
    _show(manifest["results"], _redact_table, as_json=options.json)
    return 0


def _add_common(made: Parser, *, threads: bool = True) -> None:
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    made.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of the keys below")
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    if threads:
        made.add_argument("--threads", type=int, metavar="N", help="default: all cores that may be used")


def _show(results: Mapping[str, Any], table: Callable[[Mapping[str, Any]], Table], *, as_json: bool) -> None:
    if as_json:
        print_result(results, as_json=True, text="")
    else:
        Console().print(table(results))


def _curate_table(results: Mapping[str, Any]) -> Table:
    table = _table(("files", "right"), ("MB", "right"))
    table.add_row("seen", f"{results['files_seen']:,}", _mb(results["bytes_seen"]))
    table.add_row("kept", f"{results['kept']:,}", _mb(results["bytes_kept"]), style="bold")
    for split, counts in results["splits"].items():
        table.add_row(f"  {split}", f"{counts['files']:,}", _mb(counts["bytes"]))
    for action in ("dropped", "quarantined"):
        table.add_row(action, f"{sum(results[action].values()):,}", style="bold")
        _add_counts(table, results[action])
    table.add_row("redacted", f"{sum(results['pii'].values()):,}", style="bold")
    _add_counts(table, results["pii"])
    return table


def _dedup_table(results: Mapping[str, Any]) -> Table:
    table = _table(("rows", "right"))
    table.add_row("read", f"{results['rows']:,}")
    table.add_row("kept", f"{results['kept']:,}", style="bold")
    table.add_row("dropped", f"{sum(results['dropped'].values()):,}", style="bold")
    _add_counts(table, results["dropped"])
    return table


def _redact_table(results: Mapping[str, Any]) -> Table:
    table = _table(("number", "right"))
    table.add_row("texts", f"{results['texts']:,}")
    table.add_row("texts redacted", f"{results['redacted_texts']:,}")
    table.add_row("redactions", f"{sum(results['pii'].values()):,}", style="bold")
    _add_counts(table, results["pii"])
    return table


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name, justify in columns:
        table.add_column(name, justify=justify)
    return table


def _add_counts(table: Table, counts: Mapping[str, int]) -> None:
    for name, number in counts.items():
        table.add_row(f"  {name.replace('_', ' ') if name.islower() else name}", f"{number:,}")


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / _MB:,.1f}"
