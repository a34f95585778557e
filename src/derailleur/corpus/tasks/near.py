"""Tasks `sketch`, `join` and `resolve`: the near-duplicates among the ranked texts of all shards."""

from typing import Any

import numpy as np

from derailleur.corpus.near_dedup import join_partition, num_partitions, resolve, sketch_shard
from derailleur.corpus.ranking import read_ranks
from derailleur.corpus.spool import Ragged
from derailleur.corpus.workspace import Task, Workspace
from derailleur.io import read_json


def sketch_texts(task: Task) -> dict[str, Any]:
    """Sketch the texts of a shard that are no copies."""
    workspace = task.workspace
    texts = Ragged.mapped(workspace.path("texts", task.number), np.uint8)
    ranks = read_ranks(workspace.path("ranks", task.number, ".npy")).own
    sketch_shard(texts, ranks, workspace.config.near_dedup, workspace.path("sketch", task.number))
    return {}


def join_keys(task: Task) -> dict[str, Any]:
    """Find the texts that share a band key, of one range of keys."""
    workspace = task.workspace
    join_partition(
        task.number,
        workspace.paths("sketch", workspace.num_shards),
        workspace.path("join", task.number),
        num_partitions=num_partitions(_num_documents(workspace), workspace.config.near_dedup),
    )
    return {}


def resolve_duplicates(task: Task) -> dict[str, Any]:
    """Decide which texts stay."""
    workspace, config = task.workspace, task.workspace.config.near_dedup
    num_documents = _num_documents(workspace)
    partitions = workspace.paths("join", num_partitions(num_documents, config))
    counts = resolve(
        workspace.paths("sketch", workspace.num_shards),
        partitions,
        num_documents,
        config,
        workspace.path("resolve", 0),
    )
    return {
        "candidates": counts.num_candidates,
        "verified": counts.num_verified,
        "capped_documents": counts.num_capped,
    }


def _num_documents(workspace: Workspace) -> int:
    return int(read_json(Task(workspace, "rank", 0).done)["documents"])
