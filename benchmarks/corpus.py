"""The corpus stage against its peers and against itself, as Markdown tables.

    python benchmarks/corpus.py --small FOLDER --full FOLDER --peer datatrove=PATH/bin/python --peer rensa=...
    python benchmarks/corpus.py --only pii --small FOLDER --peer detect-secrets=PATH/bin/python

FOLDERs of Python files: some 40 MB for peers that are slow, 340 MB or more for the others. Four parts:
    near-dedup  CPU-seconds from Parquet files to the ids kept, interleaved, every run in a process of its own
    quality     the survivors of each contender against an exact join of the small corpus
    pii         one scan of the same files
    stage       `derailleur curate` as a command, with every number of --workers
A peer runs in the environment of its own that --peer names; one that is not named is left out. All figures
are of one machine; CPU-seconds bear a busy one better than wall. Results are written as JSON into --out.
"""

import argparse
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from corpus_inputs import Corpus, load
from corpus_process import Usage, ask, run
from corpus_quality import exact_join, judge, shingle_set
from engine_tables import table

from derailleur.io import write_json

PARTS = ("near-dedup", "quality", "pii", "stage")
OURS, OUR_PII = "derailleur", "derailleur pii"
VERSIONS = {
    "datatrove": "0.10.1",
    "text-dedup": "0.4.0",
    "datasketch": "2.0.0",
    "rensa": "0.5.0",
    "detect-secrets": "1.5.0",
}
SEMANTICS = {
    OURS: "42 x 6, verified: Jaccard >= 0.7 with a kept document",
    "datatrove": "14 x 8, English words, connected components, unverified",
    "text-dedup": "256 permutations, bands by its formula, connected components, unverified",
    "datasketch": "25 x 10, collides with a kept document, unverified",
    "rensa": "256 permutations, index, signature of a kept document alike enough",
    OUR_PII: "e-mail, IP, keys, passwords, private keys",
    "detect-secrets": "27 plugins, 12 filters: defaults",
    "detect-secrets, BigCode": "16 key formats, 2 entropies, 4 filters",
}
SLOW = ("datatrove", "text-dedup")
DETECT_SECRETS = ("detect-secrets", "detect-secrets, BigCode")
THRESHOLD, SHINGLE_WORDS = 0.7, 5


@dataclass(frozen=True)
class Run:
    """One run of one contender on one corpus.

    Attributes:
        import_seconds: CPU until the work begins, compiling or loading what was compiled included.
        cpu_seconds: of the work alone.
        process_cpu_seconds: of the whole process.
        result: the ids kept, or the number of findings.
    """

    contender: str
    corpus: str
    num_bytes: int
    version: str
    import_seconds: float
    cpu_seconds: float
    wall_seconds: float
    process_cpu_seconds: float
    result: Any

    @property
    def speed(self) -> float:
        """MB a CPU-second of the work alone."""
        return self.num_bytes / 1e6 / self.cpu_seconds


def main() -> None:
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"{environment()}\n")
    with tempfile.TemporaryDirectory() as folder:
        small = load(arguments.small, Path(folder) / "small")
        if "near-dedup" in arguments.only:
            near_dedup(small, arguments, Path(folder))
        if "quality" in arguments.only:
            quality(small, arguments)
        if "pii" in arguments.only:
            pii(small, arguments, Path(folder))
        if "stage" in arguments.only:
            stage(arguments, Path(folder))


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--small", type=Path, required=True, help="folder of Python files, about 40 MB")
    options.add_argument("--full", type=Path, help="folder of Python files, 340 MB or more")
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    options.add_argument(
        "--peer", action="append", type=peer, default=[], metavar="NAME=PYTHON", help=", ".join(VERSIONS)
    )
    options.add_argument("--rounds", type=int, default=5, help="how often each contender is run")
    options.add_argument("--workers", nargs="+", type=int, default=(1, 2), help="of `curate`")
    options.add_argument("--pii-bytes", type=int, default=3_000_000, help="that detect-secrets scans")
    options.add_argument("--out", type=Path, default=Path("runs/benchmarks/corpus"), help="folder of results")
    return options.parse_args(words)


def peer(word: str) -> tuple[str, str]:
    name, _, python = word.partition("=")
    if name not in VERSIONS or not python:
        raise argparse.ArgumentTypeError(f"'{word}' is not NAME=PYTHON with one of {', '.join(VERSIONS)}")
    return name, python


def environment() -> dict[str, str]:
    """What the figures depend on."""
    versions = {name: version(name) for name in ("numba", "numpy", "pyarrow")}
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}


