"""The `curate` stage: source folders -> Parquet documents, with a ledger row for every file seen.

find -> read and decode -> exact dedup -> near-dedup -> redact -> basic filters -> write. Files are walked
in the order of their rank from start to end, so that "the first one" and "the best one" are the same.
"""

import contextlib
import json
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pydantic import Field

from derailleur.corpus.documents import SHARDS, Document, write_documents
from derailleur.corpus.filters import FilterConfig, basic_filter
from derailleur.corpus.ledger import KEPT, LEDGER, Ledger, Verdict
from derailleur.corpus.near_dedup import NearDedupConfig, NearDuplicates, near_duplicates
from derailleur.corpus.parallel import available_threads, ordered_map
from derailleur.corpus.pii import TAGS, PiiConfig, Redaction, redact
from derailleur.corpus.reading import read_file
from derailleur.corpus.sources import HELDOUT, TRAIN, SourceConfig, SourceFile, find_files, resolve_sources
from derailleur.corpus.spool import Ragged, Spool
from derailleur.io import Progress, atomic_path, silent

VERSION = 1

REDACTIONS = "redactions.jsonl"

_SCRATCH = ".scratch"


class CurateConfig(SourceConfig):
    """Everything that decides which files become documents, and how they look."""

    near_dedup: NearDedupConfig = NearDedupConfig()
    pii: PiiConfig = PiiConfig()
    filters: FilterConfig = FilterConfig()
    shard_bytes: int = Field(256 << 20, ge=1, description="content of one Parquet file, bytes")
    row_group_bytes: int = Field(32 << 20, ge=1, description="content of one row group, bytes")


