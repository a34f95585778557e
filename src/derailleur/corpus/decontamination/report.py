"""The report of what was found: one line of JSON a document that was dropped, and counts by benchmark."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from derailleur.corpus.decontamination.decontaminate import Match
from derailleur.errors import DataError
from derailleur.io import atomic_path


@dataclass(frozen=True, slots=True)
class Contamination:
    """What was found of one benchmark.

    Attributes:
        documents: dropped for it.
        rows: of the benchmark that were found, each counted once.
        kinds: documents by passage and by how it was found, such as `docstring by ngrams`.
    """

    benchmark: str
    documents: int
    rows: int
    kinds: dict[str, int]


def write_matches(path: Path, found: Iterable[tuple[str, str, Match]]) -> None:
    """Write the documents of a shard that hold a passage: repository, path, and everything of the match."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for repository, name, match in found:
            row = {"repository": repository, "path": name} | asdict(match)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def count_matches(files: Sequence[Path]) -> list[Contamination]:
    """Counts over the files of all shards, the benchmark found most often first.

    Raises:
        DataError: naming the file and the line that `write_matches` did not write.
    """
    documents: Counter[str] = Counter()
    rows: dict[str, set[str]] = {}
    kinds: dict[str, Counter[str]] = {}
    for path in files:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    match = json.loads(line)
                    benchmark, kind = match["benchmark"], f"{match['passage']} by {match['kind']}"
                    rows.setdefault(benchmark, set()).add(match["row"])
                except (ValueError, KeyError, TypeError):
                    raise DataError(f"{path}:{number}: not a match of decontamination") from None
                documents[benchmark] += 1
                kinds.setdefault(benchmark, Counter())[kind] += 1
    ordered = sorted(documents, key=lambda benchmark: (-documents[benchmark], benchmark))
    return [
        Contamination(name, documents[name], len(rows[name]), dict(sorted(kinds[name].items())))
        for name in ordered
    ]
