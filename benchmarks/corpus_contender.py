"""One run of one contender in a process, and an environment, of its own.

    PYTHON_OF_THE_CONTENDER benchmarks/corpus_contender.py NAME INPUT SCRATCH

INPUT is a folder of Parquet files (id, content) for near-dedup, a file of paths for PII. The last line of
the output is one JSON object: the version, CPU-seconds until all is imported (and, ours, compiled), then
CPU-seconds (user and system, children too) and seconds of the work itself, reading included, and its result.
"""

import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

THRESHOLD, SHINGLE_WORDS, NUM_PERMUTATIONS, NUM_BANDS, ROWS_PER_BAND = 0.7, 5, 256, 25, 10
BATCH = 500

# BigCode's run for The Stack: key formats and entropies, and filters on the value alone
BIGCODE_PLUGINS = (
    *("ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "CloudantDetector"),
    *("DiscordBotTokenDetector", "GitHubTokenDetector", "IbmCloudIamDetector", "IbmCosHmacDetector"),
    *("JwtTokenDetector", "MailchimpDetector", "NpmDetector", "SendGridDetector", "SlackDetector"),
    *("SquareOAuthDetector", "StripeDetector", "TwilioKeyDetector"),
)
BIGCODE_FILTERS = ("is_potential_uuid", "is_likely_id_string", "is_templated_secret", "is_sequential_string")

Prepared = tuple[str, Callable[[Path, Path], Any]]


def main() -> None:
    name, data, scratch = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the contender prints is no answer
    distribution, work = CONTENDERS[name]()
    prepared = cpu_seconds()
    begin = time.perf_counter()
    result = work(Path(data), Path(scratch))
    answer = {
        "version": f"{distribution} {version(distribution)}",
        "import_seconds": prepared,
        "cpu_seconds": cpu_seconds() - prepared,
        "wall_seconds": time.perf_counter() - begin,
        "result": result,
    }
    print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # some peers' libraries crash now and then while the interpreter goes down


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def rows(path: Path) -> Iterable[tuple[str, str]]:
    """Id and text of every row."""
    for batch in batches(path):
        yield from zip(batch["id"].to_pylist(), batch["content"].to_pylist(), strict=True)


def batches(folder: Path) -> Iterable[Any]:
    """Record batches of all rows."""
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(BATCH)


def shingles(text: str) -> set[str]:
    """The five-word shingles that BigCode's scripts take, as strings."""
    words = [word for word in re.split("[^A-Za-z_0-9]", text) if word]
    return {" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def derailleur() -> Prepared:
    """Our near-dedup with its default rule: candidates verified, exact duplicates first."""
    import tempfile

    import numpy as np

    from derailleur.corpus.near_dedup import NearDedupConfig, near_duplicates
    from derailleur.corpus.spool import Ragged, Spool

    def deduplicate(contents: Iterable[bytes], scratch: Path) -> list[int]:
        with Spool(scratch / "contents", np.uint8) as spool:
            positions: dict[bytes, int] = {}
            for position, content in enumerate(contents):
                if positions.setdefault(hashlib.sha256(content).digest(), position) == position:
                    spool.append(content)
            texts: Ragged = spool.finish()
        near = near_duplicates(texts, NearDedupConfig(), scratch)
        return [place for index, place in enumerate(positions.values()) if near.is_kept(index)]

    def work(data: Path, scratch: Path) -> list[str]:
        ids: list[str] = []

        def contents() -> Iterable[bytes]:
            for batch in batches(data):
                ids.extend(batch["id"].to_pylist())
                yield from (memoryview(content.as_buffer()) for content in batch["content"])

        return [ids[place] for place in deduplicate(contents(), scratch)]

    with tempfile.TemporaryDirectory() as folder:  # compiles
        deduplicate([b"some words that are just enough to compare " * 2] * 2, Path(folder))
    return "derailleur", work


def datatrove() -> Prepared:
    """Its four steps with their defaults, 14 x 8 and an English word tokenizer; one worker, eight tasks."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    load_word_tokenizer("en").word_tokenize("imports what is imported late")

    def work(data: Path, scratch: Path) -> list[str]:
        config = MinhashConfig()
        folder = {name: str(scratch / name) for name in ("signatures", "buckets", "removed", "kept")}
        reader = ParquetReader(str(data), text_key="content")
        steps = [
            ([reader, MinhashDedupSignature(folder["signatures"], config)], 8),
            (
                [MinhashDedupBuckets(folder["signatures"], folder["buckets"], config=config)],
                config.num_buckets,
            ),
            ([MinhashDedupCluster(folder["buckets"], folder["removed"], config=config)], 1),
            (
                [
                    reader,
                    MinhashDedupFilter(folder["removed"]),
                    JsonlWriter(folder["kept"], compression=None),
                ],
                8,
            ),
        ]
        for number, (pipeline, tasks) in enumerate(steps):
            logs = str(scratch / f"logs-{number}")
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()
        files = sorted(Path(folder["kept"]).glob("*.jsonl"))
        return [json.loads(line)["id"] for file in files for line in file.open()]

    return "datatrove", work


def text_dedup() -> Prepared:
    """Its command with the defaults: 256 permutations, SHA-1, connected components; one process."""
    from datasets import load_from_disk
    from text_dedup.minhash import main as command

    def work(data: Path, scratch: Path) -> list[str]:
        arguments = {
            "--path": "parquet",
            "--data_files": str(data / "*.parquet"),
            "--split": "train",
            "--cache_dir": str(scratch / "cache"),
            "--output": str(scratch / "kept"),
            "--column": "content",
            "--threshold": str(THRESHOLD),
            "--ngram": str(SHINGLE_WORDS),
            "--num_perm": str(NUM_PERMUTATIONS),
            "--num_proc": "1",
        }
        command([word for pair in arguments.items() for word in pair], standalone_mode=False)
        return list(load_from_disk(str(scratch / "kept"))["id"])

    return "text-dedup", work


def datasketch() -> Prepared:
    """MinHash and an index of 25 x 10: what collides with a kept document is dropped, unverified."""
    import pyarrow.parquet  # noqa: F401  before the clock starts
    from datasketch import MinHash, MinHashLSH

    def work(data: Path, scratch: Path) -> list[str]:
        index = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=(NUM_BANDS, ROWS_PER_BAND))
        kept = []
        for key, text in rows(data):
            sketch = MinHash(num_perm=NUM_PERMUTATIONS)
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])
            if not index.query(sketch):
                index.insert(key, sketch)
                kept.append(key)
        return kept

    return "datasketch", work


def rensa() -> Prepared:
    """Its deduplicator over an index, which estimates similarities by whole signatures; batches of 500."""
    import pyarrow.parquet  # noqa: F401  before the clock starts
    from rensa import RMinHashDeduplicator

    def work(data: Path, scratch: Path) -> list[str]:
        index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=NUM_PERMUTATIONS, use_lsh=True)
        kept, batch = [], []

        def flush() -> None:
            kept.extend(key for (key, _), new in zip(batch, index.add_pairs(batch), strict=True) if new)
            batch.clear()

        for key, text in rows(data):
            batch.append((key, list(shingles(text))))
            if len(batch) == BATCH:
                flush()
        flush()
        return kept

    return "rensa", work


def derailleur_pii() -> Prepared:
    """Our scan with every detector, of the content as bytes."""
    from derailleur.corpus.pii import scan

    scan(b"ada@example.com 8.8.8.8 AKIA" + b"ABCDEFGHIJKLMNOP")  # compiles

    def work(data: Path, scratch: Path) -> int:
        return sum(len(scan(Path(path).read_bytes())) for path in data.read_text().splitlines())

    return "derailleur", work


def detect_secrets() -> Prepared:
    """The default settings: 27 plugins, 12 filters."""
    from detect_secrets.settings import default_settings

    return _detect_secrets(default_settings)


def detect_secrets_bigcode() -> Prepared:
    """The settings of BigCode: 16 key formats, entropies of 4.5 and 3.0, 4 filters."""
    from detect_secrets.settings import transient_settings

    plugins = [{"name": name} for name in BIGCODE_PLUGINS]
    plugins += [
        {"name": "Base64HighEntropyString", "limit": 4.5},
        {"name": "HexHighEntropyString", "limit": 3.0},
    ]
    filters = [{"path": f"detect_secrets.filters.heuristic.{name}"} for name in BIGCODE_FILTERS]
    settings = {"plugins_used": plugins, "filters_used": filters}
    return _detect_secrets(lambda: transient_settings(settings))


def _detect_secrets(settings: Callable[[], Any]) -> Prepared:
    from detect_secrets import SecretsCollection

    def work(data: Path, scratch: Path) -> int:
        secrets = SecretsCollection()
        with settings():
            for path in data.read_text().splitlines():
                secrets.scan_file(path)
        return sum(1 for _ in secrets)

    return "detect-secrets", work


CONTENDERS: dict[str, Callable[[], Prepared]] = {
    "derailleur": derailleur,
    "datatrove": datatrove,
    "text-dedup": text_dedup,
    "datasketch": datasketch,
    "rensa": rensa,
    "derailleur pii": derailleur_pii,
    "detect-secrets": detect_secrets,
    "detect-secrets, BigCode": detect_secrets_bigcode,
}


if __name__ == "__main__":
    main()
