"""What every command shares: its parser, its progress bars, how its options and keys are told apart."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from derailleur.config import Config, describe_keys
from derailleur.errors import UserError
from derailleur.io import Progress as ProgressCallback


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def option_strings(self) -> set[str]:
        """Every option that this parser knows."""
        return set(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog.removeprefix('derailleur ')}: {message}; see {self.prog} --help")


def parser(command: str, summary: str, example: str, config: type[Config] | None = None) -> Parser:
    """A parser with an example in its --help, and the keys of `config` that `--key value` overrides."""
    keys = f"\n\nkeys (in --config FILE.yaml, or as options):\n{describe_keys(config)}" if config else ""
    made = Parser(
        prog=f"derailleur {command}",
        description=summary,
        epilog=f"example: {example}{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return made


def add_card_option(made: Parser) -> None:
    """`--card FILE.yaml`, for the commands that make a checkpoint."""
    made.add_argument(
        "--card",
        type=Path,
        metavar="FILE.yaml",
        help="for the model card: name, license, data_license, data_card, base_model",
    )


def positive(text: str) -> int:
    """The type of an option that counts something, from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got '{text}'")
    return int(text)


def print_result(value: Any, *, as_json: bool, text: str) -> None:
    """Print a result for a person, or as one JSON value."""
    print(json.dumps(value, allow_nan=False) if as_json else text)


@contextlib.contextmanager
def progress_bars(console: Console | None = None) -> Iterator[ProgressCallback]:
    """Progress bars on standard error: one line a label, with a note such as tokens/s."""
    console = console or Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not sys.stderr.isatty(),
    )
    tasks: dict[str, TaskID] = {}
    logged: dict[str, int] = {}

    def show(label: str, done: float, total: float | None, note: str = "") -> None:
        if label not in tasks:
            tasks[label] = bars.add_task(label, total=total, note=note)
        bars.update(tasks[label], completed=done, total=total, note=note)
        tenth = int(10 * done / total) if total else 0
        if bars.disable and logged.get(label) != tenth:
            logged[label] = tenth
            print(f"{label}: {10 * tenth}% {note}".rstrip(), file=sys.stderr, flush=True)

    with bars:
        yield show


def split_overrides(made: Parser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse what the parser knows; other `--key value` pairs are overrides of the configuration.

    The overrides are taken out first: argparse would read their values as positional arguments.
    """
    known = made.option_strings()
    ours: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("--") and argument != "--" and argument.partition("=")[0] not in known:
            overrides.append(argument)
            if "=" not in argument and rest:
                overrides.append(rest.pop(0))
        else:
            ours.append(argument)
    return made.parse_args(ours), overrides
