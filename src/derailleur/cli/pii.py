"""`derailleur pii`."""

import argparse
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from derailleur.cli.arguments import Parser, parser, positive, print_result, progress_bars, split_overrides
from derailleur.cli.counts import add_common, add_config, add_counts, count_table, show_counts
from derailleur.config import load_config
from derailleur.corpus.pii import PiiConfig, find, redact
from derailleur.corpus.pii.benchmark import BenchmarkResult, benchmark
from derailleur.corpus.pii.files import VERSION, private_text, read_texts, redact_files, scan_file
from derailleur.corpus.pii.generator import GeneratorConfig, generate
from derailleur.corpus.pii.review import Finding, findings, write_review
from derailleur.errors import UserError
from derailleur.runs import Stage, execute

_FILE = ".jsonl[.gz|.zst] or .parquet with rows (id, content), taken one by one; any other as one text"
_DETECTED = ("EMAIL", "IP_ADDRESS", "KEY", "PASSWORD")  # what a benchmark counts without a recognizer


def run(command: str, arguments: list[str]) -> int:
    """Run one of the actions of `pii`."""
    action = arguments[0] if arguments else ""
    if action in ("-h", "--help"):
        print(
            "usage: derailleur pii ACTION ...\n\n"
            "Find and replace e-mail addresses, IP addresses, keys, passwords and private keys.\n\n"
            "  scan FILE...                          where they are; never the values\n"
            "  redact FILE... --out DIR              the files with replacements, and a log of the places\n"
            "  review FILE... --out FILE.html        a page of what would be replaced, before and after\n"
            "  benchmark FILE.jsonl                  precision and recall on an annotated file\n"
            "  generate SOURCE... --out FILE.jsonl   an annotated file: real code with planted values\n\n"
            "derailleur pii ACTION --help shows an action's options.\n"
            "example: derailleur pii scan settings.py rows.jsonl --json"
        )
        return 0
    if action not in _ACTIONS:
        raise UserError(f"pii: expected an action, got '{action}'; known: {', '.join(_ACTIONS)}")
    return _ACTIONS[action](arguments[1:])


def _scan(arguments: list[str]) -> int:
    made = parser(
        "pii scan",
        "Say where personal data and secrets are, and of which kind; never the values.",
        "derailleur pii scan settings.py rows.jsonl --json",
        PiiConfig,
    )
    _add_files(made)
    made.add_argument("--json", action="store_true", help="one JSON object a row or file")
    options, config = _parse(made, arguments)
    found: Counter[str] = Counter()
    for path in options.files:
        for scanned in scan_file(path, config):
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


def _redact(arguments: list[str]) -> int:
    made = parser(
        "pii redact",
        "Write a redacted file of the same name into DIR for every FILE, and redactions.jsonl, which says\n"
        "what was replaced where. Within a row's repository equal values get equal replacements.",
        "derailleur pii redact settings.py rows.jsonl --out redacted --style placeholders",
        PiiConfig,
    )
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help=_FILE)
    add_common(made)
    options, config = _parse(made, arguments)
    inputs = {f"file-{number}": path for number, path in enumerate(options.files)}
    if config.recognizer and config.recognizer.model:
        # not called like a key of the configuration, which would be left out with all that is below it
        inputs["recognizer.model"] = config.recognizer.model
    with progress_bars() as progress:
        manifest = execute(
            Stage(
                name="pii-redact",
                version=VERSION,
                config=config,
                inputs=inputs,
                work=lambda out: redact_files(config, options.files, out, progress=progress),
            ),
            options.out,
        )
    show_counts(manifest["results"], _redact_table, as_json=options.json)
    return 0


def _review(arguments: list[str]) -> int:
    made = parser(
        "pii review",
        "Write one HTML page that shows what `pii redact` would replace, before and after, by kind. The\n"
        "values are in plain sight; only you may read the page.",
        "derailleur pii review rows.jsonl settings.py --out review.html",
        PiiConfig,
    )
    _add_files(made)
    made.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page to write")
    made.add_argument(
        "--examples", type=positive, default=100, metavar="N", help="of each kind, at most (default: 100)"
    )
    made.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the sample of examples (default: 0)"
    )
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    options, config = _parse(made, arguments)
    counts = write_review(
        _findings(options.files, config), options.out, examples_per_tag=options.examples, seed=options.seed
    )
    shown = ", ".join(f"{number:,} {tag}" for tag, number in counts.items()) or "nothing was redacted"
    print_result(counts, as_json=options.json, text=f"{options.out}: {shown}")
    return 0


