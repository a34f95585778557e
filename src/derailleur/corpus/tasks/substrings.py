"""Tasks `fingerprint`, `match`, `passages` and `repeats`: what the kept documents repeat verbatim."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from derailleur.corpus import substrings
from derailleur.corpus.spool import Ragged
from derailleur.corpus.substrings import Labels
from derailleur.corpus.workspace import Task, Workspace
from derailleur.io import read_json

REPEATS = "repeats.parquet"


def fingerprint_texts(task: Task) -> dict[str, Any]:
    """Fingerprint the kept texts of a shard, as they were before redaction."""
    workspace = task.workspace
    is_kept, _ = _kept(workspace, task.number)
    first = sum(_texts_of(workspace, shard) for shard in range(task.number))
    texts = _texts(workspace, task.number)
    substrings.fingerprint_shard(
        texts,
        is_kept,
        first,
        workspace.config.substrings,
        workspace.path("fingerprint", task.number),
    )
    sizes = np.diff(texts.offsets)
    return {"bytes": int(sizes[is_kept].sum())}


def match_fingerprints(task: Task) -> dict[str, Any]:
    """Find which texts share a fingerprint, of one range of them."""
    workspace = task.workspace
    substrings.join_fingerprints(
        task.number,
        workspace.paths("fingerprint", workspace.num_shards),
        workspace.path("match", task.number),
        num_partitions=num_match_partitions(workspace),
    )
    return {}


def find_passages(task: Task) -> dict[str, Any]:
    """Find the passages of a shard that stand elsewhere too."""
    workspace = task.workspace
    is_kept, labels = _kept(workspace, task.number)
    substrings.find_passages(
        task.number,
        [_texts(workspace, shard) for shard in range(workspace.num_shards)],
        is_kept,
        labels,
        workspace.paths("match", num_match_partitions(workspace)),
        workspace.config.substrings,
        passages=workspace.path("passages", task.number, ".parquet"),
        documents=workspace.path("passages", task.number, ".documents.parquet"),
    )
    return {}


def sum_up_repeats(task: Task) -> dict[str, Any]:
    """Write the passages that repeat most, and count."""
    workspace = task.workspace
    return substrings.summarise(
        workspace.paths("passages", workspace.num_shards, ".parquet"),
        workspace.paths("passages", workspace.num_shards, ".documents.parquet"),
        workspace.config.substrings,
        workspace.out / REPEATS,
    )


def num_match_partitions(workspace: Workspace) -> int:
    """How many ranges the fingerprints are parted into."""
    tasks = [Task(workspace, "fingerprint", shard) for shard in range(workspace.num_shards)]
    num_bytes = sum(read_json(task.done)["bytes"] for task in tasks)
    return substrings.num_partitions(num_bytes, workspace.config.substrings)


def _texts(workspace: Workspace, shard: int) -> Ragged:
    return Ragged.mapped(workspace.path("texts", shard), np.uint8)


def _texts_of(workspace: Workspace, shard: int) -> int:
    return int(read_json(Task(workspace, "read", shard).done)["texts"])


def _kept(workspace: Workspace, shard: int) -> tuple[NDArray[np.bool_], Labels]:
    """Which texts of a shard became documents, and what they are called."""
    names = ["text", "repository", "path", "language"]
    files = pq.read_table(workspace.path("judge", shard, ".parquet"), columns=names)
    actions = pq.read_table(workspace.output("ledger", shard), columns=["action"]).column("action")
    files = files.append_column("action", actions).filter(files.column("text").is_valid())
    is_kept = np.array([action == "kept" for action in files.column("action").to_pylist()], bool)
    return is_kept, Labels(*(files.column(name).to_pylist() for name in names[1:]))
