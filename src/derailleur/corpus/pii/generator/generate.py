"""Writes an annotated benchmark: real files with planted values and look-alikes, spans exact.

The same sources, mix and seed give the same bytes. Rows are those that `benchmark` reads; beside them each
span says its `kind`, and `look_alikes` lists what was planted without being personal data.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import Field

from derailleur.config import Config
from derailleur.corpus.pii.generator.bases import Base, draw_bases, find_bases
from derailleur.corpus.pii.generator.kinds import Kind, Piece, kinds, spell
from derailleur.corpus.pii.generator.places import fits, indentation, insertion_points, lines_with
from derailleur.io import Progress, atomic_path, silent

_SEED_FILES = 400
# SantaCoder's benchmark: values in its 400 files, by group; of the look-alikes only those that are everywhere
_SEED_MIX = {
    ("emails",): 193,
    ("addresses",): 99,
    ("keys", "entropy_keys"): 34,
    ("plain_look_alikes",): 200,
}
# the same for 400 files of the harder mix; a group is drawn first, then a kind of it
_HARD_MIX = {
    ("emails", "hard_emails"): 360,
    ("addresses", "hard_addresses"): 320,
    ("keys", "keys", "entropy_keys", "hard_keys", "private_keys"): 400,
    ("passwords",): 200,
    ("plain_look_alikes", "look_alikes", "look_alikes", "line_look_alikes"): 2000,
}


_KINDS = kinds("values.yaml") | kinds("look_alikes.yaml")


class GeneratorConfig(Config):
    """What a generated benchmark is like."""

    mix: Literal["seed", "hard"] = Field(
        "hard",
        description="seed: EMAIL, IP and KEY as 193:99:34 in 400 files; hard: all kinds, many look-alikes",
    )
    seed: int = Field(0, ge=0, description="another one gives other values, places and files")
    files: int = Field(_SEED_FILES, ge=1, description="rows to write")


def generate(
    config: GeneratorConfig, sources: Sequence[Path], out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Write a benchmark as JSON lines.

    Args:
        sources: folders or files whose real files values are planted in.

    Returns:
        Counts for a table: rows, and spans by tag.

    Raises:
        DataError: if a source is missing or has no usable file.
    """
    random = Random(f"{config.mix}-{config.seed}")
    bases = draw_bases(find_bases(sources), config.files, random)
    tags: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for number, (base, plan) in enumerate(zip(bases, _plans(config, random), strict=True)):
            row = _planted(f"{config.mix}-{config.seed}-{number:05}", base, plan, random)
            tags.update(span["tag"] for span in row["spans"])
            tags["look-alike"] += len(row["look_alikes"])
            languages[base.language] += 1
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            progress("generate", number + 1, config.files)
    return {"rows": config.files, "spans": dict(sorted(tags.items())), "languages": dict(languages)}


def _plans(config: GeneratorConfig, random: Random) -> list[list[str]]:
    """The groups of kinds to plant one of, a list a file."""
    plans: list[list[str]] = [[] for _ in range(config.files)]
    for groups, number in (_SEED_MIX if config.mix == "seed" else _HARD_MIX).items():
        for _ in range(round(number * config.files / _SEED_FILES)):
            random.choice(plans).append(random.choice(groups))
    return plans


def _planted(identifier: str, base: Base, plan: Sequence[str], random: Random) -> dict[str, Any]:
    points = insertion_points(base.lines, base.language)
    planted: list[tuple[int, Kind, Piece]] = []
    for group in plan:
        fitting = [kind for kind in _KINDS[group] if fits(kind, base.language)]
        if fitting:
            kind, point = random.choice(fitting), random.choice(points)
            piece = lines_with(spell(random.choice(kind.templates), random), kind, base.language, random)
            planted.append((point, kind, piece.indented(indentation(base.lines, point))))
    planted.sort(key=lambda item: item[0])
    content, spans, look_alikes = _joined(base.lines, planted)
    return {
        "id": identifier,
        "language": base.language,
        "content": content,
        "spans": spans,
        "look_alikes": look_alikes,
    }


def _joined(
    lines: Sequence[str], planted: Sequence[tuple[int, Kind, Piece]]
) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """The text, and where each value is in it."""
    parts: list[str] = []
    length = 0
    done = 0
    spans: list[dict[str, Any]] = []
    look_alikes: list[dict[str, Any]] = []

    def write(text: str) -> None:
        nonlocal length
        parts.append(text + "\n")
        length += len(text) + 1

    for point, kind, piece in planted:
        for line in lines[done:point]:
            write(line)
        done = point
        where = {"start": length + piece.start, "end": length + piece.end, "kind": kind.name}
        if kind.tag:
            spans.append({**where, "tag": kind.tag})
        else:
            look_alikes.append(where)
        write(piece.text)
    for line in lines[done:]:
        write(line)
    return "".join(parts), spans, look_alikes
