"""Sketch, join and resolve against the obvious walk in plain Python, however the documents are cut."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derailleur.corpus.arrays import map_arrays
from derailleur.corpus.near_dedup import (
    DROPPED,
    REASONS,
    NearDedupConfig,
    find_dropped,
    join_partition,
    num_partitions,
    read_dropped,
    resolve,
    sketch_shard,
)
from derailleur.corpus.near_dedup import memberships as memberships_module
from derailleur.corpus.spool import Ragged
from derailleur.errors import DataError

Outcome = dict[int, tuple[int, float, str]]
"""Of each dropped document: survivor, similarity, reason."""


def ragged(texts: list[str]) -> Ragged:
    encoded = [text.encode() for text in texts]
    return Ragged(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]))


def run(
    texts: list[str],
    config: NearDedupConfig,
    folder: Path,
    *,
    shards: list[list[int]] | None = None,
    total: int = 1,
) -> Outcome:
    """The three tasks.

    Args:
        texts: by rank.
        shards: the ranks in each shard, in the order in which it holds them.
        total: the number of partitions.
    """
    sketches, partitions = [], []
    for number, ranks in enumerate(shards or [list(range(len(texts)))]):
        sketches.append(folder / f"sketch-{number}")
        contents = ragged([texts[rank] for rank in ranks])
        sketch_shard(contents, np.array(ranks, np.int64), config, sketches[-1])
    for number in range(total):
        partitions.append(folder / f"partition-{number}")
        join_partition(number, sketches, partitions[-1], num_partitions=total)
    counts = resolve(sketches, partitions, len(texts), config, folder / "dropped")
    dropped = read_dropped(folder / "dropped")
    assert (np.diff(dropped["rank"]) > 0).all()
    by_reason = Counter(REASONS[reason] for reason in dropped["reason"])
    assert (counts.num_near_duplicates, counts.num_short) == (by_reason["near_duplicate"], by_reason["short"])
    return {
        rank: (survivor, similarity, REASONS[code]) for rank, survivor, similarity, code in dropped.tolist()
    }


def twin(texts: list[str], config: NearDedupConfig, folder: Path) -> Outcome:
    """Sets of word tuples, dictionaries and loops; only the band keys come from the sketches."""
    sets = [word_tuples(text, config) for text in texts]
    sketch_shard(ragged(texts), np.arange(len(texts)), config, folder / "twin")
    arrays = map_arrays(folder / "twin")
    keys: list[set[int]] = [set() for _ in texts]
    for key, row in zip(arrays["keys"].tolist(), arrays["rows"].tolist(), strict=True):
        keys[row].add(key)
    rule = {"verified": verified_twin, "extremes": extremes_twin, "components": components_twin}[config.rule]
    outcome = rule(sets, keys, config)
    if config.short_documents == "drop":
        outcome |= {rank: (-1, 0.0, "short") for rank, members in enumerate(sets) if not members}
    return outcome


def word_tuples(text: str, config: NearDedupConfig) -> set[tuple[str, ...]]:
    words = text.split()
    if len(words) < config.min_words:
        return set()
    size = config.shingle_words
    return {tuple(words[first : first + size]) for first in range(len(words) - size + 1)}


def similarity(left: set, right: set) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def walk_twin(sets: list[set], groups: list[set[int]], config: NearDedupConfig) -> Outcome:
    kept: list[int] = []
    outcome: Outcome = {}
    for rank, members in enumerate(sets):
        shared = {other: len(groups[rank] & groups[other]) for other in kept if groups[rank] & groups[other]}
        best = sorted(shared, key=lambda other: (-shared[other], other))[: config.max_candidates]
        for other in sorted(best):
            alike = similarity(members, sets[other])
            if alike >= config.threshold:
                outcome[rank] = (other, alike, "near_duplicate")
                break
        else:
            kept.append(rank)
    return outcome


def verified_twin(sets: list[set], keys: list[set[int]], config: NearDedupConfig) -> Outcome:
    return walk_twin(sets, keys, config)


def extremes_twin(sets: list[set], keys: list[set[int]], config: NearDedupConfig) -> Outcome:
    base_of: dict[int, int] = {}
    bases: set[int] = set()
    for rank in range(len(sets)):
        close = [other for other in range(rank) if keys[rank] & keys[other]]
        if close:
            base = next((other for other in close if other in bases), close[0])
            bases.add(base)
            base_of[rank] = base
            base_of[base] = base  # a base is in the cluster of its name, and in that alone
    return walk_twin(
        sets, [{base_of[rank]} if rank in base_of else set() for rank in range(len(sets))], config
    )


def components_twin(sets: list[set], keys: list[set[int]], config: NearDedupConfig) -> Outcome:
    leader = list(range(len(sets)))
    before = None
    while leader != before:
        before = list(leader)
        best: dict[int, int] = {}
        for rank, members in enumerate(keys):
            for key in members:
                best[key] = min(best.get(key, rank), leader[rank])
        leader = [min([leader[rank], *map(best.__getitem__, keys[rank])]) for rank in range(len(sets))]
    return {
        rank: (best, similarity(sets[rank], sets[best]), "near_duplicate")
        for rank, best in enumerate(leader)
        if best != rank
    }


TEXT = st.lists(st.sampled_from("abcdefgh"), max_size=14).map(" ".join)
RULES = [
    {"threshold": 0.5, "shingle_words": 1, "num_bands": 6, "rows_per_band": 2, "max_candidates": 3},
    {"profile": "santacoder-baseline", "threshold": 0.6, "num_bands": 6, "rows_per_band": 2, "min_words": 3},
    {"profile": "santacoder-alt", "shingle_words": 2, "num_bands": 4, "rows_per_band": 2, "min_words": 4},
]


@pytest.mark.parametrize("keys", RULES)
@settings(deadline=None, max_examples=25)
@given(texts=st.lists(TEXT, max_size=24), cut=st.randoms(use_true_random=False), power=st.integers(0, 5))
def test_any_cut_gives_the_walk_in_plain_python(
    tmp_path_factory: pytest.TempPathFactory,
    keys: dict[str, Any],
    texts: list[str],
    cut: random.Random,
    power: int,
) -> None:
    config = NearDedupConfig(**keys)
    folder = tmp_path_factory.mktemp("tasks")
    shards: list[list[int]] = [[] for _ in range(cut.randint(1, 4))]
    for rank in cut.sample(range(len(texts)), len(texts)):
        cut.choice(shards).append(rank)
    outcome = run(texts, config, folder, shards=shards, total=1 << power)
    assert outcome == twin(texts, config, folder)


def families(seed: int, count: int) -> list[str]:
    """Texts in families that differ in a few words, shuffled."""
    generator = random.Random(seed)
    texts = []
    for _ in range(count):
        base = [f"w{generator.randrange(400)}" for _ in range(generator.randint(5, 200))]
        for _ in range(generator.randint(1, 8)):
            texts.append(
                " ".join(w if generator.random() > 0.02 else f"x{generator.randrange(10**9)}" for w in base)
            )
    return generator.sample(texts, len(texts))


@pytest.mark.parametrize("profile", ["default", "santacoder-baseline", "santacoder-alt"])
def test_profiles_on_families_in_small_blocks(
    tmp_path: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = families(3, 60)
    config = NearDedupConfig(profile=profile)  # type: ignore[arg-type]
    expected = twin(texts, config, tmp_path)
    assert len(expected) > 50, "the corpus tests something"
    monkeypatch.setattr(memberships_module, "BLOCK_DOCUMENTS", 7)
    order = random.Random(0).sample(range(len(texts)), len(texts))
    shards = [order[:1], [], order[1:90], order[90:]]
    assert run(texts, config, tmp_path, shards=shards, total=8) == expected


def test_profiles_fill_the_keys_that_are_not_set() -> None:
    baseline = NearDedupConfig(profile="santacoder-baseline", threshold=0.9)
    assert (baseline.threshold, baseline.num_bands, baseline.rows_per_band) == (0.9, 13, 19)
    assert baseline.rule == "extremes"
    assert NearDedupConfig.model_validate(baseline.model_dump()) == baseline
    assert NearDedupConfig().num_bands == 42


def test_short_documents_are_kept_or_dropped(tmp_path: Path) -> None:
    nine, ten = " ".join("abcdefghi"), " ".join("abcdefghij")
    texts = [nine, ten, "", nine + " "]
    for profile, expected in (
        ("default", {3: (0, 1.0, "near_duplicate")}),
        ("santacoder-baseline", {}),
        ("santacoder-alt", {rank: (-1, 0.0, "short") for rank in (0, 2, 3)}),
    ):
        config = NearDedupConfig(profile=profile)  # type: ignore[arg-type]
        outcome = run(texts, config, tmp_path)
        assert {rank: row for rank, row in outcome.items() if rank != 1} == expected


def test_rows_without_a_rank_take_no_part(tmp_path: Path) -> None:
    long = " ".join(f"w{n}" for n in range(50))
    config = NearDedupConfig()
    sketch_shard(ragged([long, "a b", long, long + " x"]), np.array([-1, 1, 0, -1]), config, tmp_path / "s")
    assert map_arrays(tmp_path / "s")["ranks"].tolist() == [1, 0]
    join_partition(0, [tmp_path / "s"], tmp_path / "p", num_partitions=1)
    resolve([tmp_path / "s"], [tmp_path / "p"], 2, config, tmp_path / "d")
    assert len(read_dropped(tmp_path / "d")) == 0


def test_no_documents_and_one_document(tmp_path: Path) -> None:
    for profile in ("default", "santacoder-baseline", "santacoder-alt"):
        config = NearDedupConfig(profile=profile)  # type: ignore[arg-type]
        assert run([], config, tmp_path) == {}
        assert run([], config, tmp_path, shards=[[], []], total=2) == {}
        assert run([" ".join(map(str, range(20)))], config, tmp_path) == {}


def test_copies_by_the_thousand_and_a_megabyte_file(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(120)]
    texts = [" ".join([*words, f"year{number}"]) for number in range(20_000)]
    huge = " ".join(str(number) for number in range(150_000))
    texts += [huge, huge + " end", "0, 1, " * 160_000]
    for profile in ("default", "santacoder-baseline", "santacoder-alt"):
        config = NearDedupConfig(profile=profile)  # type: ignore[arg-type]
        shards = [list(range(0, len(texts), 2)), list(range(1, len(texts), 2))]
        outcome = run(texts, config, tmp_path, shards=shards, total=4)
        assert set(outcome) == {*range(1, 20_000), 20_001}
        assert {survivor for survivor, _, _ in outcome.values()} == {0, 20_000}


def test_partitions_hold_little_and_are_a_power_of_two() -> None:
    config = NearDedupConfig()
    assert num_partitions(0, config) == num_partitions(1, config) == num_partitions(60_000, config) == 1
    for documents in (10**5, 10**6, 5 * 10**8):
        total = num_partitions(documents, config)
        assert total.bit_count() == 1
        assert documents * 42 * 24 / total <= 64 << 20


def test_finding_the_dropped_of_a_shard() -> None:
    dropped = np.array([(2, 0, 0.9, 0), (5, 1, 0.8, 0)], DROPPED)
    assert find_dropped(dropped, np.array([5, 3, 2, 9])).tolist() == [1, -1, 0, -1]
    assert find_dropped(dropped[:0], np.array([5, 3])).tolist() == [-1, -1]


def test_a_file_that_is_not_whole_is_named(tmp_path: Path) -> None:
    config = NearDedupConfig()
    sketch_shard(ragged(["a b c d e f"]), np.array([0]), config, tmp_path / "sketch")
    whole = (tmp_path / "sketch").read_bytes()
    (tmp_path / "sketch").write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"sketch: not a whole file of arrays"):
        join_partition(0, [tmp_path / "sketch"], tmp_path / "p", num_partitions=1)
    with pytest.raises(DataError, match=r"missing: no such file"):
        join_partition(0, [tmp_path / "missing"], tmp_path / "p", num_partitions=1)
    assert not (tmp_path / "p").exists()
