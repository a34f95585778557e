"""Precision and recall of `pii scan` and of peers on one annotated file, as a Markdown table.

    derailleur pii generate SOURCE... --out annotated.jsonl --mix hard --seed 1
    python benchmarks/pii_quality.py annotated.jsonl detect-secrets.jsonl seed.jsonl

The other files are what `pii_peers.py` writes: the rows of the first one, in order, with the spans found.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from derailleur.corpus.pii import Span, scan
from derailleur.corpus.pii.benchmark import BenchmarkResult, benchmark

TAGS = ("EMAIL", "IP_ADDRESS", "KEY", "PASSWORD")


def recorded(path: Path) -> Callable[[str], Sequence[Span]]:
    """Gives the spans of the file's next row at each call; the text is not looked at."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return lambda content: [Span(**span) for span in next(rows)["spans"]]


def row(name: str, result: BenchmarkResult) -> str:
    """Precision / recall of each tag; a dash where nothing was found."""
    cells = [
        f"{score.precision:.3f} / {score.recall:.3f}" if score.true_positives + score.false_positives else "-"
        for score in result.scores.values()
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("annotated", type=Path)
    made.add_argument("spans", nargs="*", type=Path)
    options = made.parse_args()
    print("| precision / recall | " + " | ".join(TAGS) + " |")
    print("| --- | --- | --- | --- | --- |")
    print(row("derailleur", benchmark(options.annotated, lambda text: scan(text.encode()), tags=TAGS)))
    for path in options.spans:
        print(row(path.stem, benchmark(options.annotated, recorded(path), tags=TAGS)))


if __name__ == "__main__":
    main()
