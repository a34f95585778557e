"""`derailleur evaluate programs`: judge a file of programs."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result, progress_bars, split_overrides
from derailleur.cli.judging import add_judging_options
from derailleur.config import load_config
from derailleur.errors import DerailleurError
from derailleur.evaluation.programs import Language, read_rows
from derailleur.evaluation.programs.cache import default_cache_folder
from derailleur.evaluation.programs.evaluate import Summary, evaluate_programs
from derailleur.evaluation.programs.judging import SandboxJudge, setting
from derailleur.evaluation.programs.limits import LanguageLimits
from derailleur.evaluation.verdicts import Verdict


def run(command: str, arguments: list[str]) -> int:
    """Judge every row of a file in a sandbox."""
    options, overrides = split_overrides(_parser(command), arguments)
    limits = load_config(LanguageLimits, options.config, overrides)
    rows = read_rows(options.file)
    unsafe = options.unsafe_no_sandbox
    with progress_bars() as progress:
        summary = evaluate_programs(
            rows,
            options.out,
            lambda: SandboxJudge(limits, unsafe=unsafe),
            limits=limits,
            setting=setting(unsafe=unsafe),
            workers=options.workers,
            cache=None if options.no_cache else options.cache or default_cache_folder(),
            progress=progress,
        )
    if options.json:
        print_result(_as_json(summary), as_json=True, text="")
    else:
        Console().print(_verdict_table(summary, len(rows)))
    if failures := summary.total(Verdict.SANDBOX):
        raise DerailleurError(
            f"{options.file}: the sandbox failed on {failures} of {len(rows)} programs; "
            f"{options.out} says how; the same command tries them again"
        )
    return 0


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "verdicts": {verdict: summary.total(verdict) for verdict in Verdict},
        "languages": summary.counts,
        "distinct": summary.num_distinct,
        "known": summary.num_known,
        "retried": summary.num_retried,
    }


def _verdict_table(summary: Summary, num_rows: int) -> Table:
    table = Table(
        title=f"{num_rows:,} programs",
        caption=f"{summary.num_distinct:,} distinct, {summary.num_known:,} of them known from before, "
        f"{summary.num_retried:,} timed out and tried again alone",
    )
    table.add_column("verdict")
    for language in summary.counts:
        table.add_column(language, justify="right")
    for verdict in Verdict:
        table.add_row(verdict.value, *(f"{counts[verdict]:,}" for counts in summary.counts.values()))
    return table


def _parser(command: str) -> Parser:
    made = parser(
        command,
        "Judge programs in a sandbox: one result a row, in the rows' order. Equal programs run once;\n"
        "what is known from before is not run again; a run that was stopped goes on.",
        f"derailleur {command} programs.jsonl --out results.jsonl --workers 8 --java.cpu_seconds 20",
        LanguageLimits,
    )
    made.add_argument(
        "file",
        type=Path,
        metavar="FILE.jsonl",
        help=f"rows id, language ({', '.join(Language)}), program and tests, or stdin and expected",
    )
    made.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RESULTS.jsonl",
        help="rows id, passed (null where the sandbox failed), verdict, seconds, detail",
    )
    add_judging_options(made)
    made.add_argument("--config", type=Path, metavar="FILE.yaml", help="the keys below, as YAML")
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    return made
