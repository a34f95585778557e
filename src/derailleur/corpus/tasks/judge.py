"""Tasks `licences` and `judge`: what holds for a file beyond its own bytes: licence, stars, opt-out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from derailleur.corpus.ledger import FileRecord, Says, Verdict, read_records, write_records
from derailleur.corpus.licences import (
    FolderLicence,
    LicenceMatch,
    LicencePolicy,
    OptOut,
    Statement,
    file_licence,
    folder_licences,
    judge_licence,
    nearest_folder,
)
from derailleur.corpus.metadata import Metadata, RepositoryMetadata, licence_expressions
from derailleur.corpus.workspace import Task, Workspace
from derailleur.io import atomic_path

_MEMORY = "600MB"
_NOTHING = Metadata()


def collect_licences(task: Task) -> dict[str, Any]:
    """Gather what files of all shards say of their repositories, in the order of these."""
    workspace = task.workspace
    query = """
        SELECT repository, path, says, said_licences, similarity FROM read_parquet($files)
        WHERE says <> '' ORDER BY repository, path, source, origin
    """
    files = [str(path) for path in workspace.paths("read", workspace.num_shards, ".parquet")]
    with _database(workspace) as database, atomic_path(_collected(workspace)) as temporary:
        rows = database.sql(query, params={"files": files})
        # small row groups, so that a shard reads only those of its own repositories
        rows.write_parquet(str(temporary), compression="zstd", row_group_size=8192)
    return {}


def judge_shard(task: Task) -> dict[str, Any]:
    """Add to a shard's records what their repositories' files and tables say, and judge by it."""
    workspace = task.workspace
    records = read_records(workspace.path("read", task.number, ".parquet"))
    repositories = sorted({record.repository for record in records})
    said = _said(workspace, repositories)
    config = workspace.config
    table = config.repositories
    tables = {} if table is None else RepositoryMetadata(table).lookup(repositories)
    judge = _Judge(config.licences.load(), OptOut.load(config.opt_out), said, tables)
    for record in records:
        judge.judge(record)
    write_records(workspace.path("judge", task.number, ".parquet"), task.number, records)
    return {}


@dataclass
class _Repository:
    """What the files of one repository say of others.

    Attributes:
        files: path of each licence file -> what it says.
        declared: folder of each package description -> (its path, what it declares).
        beside: path of a file -> what a `.license` file beside it says.
    """

    files: dict[str, LicenceMatch | None]
    declared: dict[str, tuple[str, tuple[str, ...]]]
    beside: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str, Sequence[str], float]]) -> "_Repository":
        """From the rows (path, what kind of file says it, licences, similarity) in the order of the paths."""
        made = cls({}, {}, {})
        for path, says, licences, similarity in rows:
            match Says(says):
                case Says.LICENCE_FILE:
                    made.files[path] = LicenceMatch(licences[0], similarity) if licences else None
                case Says.DESCRIPTION:
                    made.declared.setdefault(path.rpartition("/")[0], (path, tuple(licences)))
                case Says.SIDE_FILE:
                    made.beside[path.removesuffix(".license")] = tuple(licences)
        return made


class _Judge:
    def __init__(
        self,
        policy: LicencePolicy,
        opt_out: OptOut,
        said: Mapping[str, _Repository],
        tables: Mapping[str, Metadata],
    ) -> None:
        self._policy = policy
        self._opt_out = opt_out
        self._said = said
        self._tables = tables
        self._folders: dict[str, dict[str, FolderLicence]] = {
            name: folder_licences(repository.files) for name, repository in said.items()
        }

    def judge(self, record: FileRecord) -> None:
        """Complete a record, and give it a verdict if something speaks against the file."""
        table = self._tables.get(record.repository, _NOTHING)
        if record.stars is None:
            record.stars = table.stars
        licence = file_licence(self._statements(record, table), self._policy.conflicts)
        record.licences = licence.licences
        record.licence_source = f"{licence.source}: {licence.detail}" if licence.detail else licence.source
        if record.verdict is None:
            record.verdict = self._opted_out(record.repository, table) or judge_licence(licence, self._policy)

    def _opted_out(self, repository: str, table: Metadata) -> Verdict | None:
        if table.opted_out:
            return Verdict("dropped", "opted_out", repository)
        return self._opt_out.judge(repository)

    def _statements(self, record: FileRecord, table: Metadata) -> list[Statement]:
        """Who says what of a file's licence, the most specific first."""
        statements = [Statement(record.header_licences, "header")]
        if said := self._said.get(record.repository):
            statements.insert(0, Statement(said.beside.get(record.path, ()), "header", "beside it"))
            folders = self._folders[record.repository]
            if (folder := nearest_folder(folders, record.path)) is not None:
                statements.append(Statement(folders[folder].licences, "file", folders[folder].source))
            if (folder := nearest_folder(said.declared, record.path)) is not None:
                path, licences = said.declared[folder]
                statements.append(Statement(licences, "declared", path))
        statements.append(Statement(licence_expressions(record.row_licences), "metadata", "its row"))
        statements.append(Statement(table.licences, "metadata", "table of repositories"))
        return statements


def _said(workspace: Workspace, repositories: Sequence[str]) -> dict[str, _Repository]:
    if not repositories:
        return {}
    query = """
        SELECT repository, path, says, said_licences, similarity FROM read_parquet($file)
        WHERE repository BETWEEN $first AND $last AND repository IN (SELECT unnest($names)) ORDER BY ALL
    """
    values = {
        "file": str(_collected(workspace)),
        "first": repositories[0],
        "last": repositories[-1],
        "names": list(repositories),
    }
    rows: dict[str, list[tuple[str, str, Sequence[str], float]]] = defaultdict(list)
    with _database(workspace) as database:
        for repository, *row in database.execute(query, values).fetchall():
            rows[repository].append(tuple(row))
    return {repository: _Repository.of(found) for repository, found in rows.items()}


def _collected(workspace: Workspace) -> Path:
    return workspace.path("licences", 0, ".parquet")


def _database(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={"memory_limit": _MEMORY, "threads": 1, "temp_directory": str(workspace.scratch / "duckdb")}
    )