def _findings(files: Sequence[Path], config: PiiConfig) -> Iterator[Finding]:
    for path in files:
        for text in read_texts(path):
            _, redactions = redact(text.content.encode(), config, repository=text.repository)
            source = text.id if text.id == str(path) else f"{path} {text.id}"
            yield from findings(source, text.content, redactions)


def _benchmark(arguments: list[str]) -> int:
    made = parser(
        "pii benchmark",
        'Score the scan on an annotated file: rows {"id", "content", "spans": [{"start", "end", "tag"}]},\n'
        "offsets in characters. A found span is right if one annotated span of its tag overlaps with more\n"
        "than 0.8 of both; each counts once.",
        "derailleur pii benchmark annotated.jsonl --errors errors.jsonl",
        PiiConfig,
    )
    made.add_argument("file", type=Path, metavar="FILE.jsonl", help="the annotated rows; .gz and .zst too")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the scores as JSON")
    made.add_argument(
        "--errors", type=Path, metavar="FILE", help="write one JSON line a mistake, with the value"
    )
    options, config = _parse(made, arguments)
    tags = [*_DETECTED, *(sorted(set(config.recognizer.labels.values())) if config.recognizer else ())]
    with private_text(options.errors) if options.errors else contextlib.nullcontext() as errors:
        result = benchmark(
            options.file, lambda content: find(content.encode(), config), tags=tags, errors=errors
        )
    if options.json:
        print_result(result.as_json(), as_json=True, text="")
    else:
        _show_scores(result)
    return 0


def _show_scores(result: BenchmarkResult) -> None:
    console = Console()
    table = count_table(*((name, "right") for name in ("TP", "FP", "FN", "precision", "recall", "F1")))
    for tag, score in (*sorted(result.scores.items()), ("all", result.total)):
        counts = (score.true_positives, score.false_positives, score.false_negatives)
        shares = (score.precision, score.recall, score.f1)
        style = "bold" if tag == "all" else None
        table.add_row(tag, *(f"{n:,}" for n in counts), *(f"{share:.3f}" for share in shares), style=style)
    console.print(table)
    for title, items in (
        (
            "missed",
            (
                f"{k} {n - found} of {n}"
                for k, (found, n) in sorted(result.found_of_kind.items())
                if found < n
            ),
        ),
        ("false alarms", (f"{kind} {number}" for kind, number in result.alarms.most_common())),
        ("not looked for", (f"{tag} {number}" for tag, number in sorted(result.not_looked_for.items()))),
        ("worst rows", (f"{w.id} (FP {w.false_positives}, FN {w.false_negatives})" for w in result.worst)),
    ):
        if listed := ", ".join(items):
            console.print(f"{title}: {listed}", markup=False, highlight=False)


def _generate(arguments: list[str]) -> int:
    made = parser(
        "pii generate",
        "Write an annotated file for `pii benchmark`: real files with planted values and look-alikes.\n"
        "The same sources, mix and seed give the same bytes.",
        "derailleur pii generate src docs --out annotated.jsonl --mix hard --seed 1",
        GeneratorConfig,
    )
    made.add_argument(
        "sources", nargs="+", type=Path, metavar="SOURCE", help="a folder, or a file of source code"
    )
    made.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="the file to write")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the counts as JSON")
    options, overrides = split_overrides(made, arguments)
    config = load_config(GeneratorConfig, options.config, overrides)
    with progress_bars() as progress:
        counts = generate(config, options.sources, options.out, progress=progress)
    text = ", ".join(f"{number:,} {tag}" for tag, number in counts["spans"].items())
    print_result(counts, as_json=options.json, text=f"{options.out}: {counts['rows']:,} rows; {text}")
    return 0


_ACTIONS: Mapping[str, Callable[[list[str]], int]] = {
    "scan": _scan,
    "redact": _redact,
    "review": _review,
    "benchmark": _benchmark,
    "generate": _generate,
}


def _add_files(made: Parser) -> None:
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help=_FILE)
    add_config(made)


def _parse(made: Parser, arguments: list[str]) -> tuple[argparse.Namespace, PiiConfig]:
    options, overrides = split_overrides(made, arguments)
    return options, load_config(PiiConfig, options.config, overrides)


def _redact_table(results: Mapping[str, Any]) -> Table:
    table = count_table(("number", "right"))
    table.add_row("texts", f"{results['texts']:,}")
    table.add_row("texts redacted", f"{results['redacted_texts']:,}")
    table.add_row("redactions", f"{sum(results['pii'].values()):,}", style="bold")
    add_counts(table, results["pii"])
    return table
