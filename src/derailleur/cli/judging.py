"""The options of commands that judge programs, and what they stand for."""

from argparse import Namespace
from pathlib import Path

from derailleur.cli.arguments import Parser, positive
from derailleur.evaluation.benchmark.judging import Judging
from derailleur.evaluation.programs.cache import default_cache_folder
from derailleur.evaluation.programs.limits import LanguageLimits


def add_judging_options(made: Parser) -> None:
    """`--workers`, `--cache`, `--no-cache`, `--unsafe-no-sandbox`."""
    made.add_argument("--workers", type=positive, metavar="N", help="programs at once (default: processors)")
    made.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help=f"verdicts kept between runs (default: {default_cache_folder()})",
    )
    made.add_argument("--no-cache", action="store_true", help="neither use nor keep verdicts between runs")
    made.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="run the programs with all that you may do yourself: they can read and delete your files",
    )


def judging(options: Namespace, limits: LanguageLimits) -> Judging:
    """How programs are judged, as the options say."""
    return Judging.in_sandbox(
        limits,
        unsafe=options.unsafe_no_sandbox,
        workers=options.workers,
        cache=None if options.no_cache else options.cache or default_cache_folder(),
    )
