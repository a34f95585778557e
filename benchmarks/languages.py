"""How far `language_of` agrees with enry, and what it, enry and magika cost, on folders of real packages.

    python -m venv peers && peers/bin/pip install enry-python==0.2.0 magika==1.0.3
    python benchmarks/languages.py packages/* --peers peers/bin/python

enry is a port of GitHub's linguist. Files that it calls binary, empty ones and those over a megabyte are left
out. Agreement is the share of equal answers among the files that enry knows; where linguist has two names for
what has one here (`SAME`), they count as equal. The last row counts the files whose content had to decide.

Speed is megabytes per CPU-second of the answers alone: each tool runs in a process of its own, on the same
files already in memory, in turns; the median of the rounds is shown. magika, which looks at content only,
runs on a sample.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SAME = {
    "Ant Build System": "XML",
    "Cuda": "CUDA",
    "Fortran Free Form": "Fortran",
    "Gradle": "Groovy",
    "Gradle Kotlin DSL": "Kotlin",
    "JSON with Comments": "JSON",
    "JavaScript+ERB": "HTML+ERB",
    "Literate Haskell": "Haskell",
    "M4Sugar": "M4",
    "Maven POM": "XML",
    "Motorola 68K Assembly": "Assembly",
    "PLSQL": "SQL",
    "PLpgSQL": "SQL",
    "Protocol Buffer": "Protocol Buffers",
    "Roff Manpage": "Roff",
    "SQLPL": "SQL",
    "TSQL": "SQL",
    "TSX": "TypeScript",
    "Unix Assembly": "Assembly",
    "XML Property List": "XML",
}
MAX_BYTES = 1_000_000
SAMPLE_EVERY = 50

Answer = Callable[[str, bytes], str | None]


def ours() -> Answer:
    from derailleur.corpus.languages import language_of

    return language_of


def enry() -> Answer:
    import enry

    return lambda path, data: "binary" if enry.is_binary(data) else enry.get_language(path, data) or None


def magika() -> Answer:
    from magika import Magika

    model = Magika()
    return lambda path, data: model.identify_bytes(data).output.label


def answer(tool: str) -> None:
    """Answer for the files listed on standard input, in a process of its own."""
    paths = json.load(sys.stdin)
    identify = {"ours": ours, "enry": enry, "magika": magika}[tool]()
    contents = [Path(path).read_bytes() for path in paths]
    identify(paths[0], contents[0])
    start = time.process_time()
    answers = [identify(path, data) for path, data in zip(paths, contents, strict=True)]
    json.dump({"cpu_seconds": time.process_time() - start, "answers": answers}, sys.stdout)


def ask(python: str, tool: str, paths: list[str]) -> tuple[float, list[str | None]]:
    command = [python, __file__, "--answer", tool]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, input=json.dumps(paths), capture_output=True, text=True, env=environment, check=True
    )
    told = json.loads(done.stdout)
    return told["cpu_seconds"], told["answers"]


def find(folders: list[Path]) -> list[str]:
    files = (file for folder in folders for file in sorted(folder.rglob("*")))
    return [
        str(file)
        for file in files
        if not file.is_symlink() and file.is_file() and 0 < file.stat().st_size < MAX_BYTES
    ]


def content_decides(path: str) -> bool:
    from derailleur.corpus.languages import language_of
    from derailleur.corpus.languages.content import BY_CONTENT

    return language_of(path) is None or Path(path).suffix.lower() in BY_CONTENT


def show_agreement(paths: list[str], mine: list[str | None], theirs: list[str | None], examples: int) -> None:
    known: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    pairs: dict[tuple[str, str | None], list[str]] = {}
    shared = shared_equal = only_ours = 0
    for path, our, peer in zip(paths, mine, theirs, strict=True):
        if peer is None:
            only_ours += our is not None
        elif peer != "binary":
            peer = SAME.get(peer, peer)
            known[peer] += 1
            equal[peer] += our == peer
            if content_decides(path):
                shared += 1
                shared_equal += our == peer
            if our != peer:
                pairs.setdefault((peer, our), []).append(path)
    print("| language | files | agreement |\n| --- | --- | --- |")
    for language, files in known.most_common():
        print(f"| {language} | {files} | {equal[language] / files:.2%} |")
    print(f"| all | {known.total()} | {equal.total() / known.total():.2%} |")
    print(f"| content decides | {shared} | {shared_equal / max(shared, 1):.2%} |")
    print(f"\nknown to ours alone: {only_ours} files\n")
    for (peer, our), files in sorted(pairs.items(), key=lambda pair: -len(pair[1]))[:examples]:
        print(f"{len(files):5} enry {peer}, ours {our}: {files[0]}")


def show_speed(paths: list[str], peers: str, rounds: int) -> None:
    tools = {
        "ours": (sys.executable, paths),
        "enry": (peers, paths),
        "magika": (peers, paths[::SAMPLE_EVERY]),
    }
    seconds: dict[str, list[float]] = {tool: [] for tool in tools}
    for _ in range(rounds):
        for tool, (python, asked) in tools.items():
            seconds[tool].append(ask(python, tool, asked)[0])
    print("\n| tool | MB per CPU-second | microseconds a file |\n| --- | --- | --- |")
    for tool, (_, asked) in tools.items():
        median = statistics.median(seconds[tool])
        megabytes = sum(Path(path).stat().st_size for path in asked) / 1e6
        print(f"| {tool} | {megabytes / median:.1f} | {median / len(asked) * 1e6:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has enry and magika")
    parser.add_argument("--every", type=int, default=1, help="take every n-th file only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=40, help="how many kinds of disagreement to list")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(arguments.answer)
        return
    paths = find(arguments.folders)[:: arguments.every]
    (_, mine), (_, theirs) = ask(sys.executable, "ours", paths), ask(arguments.peers, "enry", paths)
    show_agreement(paths, mine, theirs, arguments.examples)
    show_speed(paths, arguments.peers, arguments.rounds)


if __name__ == "__main__":
    main()
