"""The counts of a finished run: sums over its shards, and what the whole corpus shows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from derailleur.corpus.filters import volume_table
from derailleur.corpus.flow import left_out_rows
from derailleur.corpus.near_dedup import read_dropped
from derailleur.corpus.pii import TAGS
from derailleur.corpus.sources import HELDOUT, TRAIN
from derailleur.corpus.workspace import Workspace
from derailleur.io import file_sha256, write_text

CHECKSUMS = "SHA256SUMS"


def summarise(
    workspace: Workspace, shards: Sequence[Mapping[str, Any]], near: Mapping[str, Any]
) -> dict[str, Any]:
    """Add the shards up; every file must be counted once.

    Args:
        shards: the counts of `finish`.
        near: the counts of near-dedup.
    """
    total = _sum(shards)
    kept = total.get("kept", 0)
    left_out = left_out_rows(total.get("left_out", {}))
    assert total["files_seen"] == kept + sum(row["files"] for row in left_out), "the ledger does not add up"
    write_checksums(workspace, len(shards))
    splits, languages = total.get("splits", {}), total.get("by_language", {})
    measures = [workspace.output("measures", shard) for shard in range(len(shards))]
    return {
        "files_seen": total["files_seen"],
        "bytes_seen": total["bytes_seen"],
        "kept": kept,
        "dropped": _by_reason(left_out, "dropped"),
        "quarantined": _by_reason(left_out, "quarantined"),
        "left_out": left_out,
        "bytes_kept": sum(counts["bytes"] for counts in splits.values()),
        "splits": {split: splits.get(split, {"files": 0, "bytes": 0}) for split in (TRAIN, HELDOUT)},
        "languages": _ordered({name: n["files_kept"] for name, n in languages.items() if "files_kept" in n}),
        "by_source": _largest_first(total.get("by_source", {})),
        "by_language": _largest_first(languages),
        "by_licence": _largest_first(total.get("by_licence", {})),
        "pii": {tag: total.get("pii", {}).get(tag, 0) for tag in TAGS},
        "near_dedup": {**near, "cluster_sizes": cluster_sizes(workspace)},
        "filters": [
            asdict(row) | {"percentiles": {str(key): value for key, value in row.percentiles.items()}}
            for row in volume_table(measures, scratch=workspace.scratch)
        ],
        "contamination": _ordered(total.get("contamination", {})),
        "shards": len(shards),
    }


def _by_reason(left_out: Iterable[Mapping[str, Any]], action: str) -> dict[str, int]:
    """Files by reason, whichever step it was."""
    files: Counter[str] = Counter()
    for row in left_out:
        if row["action"] == action:
            files[row["reason"]] += row["files"]
    return _ordered(files)


def cluster_sizes(workspace: Workspace) -> dict[str, int]:
    """How many survivors stand for 2, 3, ... documents, themselves included."""
    survivors = read_dropped(workspace.path("resolve", 0))["survivor"]
    _, followers = np.unique(survivors[survivors >= 0], return_counts=True)
    sizes, times = np.unique(followers + 1, return_counts=True)
    return {str(size): int(number) for size, number in zip(sizes, times, strict=True)}


def write_checksums(workspace: Workspace, num_shards: int) -> None:
    """Write the SHA-256 of every document shard, in the form that `sha256sum --check` reads."""
    shards = [workspace.output("documents", shard) for shard in range(num_shards)]
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in shards]
    write_text(workspace.out / CHECKSUMS, "".join(lines))


def _sum(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up mappings of numbers, or of mappings of numbers, and so on."""
    total: dict[str, Any] = {"files_seen": 0, "bytes_seen": 0}
    for one in counts:
        _add(total, one)
    return total


def _add(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, value in counts.items():
        if isinstance(value, Mapping):
            _add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(Counter(counts).items(), key=lambda item: (-item[1], item[0])))


def _largest_first(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """By bytes kept, then bytes seen."""

    def size(item: tuple[str, Mapping[str, int]]) -> tuple[int, int, str]:
        return (-item[1].get("bytes_kept", 0), -item[1].get("bytes_seen", 0), item[0])

    return dict(sorted(counts.items(), key=size))