def near_dedup(small: Corpus, arguments: argparse.Namespace, scratch: Path) -> None:
    """The first part: everyone on the small corpus, then those that are fast enough on the large one."""
    peers = {name: python for name, python in arguments.peer if name != "detect-secrets"}
    runs = interleaved({OURS: sys.executable} | peers, small, small.parts, arguments.rounds)
    if arguments.full:
        full = load(arguments.full, scratch / "full")
        fast = {name: python for name, python in peers.items() if name not in SLOW}
        runs += interleaved({OURS: sys.executable} | fast, full, full.parts, arguments.rounds)
    print(near_dedup_table(runs), flush=True)
    save(arguments, "near-dedup", [_summarised(one) for one in runs])


def interleaved(pythons: Mapping[str, str], corpus: Corpus, data: Path, rounds: int) -> list[Run]:
    """All contenders in turn, so often."""
    return [measured(name, python, corpus, data) for _ in range(rounds) for name, python in pythons.items()]


def measured(contender: str, python: str, corpus: Corpus, data: Path, num_bytes: int | None = None) -> Run:
    """One run; refuses a peer of another version than the one that the tables speak of."""
    answer, usage = ask(python, contender, data)
    print(f"{contender}, {corpus.folder.name}: {answer['cpu_seconds']:.2f} CPU s", file=sys.stderr)
    name, _, found = answer["version"].partition(" ")
    if (expected := VERSIONS.get(name, found)) != found:
        raise SystemExit(f"{name} {found} in {python}; these tables are of {expected}")
    return Run(
        contender=contender,
        corpus=corpus.folder.name,
        num_bytes=num_bytes or corpus.num_bytes,
        process_cpu_seconds=usage.cpu_seconds,
        **answer,
    )


def near_dedup_table(runs: Sequence[Run]) -> str:
    """Medians and ranges; ratios are those of the medians on the same corpus."""
    head = [
        "contender",
        "corpus, MB",
        "CPU s",
        "MB per CPU s",
        "ours is",
        "wall s",
        "imports, CPU s",
        "kept",
        "rule",
    ]
    rows = []
    for corpus, contender in dict.fromkeys((one.corpus, one.contender) for one in runs):
        own = [one for one in runs if (one.corpus, one.contender) == (corpus, contender)]
        ours = [one.cpu_seconds for one in runs if (one.corpus, one.contender) == (corpus, OURS)]
        rows.append(
            [
                contender if contender == OURS else own[0].version,
                f"{own[0].num_bytes / 1e6:.0f}",
                spread([one.cpu_seconds for one in own]),
                f"{median(one.speed for one in own):.1f}",
                f"{median(one.cpu_seconds for one in own) / median(ours):.1f}x",
                f"{median(one.wall_seconds for one in own):.1f}",
                f"{median(one.import_seconds for one in own):.1f}",
                f"{len(own[0].result):,}",
                SEMANTICS[contender],
            ]
        )
    return table(head, rows)


