"""Licence matching against ScanCode, and its speed.

    scancode --license --json scancode.json FOLDER      in an environment of its own
    python benchmarks/licences.py match FOLDER scancode.json
    python benchmarks/licences.py headers FOLDER...

FOLDER of `match` holds licence files, that of `headers` source files.
"""

import json
import sys
import time
from pathlib import Path

from derailleur.corpus.licences import header_licences, match_licence
from derailleur.corpus.licences.expression import leaves, parse
from derailleur.corpus.licences.header import HEAD_BYTES

SOURCES = frozenset((".c", ".cpp", ".h", ".hpp", ".java", ".js", ".pl", ".pm", ".py", ".rb", ".ts"))
MAX_HEADS = 20_000


def names(spdx: str | None) -> frozenset[str]:
    """The licences of an expression, later versions or not, without ScanCode's own for remarks."""
    expression = parse(spdx or "")
    found = [] if expression is None else [leaf.licence for leaf in leaves(expression)]
    return frozenset(
        name.removesuffix("-only").removesuffix("-or-later")
        for name in found
        if not name.startswith("LicenseRef-scancode-")
    )


def match(folder: Path, oracle: Path) -> None:
    rows = {Path(row["path"]).name: row for row in json.loads(oracle.read_text())["files"]}
    files = sorted(path for path in folder.iterdir() if path.name in rows)
    match_licence(files[0].read_bytes())
    seconds, agreed = [], 0
    for path in files:
        data = path.read_bytes()
        start = time.process_time()
        found = match_licence(data)
        seconds.append(time.process_time() - start)
        ours, theirs = found and found.spdx, rows[path.name]["detected_license_expression_spdx"]
        agreed += names(ours) == names(theirs)
        if names(ours) != names(theirs):
            print(f"{path.name}\n    ours      {ours}\n    scancode  {theirs}")
    print(f"{agreed} of {len(files)} files agree ({agreed / len(files):.1%})")
    print(f"mean {sum(seconds) / len(seconds) * 1e3:.2f} ms, largest {max(seconds) * 1e3:.1f} ms (CPU)")


def headers(folders: list[Path]) -> None:
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in SOURCES)
    heads = [path.read_bytes()[:HEAD_BYTES] for path in paths[:MAX_HEADS] if path.is_file()]
    header_licences(heads[0])
    start = time.process_time()
    found = sum(bool(header_licences(head)) for head in heads)
    seconds = time.process_time() - start
    megabytes = sum(map(len, heads)) / 1e6
    print(f"{found} of {len(heads)} heads state a licence; {megabytes / seconds:.0f} MB per CPU-second")


if __name__ == "__main__":
    if sys.argv[1] == "match":
        match(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        headers([Path(argument) for argument in sys.argv[2:]])
