"""What single steps of the corpus stage cost, as Markdown tables: MB per CPU-second of one core.

    python benchmarks/corpus_steps.py sources FOLDER dist.tar.gz rows.parquet
    python benchmarks/corpus_steps.py filters FOLDER
    python benchmarks/corpus_steps.py decontamination FOLDER --benchmarks HumanEval.jsonl.gz mbpp.jsonl

`sources` lists and reads each source as `curate` does, then decodes what was read; MB are those of the files
read. The others run on the Python files of FOLDER, already in memory, up to --megabytes. The median of the
rounds is shown; compilation is not counted.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from engine_tables import table

from derailleur.corpus.decoding import EncodingConfig, decode
from derailleur.corpus.decontamination import DecontaminationConfig, Decontaminator, read_passages
from derailleur.corpus.decontamination.normal_form import normalise
from derailleur.corpus.filters import FILTERS, FilterConfig, Filters
from derailleur.corpus.sources import Entry, SourceConfig, open_sources, read_unit

UNIT_BYTES = 32 << 20
PROFILES = ("default", "santacoder", "opencoder")


@dataclass(frozen=True)
class Python:
    """A document as the filters see it."""

    content: bytes
    language: str = "Python"
    stars: int | None = None


def cpu_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of a piece of work, user and system."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times)


def speed(num_bytes: int, seconds: float) -> str:
    """MB per CPU-second."""
    value = num_bytes / 1e6 / max(seconds, 1e-9)
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def entries(source: str, config: SourceConfig) -> Iterator[Entry]:
    """All that a source has."""
    [opened] = open_sources([source], config, out=Path("nowhere"))
    for unit in opened.units(UNIT_BYTES):
        yield from read_unit(unit, config)


def measure_sources(sources: Sequence[str], rounds: int) -> str:
    """A row a source."""
    config, encoding = SourceConfig(), EncodingConfig()
    rows = []
    for source in sources:
        read = [entry for entry in entries(source, config) if entry.data is not None]
        num_bytes = sum(entry.num_bytes for entry in read)
        reading = cpu_seconds(lambda source=source: sum(1 for _ in entries(source, config)), rounds)
        decoding = cpu_seconds(
            lambda read=read: [decode(entry.data or b"", path=entry.path, config=encoding) for entry in read],
            rounds,
        )
        name = Path(source).name
        rows.append(
            (
                name,
                f"{len(read):,}",
                f"{num_bytes / 1e6:.1f}",
                speed(num_bytes, reading),
                speed(num_bytes, decoding),
            )
        )
    return table(("source", "files", "MB", "list and read, MB per CPU s", "decode"), rows)


def measure_filters(texts: Sequence[Python], rounds: int) -> str:
    """A row a filter and a profile."""
    num_bytes = sum(len(text.content) for text in texts)
    configs = {f"`{name}`": FilterConfig(order=(name,)) for name in FILTERS if name != "fertility"}
    configs |= {f"profile `{name}`": FilterConfig(profile=name) for name in PROFILES}
    rows = []
    for name, config in configs.items():
        filters = Filters(config)
        filters.judge(texts[0])
        seconds = cpu_seconds(lambda filters=filters: [filters.judge(text) for text in texts], rounds)
        rows.append((name, speed(num_bytes, seconds)))
    return table(("filter", "MB per CPU s"), rows)


def measure_decontamination(texts: Sequence[Python], benchmarks: Sequence[Path], rounds: int) -> str:
    """One row: what is looked for, and how fast."""
    config = DecontaminationConfig(benchmarks=tuple(benchmarks))
    passages = [passage for benchmark in config.benchmarks for passage in read_passages(benchmark)]
    loading = cpu_seconds(lambda: Decontaminator.load(config), rounds)
    made = Decontaminator.load(config)
    made.check(texts[0].content)
    seconds = cpu_seconds(lambda: [made.check(text.content) for text in texts], rounds)
    found = sum(made.check(text.content) is not None for text in texts)
    row = (
        f"{len({(passage.benchmark, passage.row) for passage in passages}):,}",
        f"{len({normalise(passage.text.encode()) for passage in passages}):,}",
        f"{loading:.2f}",
        speed(sum(len(text.content) for text in texts), seconds),
        f"{found:,} of {len(texts):,}",
    )
    return table(("rows", "passages", "load, CPU s", "MB per CPU s", "files dropped"), [row])


def python_files(folder: Path, megabytes: float) -> list[Python]:
    """The UTF-8 Python files below a folder, in the order of their paths."""
    texts, size = [], 0.0
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        try:
            content.decode()
        except UnicodeDecodeError:
            continue
        size += len(content) / 1e6
        if size > megabytes:
            break
        texts.append(Python(content))
    return texts


def main() -> None:
    """Print the table of one step."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("step", choices=("sources", "filters", "decontamination"))
    made.add_argument("sources", nargs="+", help="of `sources`; else a folder")
    made.add_argument("--benchmarks", nargs="+", type=Path, default=(), help="benchmark files")
    made.add_argument("--megabytes", type=float, default=9, help="of Python files, at most")
    made.add_argument("--rounds", type=int, default=3)
    options = made.parse_args()
    if options.step == "sources":
        print(measure_sources(options.sources, options.rounds))
        return
    texts = python_files(Path(options.sources[0]), options.megabytes)
    if options.step == "filters":
        print(measure_filters(texts, options.rounds))
    else:
        print(measure_decontamination(texts, options.benchmarks, options.rounds))


if __name__ == "__main__":
    main()
