"""What the commands of the corpus share: their options, and tables of counts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, print_result

_MB = 1e6


def add_common(made: Parser) -> None:
    """Add the options that all of them have."""
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the counts as JSON")


def add_config(made: Parser) -> None:
    """Add `--config`."""
    made.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of the keys below")


def show_counts(
    results: Mapping[str, Any], table: Callable[[Mapping[str, Any]], Table], *, as_json: bool
) -> None:
    """Print counts as a table, or as one JSON value."""
    if as_json:
        print_result(results, as_json=True, text="")
    else:
        Console().print(table(results))


def count_table(*columns: tuple[str, Any]) -> Table:
    """A table whose first column has no name."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name, justify in columns:
        table.add_column(name, justify=justify)
    return table


def add_counts(table: Table, counts: Mapping[str, int]) -> None:
    """Add one row a name."""
    for name, number in counts.items():
        table.add_row(f"  {name.replace('_', ' ') if name.islower() else name}", f"{number:,}")


def megabytes(num_bytes: int) -> str:
    """Bytes as MB."""
    return f"{num_bytes / _MB:,.1f}"
