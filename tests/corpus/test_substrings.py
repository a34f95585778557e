"""Repeated passages against the definition: every run of bytes looked up in every other document."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from derailleur.corpus.arrays import map_arrays
from derailleur.corpus.spool import Ragged
from derailleur.corpus.substrings import (
    TOP_PASSAGES,
    Labels,
    SubstringConfig,
    find_passages,
    fingerprint_shard,
    join_fingerprints,
    num_partitions,
    summarise,
)
from derailleur.corpus.substrings.fingerprints import roll, winnow
from derailleur.corpus.substrings.passages import extent

CONFIG = SubstringConfig(min_bytes=8, window=4)
MASK = 2**64 - 1


def ragged(contents: Sequence[bytes]) -> Ragged:
    offsets = np.cumsum([0, *map(len, contents)])
    return Ragged(np.frombuffer(b"".join(contents), np.uint8), offsets)


def report(
    contents: Sequence[bytes],
    folder: Path,
    *,
    config: SubstringConfig = CONFIG,
    cuts: Sequence[int] = (),
    partitions: int = 1,
    kept: Sequence[bool] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Run all tasks; returns counts and the rows of passages, documents and top passages."""
    folder.mkdir(parents=True, exist_ok=True)
    firsts = sorted({0, *cuts, len(contents)})
    is_kept = np.array(kept or [True] * len(contents))
    shards = [ragged(contents[a:b]) for a, b in pairwise(firsts)]
    masks = [is_kept[a:b] for a, b in pairwise(firsts)]
    fingerprints = [folder / f"fingerprints-{number}" for number in range(len(shards))]
    for texts, mask, first, path in zip(shards, masks, firsts, fingerprints, strict=False):
        fingerprint_shard(texts, mask, first, config, path)
    joined = [folder / f"join-{number}" for number in range(partitions)]
    for number, path in enumerate(joined):
        join_fingerprints(number, fingerprints, path, num_partitions=partitions)
    passages = [folder / f"passages-{number}.parquet" for number in range(len(shards))]
    documents = [folder / f"documents-{number}.parquet" for number in range(len(shards))]
    for shard, (first, mask) in enumerate(zip(firsts, masks, strict=False)):
        rows = range(first, first + len(mask))
        labels = Labels(
            ["o/r"] * len(mask),
            [f"{row}.py" for row in rows],
            ["Python" if row % 2 else "Java" for row in rows],
        )
        find_passages(
            shard, shards, mask, labels, joined, config, passages=passages[shard], documents=documents[shard]
        )
    counts = summarise(passages, documents, config, folder / TOP_PASSAGES)
    return counts, read(*passages), read(*documents), read(folder / TOP_PASSAGES)


def read(*paths: Path) -> list[dict[str, Any]]:
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def runs_elsewhere(contents: Sequence[bytes], document: int, size: int) -> list[range]:
    """The runs of bytes every `size` of which, one after another, stand in another document."""
    text = contents[document]
    others = [content for number, content in enumerate(contents) if number != document]
    starts = [
        start
        for start in range(len(text) - size + 1)
        if any(text[start : start + size] in other for other in others)
    ]
    return [range(start, start + size) for start in starts]


def covered(rows: Sequence[dict[str, Any]], document: int) -> set[int]:
    own = [row for row in rows if row["document"] == document]
    return {byte for row in own for byte in range(row["start"], row["stop"])}


def union(runs: Sequence[range]) -> set[int]:
    return {byte for run in runs for byte in run}


pieces = st.sampled_from([b"abcdefghijklmnop", b"0123456789ABCDEFGHIJ", b"\n" * 20, b"x", b"yz", b"()"])
texts = st.lists(st.lists(pieces, max_size=6).map(b"".join), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(texts)
def test_what_is_found_is_repeated_and_what_is_long_is_found(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    counts, passages, documents, _ = report(contents, tmp_path_factory.mktemp("report"))
    guarantee = CONFIG.min_bytes + CONFIG.window - 1
    for number, row in enumerate(documents):
        found = covered(passages, number)
        assert found <= union(runs_elsewhere(contents, number, CONFIG.min_bytes))
        for run in runs_elsewhere(contents, number, guarantee):
            assert len(found & set(run)) >= CONFIG.min_bytes
        assert row["repeated_bytes"] == len(found)
        assert row["later_bytes"] <= row["repeated_bytes"]
    assert counts["bytes"] == sum(map(len, contents))
    assert counts["repeated_bytes"] == sum(row["repeated_bytes"] for row in documents)


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=60),
    st.lists(st.integers(0, 255), unique=True, min_size=11, max_size=80).map(bytes),
    st.binary(max_size=60),
    st.binary(max_size=9),
)
def test_a_passage_of_two_documents_is_found_to_its_last_byte(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, passage: bytes, after: bytes, other: bytes
) -> None:
    contents = [before + passage + after, other + passage]
    _, passages, _, _ = report(contents, tmp_path_factory.mktemp("report"))
    found = covered(passages, 1)
    assert set(range(len(other), len(contents[1]))) <= found
    assert found <= union(runs_elsewhere(contents, 1, CONFIG.min_bytes))


