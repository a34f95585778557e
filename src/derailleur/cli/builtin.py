"""`derailleur evaluate builtin`."""

import json
from collections.abc import Sequence
from pathlib import Path

from derailleur.cli.arguments import Parser, parser, print_result
from derailleur.evaluation.builtin import builtin_rows
from derailleur.evaluation.programs import Language
from derailleur.io import write_text


def run(command: str, arguments: Sequence[str]) -> int:
    """Write our own problems, a file for each language."""
    options = _parser(command).parse_args(arguments)
    counts = {}
    for language in Language:
        path, rows = options.out / f"builtin-{language}.jsonl", builtin_rows(language)
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        counts[str(path)] = len(rows)
    lines = (f"{count} problems -> {path}" for path, count in counts.items())
    print_result(counts, as_json=options.json, text="\n".join(lines))
    return 0


def _parser(command: str) -> Parser:
    made = parser(
        command,
        "The built-in problems as files in MultiPL-E's layout: for other harnesses, and for `curate` to keep "
        "them out of training data.",
        f"derailleur {command} --out benchmarks",
    )
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    made.add_argument("--json", action="store_true", help="print the number of problems of each file")
    return made
