"""Task `read`: the files of a shard -> their texts, and a record of each with what its own bytes say."""

import hashlib
from typing import Any

import numpy as np

from derailleur.corpus.decoding import Text, decode
from derailleur.corpus.languages import DEFAULT_LANGUAGES, kind_of, language_of
from derailleur.corpus.ledger import FileRecord, Says, Verdict, write_records
from derailleur.corpus.licences import (
    declared_licences,
    header_licences,
    is_description,
    is_licence_file,
    match_licence,
    side_file_licences,
)
from derailleur.corpus.recognition import recognise
from derailleur.corpus.sources import HELDOUT, TRAIN, Entry, Unit, is_heldout, read_unit
from derailleur.corpus.spool import Spool
from derailleur.corpus.workspace import CurateConfig, Task


def read_shard(task: Task) -> dict[str, Any]:
    """Read a shard. Its texts are spooled to disk as they come; only the records stay in memory."""
    workspace = task.workspace
    records = []
    with Spool(workspace.path("texts", task.number), np.uint8) as texts:
        for unit in workspace.units(task.number):
            for entry in read_unit(unit, workspace.config):
                record, text = _examine(entry, unit, workspace.config)
                if text is not None:
                    record.text = len(texts)
                    texts.append(text.data)
                records.append(record)
        num_texts = len(texts.finish(keep_offsets=True))
    write_records(workspace.path("read", task.number, ".parquet"), task.number, records)
    return {"files": len(records), "texts": num_texts}


def _examine(entry: Entry, unit: Unit, config: CurateConfig) -> tuple[FileRecord, Text | None]:
    """What a file's own bytes say of it, and its text if that may be wanted."""
    heldout = is_heldout(entry.path, fraction=config.heldout_fraction, salt=config.heldout_salt)
    record = FileRecord(
        repository=entry.repository,
        path=entry.path,
        num_bytes=entry.num_bytes,
        source=unit.source,
        origin=entry.origin,
        revision=entry.revision,
        split=HELDOUT if heldout else TRAIN,
        language=entry.language,
        stars=entry.stars,
        row_licences=entry.licences,
        verdict=entry.verdict,
    )
    if entry.data is None:
        return record, None
    record.sha256 = hashlib.sha256(entry.data).digest()
    text = decode(entry.data, path=entry.path, config=config.encodings)
    readable = text.data if isinstance(text, Text) else entry.data
    _listen(record, readable)
    record.language = language_of(entry.path, readable) or entry.language
    record.verdict = _unwanted(record.language, config)
    if record.verdict is not None:
        return record, None
    if isinstance(text, Verdict):
        record.verdict = text
        return record, None
    record.encoding = text.encoding
    record.header_licences = header_licences(text.data)
    record.verdict = recognise(entry.path, text.data, record.language, config.recognition)
    return record, text if record.verdict is None else None


def _listen(record: FileRecord, data: bytes) -> None:
    """Note what a file says of the licence of others."""
    if is_licence_file(record.path):
        record.says = Says.LICENCE_FILE
        if found := match_licence(data):
            record.said_licences, record.similarity = (found.spdx,), found.similarity
    elif is_description(record.path):
        record.says, record.said_licences = Says.DESCRIPTION, declared_licences(record.path, data)
    elif record.path.endswith(".license"):
        record.says, record.said_licences = Says.SIDE_FILE, side_file_licences(data)


def _unwanted(language: str | None, config: CurateConfig) -> Verdict | None:
    if language is None:
        return Verdict("dropped", "unknown_language")
    if language in (config.languages or DEFAULT_LANGUAGES):
        return None
    if not config.languages and kind_of(language) in ("data", "prose"):
        return Verdict("dropped", "data_language", language)
    return Verdict("dropped", "other_language", language)