@settings(max_examples=15, deadline=None)
@given(texts, st.lists(st.integers(0, 6), max_size=3), st.sampled_from([1, 2, 8]))
def test_the_cut_into_shards_and_ranges_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], cuts: list[int], partitions: int
) -> None:
    whole = report(contents, tmp_path_factory.mktemp("whole"))
    cuts = [cut for cut in cuts if cut < len(contents)]
    assert report(contents, tmp_path_factory.mktemp("cut"), cuts=cuts, partitions=partitions) == whole


def test_top_passages_with_their_places(tmp_path: Path) -> None:
    licence, helper = bytes(range(33, 93)), bytes(range(100, 140))
    contents = [licence + b"one", b"two " + licence, b"...." + helper, licence + b"!" + helper, b"alone" * 3]
    counts, _, documents, top = report(contents, tmp_path)
    assert [(row["num_documents"], row["num_bytes"]) for row in top] == [(3, 60), (2, 40)]
    assert top[0]["places"] == [
        {"file": "o/r/0.py", "start": 0},
        {"file": "o/r/1.py", "start": 4},
        {"file": "o/r/3.py", "start": 0},
    ]
    assert top[1]["places"] == [{"file": "o/r/2.py", "start": 4}, {"file": "o/r/3.py", "start": 61}]
    assert report(contents, tmp_path, config=CONFIG.model_copy(update={"num_top": 1}))[3] == top[:1]
    assert [row["repeated_bytes"] for row in documents] == [60, 60, 40, 100, 0]
    assert [row["later_bytes"] for row in documents] == [0, 60, 0, 100, 0]
    assert counts == {
        "documents": 5,
        "bytes": sum(map(len, contents)),
        "repeated_bytes": 260,
        "later_bytes": 160,
        "by_language": {
            "Java": {"documents": 3, "bytes": 122, "repeated_bytes": 100, "later_bytes": 0},
            "Python": {"documents": 2, "bytes": 165, "repeated_bytes": 160, "later_bytes": 160},
        },
    }


def test_documents_that_were_not_kept_do_not_count(tmp_path: Path) -> None:
    passage = bytes(range(33, 93))
    counts, passages, documents, top = report([passage, b" " + passage], tmp_path, kept=[True, False])
    assert (passages, top) == ([], [])
    assert [row["document"] for row in documents] == [0]
    assert counts["repeated_bytes"] == 0


def test_an_empty_corpus(tmp_path: Path) -> None:
    counts, *rows = report([b""], tmp_path, kept=[False])
    assert counts == {"documents": 0, "bytes": 0, "repeated_bytes": 0, "later_bytes": 0, "by_language": {}}
    assert rows == [[], [], []]


def hashes_of(data: bytes, size: int) -> NDArray[np.uint64]:
    hashes = np.empty(max(len(data) - size + 1, 0), np.uint64)
    roll(np.frombuffer(data, np.uint8), size, hashes)
    return hashes


def mix_twin(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def winnow_twin(hashes: list[int], window: int) -> list[int]:
    """Robust winnowing as the paper has it, window by window."""
    window = min(window, len(hashes))
    selected: list[int] = []
    for first in range(len(hashes) - window + 1 if hashes else 0):
        least = min(hashes[first : first + window])
        if selected and selected[-1] >= first and hashes[selected[-1]] == least:
            continue
        selected.append(max(i for i in range(first, first + window) if hashes[i] == least))
    return selected


@settings(deadline=None)
@given(
    st.binary(max_size=200) | st.text("ab", max_size=200).map(str.encode),
    st.integers(8, 20),
    st.integers(1, 20),
)
def test_winnowing_against_plain_python(data: bytes, size: int, window: int) -> None:
    expected = []
    for start in range(len(data) - size + 1):
        value = 0
        for byte in data[start : start + size]:
            value = (value * 0x9E3779B97F4A7C15 + byte + 1) & MASK
        expected.append(mix_twin(value))
    assert hashes_of(data, size).tolist() == expected
    keys, positions = winnow(np.frombuffer(data, np.uint8), size, window)
    assert positions.tolist() == winnow_twin(expected, window)
    assert keys.tolist() == [expected[position] for position in positions]


def test_equal_hashes_of_unequal_bytes_are_no_passage() -> None:
    left, right = np.frombuffer(b"abcdef", np.uint8), np.frombuffer(b"abXdef", np.uint8)
    assert extent(left, 1, right, 1, 3, 10) == (-1, -1)
    assert extent(left, 3, right, 3, 2, 10) == (0, 1)
    assert extent(left, 4, left, 4, 1, 2) == (2, 1)


def test_ranges_grow_with_the_text() -> None:
    assert num_partitions(0, SubstringConfig()) == 1
    assert num_partitions(20 << 30, SubstringConfig()) == 2048


def test_ranges_of_fingerprints_are_alike_full(tmp_path: Path) -> None:
    text = np.random.default_rng(0).integers(0, 256, 200_000).astype(np.uint8)
    contents = Ragged(text, np.array([0, len(text)]))
    fingerprint_shard(contents, np.ones(1, bool), 0, SubstringConfig(window=256), tmp_path / "f")
    quarters = np.bincount((map_arrays(tmp_path / "f")["keys"] >> np.uint64(62)).astype(int), minlength=4)
    assert quarters.min() > 0.8 * quarters.mean()
