import hashlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derailleur.corpus.ledger import FileRecord, Verdict, write_records
from derailleur.corpus.ranking import NO_RANK, rank_texts, read_names, read_ranks

FILES = st.tuples(
    st.sampled_from(["heldout", "train"]),
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from(["a", "B", "é/x", "b"]),
    st.text("xyz/", min_size=1, max_size=3),
    st.sampled_from([b"1", b"2", b"3", b"4", b"5"]),
    st.sampled_from(["text", "dropped", "unread"]),
)


def record(file: tuple, number: int) -> FileRecord:
    split, stars, repository, path, content, state = file
    return FileRecord(
        repository=repository,
        path=path,
        num_bytes=1,
        source="s",
        origin=str(number),
        split=split,
        stars=stars,
        sha256=hashlib.sha256(content).digest(),
        text=None if state == "unread" else 0,
        verdict=Verdict("dropped", "no_licence") if state == "dropped" else None,
    )


def ranked(files: list, shards: int, folder: Path) -> list[tuple[str, str | None]]:
    """Every file's own rank, or whose copy it is, by name and origin, whatever the cut into shards."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [record(file, number) for number, file in enumerate(files)]
    cut = [records[shard::shards] for shard in range(shards)]
    for shard, part in enumerate(cut):
        count = 0
        for one in part:
            if one.text is not None:
                one.text, count = count, count + 1
        write_records(folder / f"{shard}.parquet", shard, part)
    sizes = [sum(one.text is not None for one in part) for part in cut]
    places = [folder / f"{shard}.npy" for shard in range(shards)]
    count = rank_texts(
        [folder / f"{shard}.parquet" for shard in range(shards)], sizes, places, folder / "names"
    )
    names = read_names(folder / "names")
    found = []
    for shard, part in enumerate(cut):
        ranks = read_ranks(places[shard])
        for one in part:
            if one.text is None:
                continue
            own, first = int(ranks.own[one.text]), int(ranks.first[one.text])
            assert own in (NO_RANK, first)
            assert first < count
            if own != NO_RANK:
                assert names[own] == (one.name, one.split == "heldout")
            found.append((one.origin, own, first))
    return sorted(found)


def slow_twin(files: list) -> list[tuple[str, int, int]]:
    records = [record(file, number) for number, file in enumerate(files)]
    alive = [one for one in records if one.text is not None and one.verdict is None]
    alive.sort(
        key=lambda one: (
            one.split != "heldout",
            -(one.stars or 0),
            one.repository.encode(),
            one.path.encode(),
            one.sha256,
            one.origin,
        )
    )
    first: dict[bytes, int] = {}
    places = {}
    for one in alive:
        own = NO_RANK if one.sha256 in first else len(first)
        first.setdefault(one.sha256, len(first))
        places[one.origin] = (one.origin, own, first[one.sha256])
    ruled_out = [
        (one.origin, NO_RANK, NO_RANK) for one in records if one.text is not None and one.verdict is not None
    ]
    return sorted([*places.values(), *ruled_out])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(FILES, max_size=25), shards=st.integers(1, 4))
def test_ranks_are_those_of_a_sort_for_every_cut(files: list, shards: int, tmp_path: Path) -> None:
    assert ranked(files, shards, tmp_path) == slow_twin(files)
