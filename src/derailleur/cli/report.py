"""`derailleur report`."""

from pathlib import Path
from typing import Any

from derailleur.cli.arguments import parser, print_result, progress_bars
from derailleur.config import Config
from derailleur.runs import Stage, execute


def run(command: str, arguments: list[str]) -> int:
    """Write the page about a run, and print where it is."""
    made = parser(
        command,
        "One self-contained HTML page about a run, finished or not, or about what curate made, with the data "
        "of its plots beside it.",
        "derailleur report runs/quickstart",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="the folder of the run, or of a curated corpus")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: RUN/report; a corpus's own folder)"
    )
    made.add_argument("--json", action="store_true", help="print the manifest as JSON")
    options = made.parse_args(arguments)

    from derailleur.report import VERSION, RunFolder, report, report_corpus, stage_of

    if stage_of(options.run) == "curate":
        folder = options.out or options.run
        written = report_corpus(options.run, folder)
        print_result(written, as_json=options.json, text=str(folder / written["page"]))
        return 0
    inputs = RunFolder(options.run).stages()
    out = options.out or options.run / "report"
    with progress_bars() as progress:

        def work(folder: Path) -> dict[str, Any]:
            return report(options.run, folder, progress=progress)

        manifest = execute(Stage("report", VERSION, Config(), inputs, work), out)
    print_result(manifest, as_json=options.json, text=str(out / manifest["results"]["page"]))
    return 0