def spread(values: Sequence[float]) -> str:
    """Median, and the range."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def quality(small: Corpus, arguments: argparse.Namespace) -> None:
    """The second part: one run of each contender against the truth."""
    sets = {
        name: shingle_set(path.read_bytes(), SHINGLE_WORDS)
        for name, path in zip(small.names, small.paths(), strict=True)
    }
    pairs = exact_join(sets, THRESHOLD)
    peers = {name: python for name, python in arguments.peer if name != "detect-secrets"}
    runs = interleaved({OURS: sys.executable} | peers, small, small.parts, 1)
    print(
        quality_table({one.contender: set(one.result) for one in runs}, pairs, set(small.names)), flush=True
    )
    judged = {one.contender: asdict(judge(pairs, set(small.names), set(one.result))) for one in runs}
    save(arguments, "quality", judged)


def quality_table(kept: Mapping[str, set[str]], pairs: Sequence[Any], names: set[str]) -> str:
    """By contender, what became of the pairs over the threshold."""
    rows = []
    bins: Mapping[float, tuple[int, int]] = {}
    for contender, own in kept.items():
        found = judge(pairs, names, own)
        bins = found.bins
        recalls = [f"{done / total:.1%}" if total else "" for total, done in bins.values()]
        rows.append(
            [
                contender,
                f"{len(own):,}",
                f"{found.both_stayed:,} ({found.missed:.2%})",
                f"{found.unjustified:,} of {found.num_dropped:,}",
                *recalls,
            ]
        )
    head = ["contender", "kept", "pairs that both stayed", "dropped without a survivor alike enough"]
    head += [f"{low:g}: {total:,} pairs" for low, (total, _) in bins.items()]
    return table(head, rows)


def pii(small: Corpus, arguments: argparse.Namespace, scratch: Path) -> None:
    """The third part: detect-secrets on the first megabytes, ours on the same and on all."""
    runs = []
    some, every = scratch / "some", scratch / "all"
    paths = small.paths(arguments.pii_bytes)
    num_bytes = sum(path.stat().st_size for path in paths)
    some.write_text("\n".join(map(str, paths)))
    every.write_text("\n".join(map(str, small.paths())))
    for _ in range(arguments.rounds):
        runs.append(measured(OUR_PII, sys.executable, small, every))
        runs.append(measured(OUR_PII, sys.executable, small, some, num_bytes))
        for name, python in arguments.peer:
            if name == "detect-secrets":
                runs += [measured(setting, python, small, some, num_bytes) for setting in DETECT_SECRETS]
    print(pii_table(runs), flush=True)
    save(arguments, "pii", [asdict(one) for one in runs])


def pii_table(runs: Sequence[Run]) -> str:
    """Medians; a ratio is that of the speeds on the same files."""
    head = [
        "contender",
        "MB",
        "CPU s",
        "MB per CPU s",
        "ours is",
        "imports, CPU s",
        "findings",
        "what it looks for",
    ]
    rows = []
    for contender, num_bytes in dict.fromkeys((one.contender, one.num_bytes) for one in runs):
        own = [one for one in runs if (one.contender, one.num_bytes) == (contender, num_bytes)]
        ours = [one.speed for one in runs if (one.contender, one.num_bytes) == (OUR_PII, num_bytes)]
        speed = median(one.speed for one in own)
        rows.append(
            [
                contender
                if contender == OUR_PII
                else f"{own[0].version}{contender.removeprefix('detect-secrets')}",
                f"{num_bytes / 1e6:.1f}",
                spread([one.cpu_seconds for one in own]),
                f"{speed:.2f}",
                f"{median(ours) / speed:.0f}x",
                f"{median(one.import_seconds for one in own):.1f}",
                f"{own[0].result:,}",
                SEMANTICS[contender],
            ]
        )
    return table(head, rows)


def stage(arguments: argparse.Namespace, scratch: Path) -> None:
    """The fourth part: the command as it is; once on next to nothing, to take its start off."""
    source = arguments.full or arguments.small
    num_bytes = sum(path.stat().st_size for path in source.rglob("*.py"))
    empty = scratch / "next-to-nothing"
    empty.mkdir()
    (empty / "one.py").write_text("print('one file, so that there is something to do')\n" * 4)
    usages: dict[int, list[Usage]] = {workers: [] for workers in arguments.workers}
    start = curated(empty, 1, scratch / "start")
    for number in range(arguments.rounds):
        for workers, own in usages.items():
            own.append(curated(source, workers, scratch / f"out-{number}-{workers}"))
    print(stage_table(usages, start, num_bytes), flush=True)
    results = {str(workers): [asdict(one) for one in own] for workers, own in usages.items()}
    save(arguments, "stage", {"bytes": num_bytes, "start": asdict(start), "workers": results})


def curated(source: Path, workers: int, out: Path) -> Usage:
    """One run of the command."""
    command = [
        sys.executable,
        "-m",
        "derailleur",
        "curate",
        source,
        "--out",
        out,
        "--workers",
        str(workers),
        "--json",
    ]
    return run(command, sample=True)[1]


def stage_table(usages: Mapping[int, Sequence[Usage]], start: Usage, num_bytes: int) -> str:
    """Speeds of the whole command and of what is more than starting it."""
    head = [
        "workers",
        "wall s",
        "CPU s",
        "MB/s",
        "MB per CPU s",
        "the same without start",
        "speed-up",
        "peak of a process, MB",
    ]
    first = median(one.wall_seconds for one in next(iter(usages.values())))
    rows = []
    for workers, own in usages.items():
        wall, cpu = (median(getattr(one, name) for one in own) for name in ("wall_seconds", "cpu_seconds"))
        rows.append(
            [
                str(workers),
                spread([one.wall_seconds for one in own]),
                spread([one.cpu_seconds for one in own]),
                f"{num_bytes / 1e6 / wall:.1f}",
                f"{num_bytes / 1e6 / cpu:.1f}",
                f"{num_bytes / 1e6 / max(cpu - start.cpu_seconds, 1e-9):.1f}",
                f"{first / wall:.2f}x",
                f"{max(peak for one in own for peak in one.peak_bytes) / 1e6:.0f}",
            ]
        )
    return table(head, rows)


def _summarised(one: Run) -> dict[str, Any]:
    return asdict(one) | {"result": len(one.result)}


def save(arguments: argparse.Namespace, part: str, results: Any) -> None:
    """Write a part's figures beside what they were measured on."""
    settings = {name: str(value) for name, value in vars(arguments).items()}
    content = {"environment": environment(), "arguments": settings, "results": results}
    write_json(arguments.out / f"{part}.json", content)


if __name__ == "__main__":
    main()
