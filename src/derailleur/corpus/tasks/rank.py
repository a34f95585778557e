"""Task `rank`: exact duplicates, and who survives, over all shards."""

from typing import Any

from derailleur.corpus.ranking import rank_texts
from derailleur.corpus.workspace import Task
from derailleur.io import read_json


def rank_shards(task: Task) -> dict[str, Any]:
    """Rank the texts of all shards."""
    workspace = task.workspace
    shards = range(workspace.num_shards)
    num_documents = rank_texts(
        workspace.paths("judge", len(shards), ".parquet"),
        [read_json(Task(workspace, "read", shard).done)["texts"] for shard in shards],
        workspace.paths("ranks", len(shards), ".npy"),
        workspace.path("names", 0),
    )
    return {"documents": num_documents}
