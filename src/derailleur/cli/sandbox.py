"""`derailleur sandbox selftest`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, print_result
from derailleur.errors import UserError
from derailleur.evaluation.sandbox.sandbox import open_sandbox
from derailleur.evaluation.sandbox.selftest import Finding, Result, selftest

_STYLES = {Finding.CONTAINED: "green", Finding.ESCAPED: "bold red", Finding.UNCLAIMED: "yellow"}


def run(command: str, arguments: list[str]) -> int:
    """Run `sandbox selftest`; 1 if a program was not contained."""
    if arguments[:1] in (["-h"], ["--help"]):
        _parser().print_help()
        return 0
    if arguments[:1] != ["selftest"]:
        got = f"unknown task '{arguments[0]}'" if arguments else "a task is missing"
        raise UserError(f"sandbox: {got}, expected selftest")
    options = _parser().parse_args(arguments[1:])
    unsafe = options.unsafe_no_sandbox
    console = Console(stderr=True)
    results = []
    for result in selftest(
        lambda: open_sandbox(options.backend or ("unsafe" if unsafe else None), unsafe=unsafe)
    ):
        results.append(result)
        if console.is_terminal or result.finding is Finding.ESCAPED:
            console.print(f"{result.case}: {result.finding}", style=_STYLES.get(result.finding), markup=False)
    if options.json:
        print_result([asdict(result) for result in results], as_json=True, text="")
    else:
        Console().print(_table(results))
    return int(any(result.finding is Finding.ESCAPED for result in results))


def _table(results: Sequence[Result]) -> Table:
    counts = Counter(result.finding for result in results)
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{results[0].back_end}: {len(results)} hostile programs",
        caption=", ".join(f"{count} {finding}" for finding, count in counts.items()),
    )
    for column in ("case", "tries", "result", "seen"):
        table.add_column(column)
    table.add_column("seconds", justify="right")
    for result in results:
        style = _STYLES.get(result.finding, "")
        finding = f"[{style}]{result.finding}[/]" if style else str(result.finding)
        table.add_row(result.case, escape(result.tries), finding, escape(result.why), f"{result.seconds:.1f}")
    return table


def _parser() -> Parser:
    made = parser(
        "sandbox selftest",
        "Run hostile programs in the sandbox of candidates, and say of each whether it was contained:\n"
        "fork bombs, memory, output, files, network, system calls, in Python, the shell, node and Java.\n"
        "Exits with 1 if one was not.",
        "derailleur sandbox selftest --backend bubblewrap",
    )
    made.add_argument(
        "--backend",
        metavar="NAME",
        help="namespaces, bubblewrap or landlock (default: the first of them that works here)",
    )
    made.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run the harmless ones without any sandbox, to see that the test can fail",
    )
    made.add_argument("--json", action="store_true", help="print the results as JSON")
    return made