def curate(
    config: CurateConfig,
    sources: Sequence[Path],
    out: Path,
    *,
    progress: Progress = silent,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Turn source folders into training documents in `out`.

    The result depends on the configuration and the files alone, not on the order of the sources or the
    number of threads. What a killed call left behind is cleared, and the work is done anew.

    Args:
        sources: folders, or `python-stdlib`.
        num_threads: None takes the cores that this process may use.

    Returns:
        Counts for the manifest.

    Raises:
        DataError: if a source is missing or there are no files.
    """
    num_threads = num_threads or available_threads()
    files = find_files(config, resolve_sources(sources, out=out))
    ledger = Ledger(files)
    tally = _Tally()
    with _scratch_folder(out) as scratch:
        texts = _distinct_texts(config, files, ledger, scratch, num_threads=num_threads, progress=progress)
        near = near_duplicates(
            texts.contents, config.near_dedup, scratch, num_threads=num_threads, progress=progress
        )
        with atomic_path(out / REDACTIONS) as temporary, temporary.open("w", encoding="utf-8") as stream:
            documents = _documents(config, files, texts, near, ledger, progress)
            num_shards = write_documents(
                tally.follow(documents, stream),
                out,
                shard_bytes=config.shard_bytes,
                row_group_bytes=config.row_group_bytes,
            )
    ledger.write(out / LEDGER)
    return _results(files, ledger, tally, near) | {"shards": num_shards}


@dataclass(frozen=True)
class _Texts:
    """The texts left after exact dedup, in rank order.

    Attributes:
        files: which file each text is.
        ids: SHA-256 of each raw file, 32 bytes.
        contents: UTF-8, memory-mapped.
    """

    files: Sequence[int]
    ids: Sequence[bytes]
    contents: Ragged


def _distinct_texts(
    config: CurateConfig,
    files: Sequence[SourceFile],
    ledger: Ledger,
    scratch: Path,
    *,
    num_threads: int,
    progress: Progress,
) -> _Texts:
    """Read what may be read; records every file that is no text or has been seen before."""
    first_of: dict[bytes, int] = {}  # insertion order is rank order
    with Spool(scratch / "contents", np.uint8) as spool:
        outcomes = ordered_map(
            lambda file: file.verdict or read_file(file, max_bytes=config.max_file_bytes),
            files,
            num_threads=num_threads,
        )
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Verdict):
                ledger.record(index, outcome)
            elif (first := first_of.setdefault(outcome.sha256, index)) != index:
                ledger.record(index, Verdict("dropped", "exact_duplicate", _name(files[first])))
            else:
                spool.append(outcome.data)
            progress("read", index + 1, len(files))
        return _Texts(array("q", first_of.values()), list(first_of), spool.finish())


def _documents(
    config: CurateConfig,
    files: Sequence[SourceFile],
    texts: _Texts,
    near: NearDuplicates,
    ledger: Ledger,
    progress: Progress,
) -> Iterator[tuple[Document, list[Redaction]]]:
    """Redact and filter what is no near-duplicate; records every text's verdict."""
    for index, (number, sha256) in enumerate(zip(texts.files, texts.ids, strict=True)):
        progress("redact and write", index + 1, len(texts.files))
        file = files[number]
        if not near.is_kept(index):
            survivor = files[texts.files[near.survivors[index]]]
            ledger.record(number, _near_duplicate(file, survivor, near.similarities[index]))
            continue
        content, redactions = redact(texts.contents[index].tobytes(), config.pii, repository=file.repository)
        verdict = basic_filter(content, config.filters) or KEPT
        ledger.record(number, verdict)
        if verdict is KEPT:
            assert file.language is not None, "find_files gives files of no known language a verdict"
            document = Document(sha256.hex(), file.repository, file.path, file.language, file.split, content)
            yield document, redactions


def _near_duplicate(file: SourceFile, survivor: SourceFile, similarity: float) -> Verdict:
    leaked = file.split == TRAIN and survivor.split == HELDOUT
    reason = "near_duplicate_of_heldout" if leaked else "near_duplicate"
    return Verdict("dropped", reason, f"{_name(survivor)} ({similarity:.3f})")


def _name(file: SourceFile) -> str:
    return f"{file.repository}/{file.path}"


@dataclass
class _Tally:
    """Counts what is written, and logs its redactions on the way."""

    files: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    pii: Counter[str] = field(default_factory=Counter)

    def follow(
        self, documents: Iterator[tuple[Document, list[Redaction]]], stream: TextIO
    ) -> Iterator[Document]:
        """Pass the documents on; one line a redaction goes to `stream`."""
        for document, redactions in documents:
            self.files[document.split] += 1
            self.num_bytes[document.split] += len(document.content)
            self.languages[document.language] += 1
            for redaction in redactions:
                self.pii[redaction.span.tag] += 1
                where = {"repository": document.repository, "path": document.path}
                stream.write(json.dumps(where | redaction.as_json(), ensure_ascii=False) + "\n")
            yield document


def _results(
    files: Sequence[SourceFile], ledger: Ledger, tally: _Tally, near: NearDuplicates
) -> dict[str, Any]:
    dropped, quarantined = ledger.reasons("dropped"), ledger.reasons("quarantined")
    kept = tally.files.total()
    assert len(files) == kept + sum(dropped.values()) + sum(quarantined.values()), (
        "the ledger does not add up"
    )
    return {
        "files_seen": len(files),
        "bytes_seen": sum(file.num_bytes for file in files),
        "kept": kept,
        "dropped": dropped,
        "quarantined": quarantined,
        "bytes_kept": tally.num_bytes.total(),
        "splits": {
            split: {"files": tally.files[split], "bytes": tally.num_bytes[split]}
            for split in (TRAIN, HELDOUT)
        },
        "languages": dict(sorted(tally.languages.items(), key=lambda item: (-item[1], item[0]))),
        "pii": {tag: tally.pii[tag] for tag in TAGS},
        "near_dedup": {
            "candidates": near.num_candidates,
            "verified": near.num_verified,
            "capped_documents": near.num_capped,
        },
    }


@contextlib.contextmanager
def _scratch_folder(out: Path) -> Iterator[Path]:
    """A folder for temporary files inside `out`, after an earlier call's remains are cleared."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob(SHARDS), *out.glob(".*.tmp-*")):
        old.unlink()
    scratch = out / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)
