"""`derailleur pii`."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from derailleur.cli.arguments import parser, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_counts, count_table, show_counts
from derailleur.config import load_config
from derailleur.corpus.pii import PiiConfig
from derailleur.corpus.pii.files import VERSION, redact_files, scan_file
from derailleur.errors import UserError
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Run one of the actions of `pii`."""
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
    add_common(made, threads=False)
    options, overrides = split_overrides(made, arguments)
    config = load_config(PiiConfig, options.config, overrides)
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="pii-redact",
                version=VERSION,
                config=config,
                inputs={f"file-{number}": path for number, path in enumerate(options.files)},
                work=lambda out: redact_files(config, options.files, out, progress=progress),
            ),
            options.out,
        )
    show_counts(manifest["results"], _redact_table, as_json=options.json)
    return 0


def _redact_table(results: Mapping[str, Any]) -> Table:
    table = count_table(("number", "right"))
    table.add_row("texts", f"{results['texts']:,}")
    table.add_row("texts redacted", f"{results['redacted_texts']:,}")
    table.add_row("redactions", f"{sum(results['pii'].values()):,}", style="bold")
    add_counts(table, results["pii"])
    return table
