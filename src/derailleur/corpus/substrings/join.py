"""The second task: the fingerprints that two or more documents share, one range of them at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derailleur.compiled import compiled
from derailleur.corpus.arrays import map_arrays, write_arrays
from derailleur.corpus.key_ranges import key_range, num_ranges, sort_pairs
from derailleur.corpus.substrings.config import SubstringConfig

_PARTITION_BYTES = 128 << 20
# A key and a place, as they are gathered and sorted, then four numbers of each that is shared.
_FINGERPRINT_BYTES = 72


def num_partitions(num_bytes: int, config: SubstringConfig) -> int:
    """How many ranges to part the fingerprints of so much text into, a power of two; each takes 128 MB."""
    expected = 2 * num_bytes // (config.window + 1)  # section 3.2 of the paper
    return num_ranges(expected * _FINGERPRINT_BYTES, _PARTITION_BYTES)


def join_fingerprints(
    partition: int, fingerprints: Sequence[Path], out: Path, *, num_partitions: int
) -> None:
    """Find who shares the fingerprints of one range.

    Args:
        partition: which range, from 0.
        fingerprints: what `fingerprint_shard` wrote for every shard, in their order.
        out: the file to write, of these arrays, by place: `places` uint64, ascending; `partners` uint64,
            the first place of the same fingerprint in another document; `is_first` uint8, whether
            there is no earlier one; and `num_documents` uint32.
    """
    keys, places = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for path in fingerprints:
        shard = map_arrays(path)
        mine = key_range(shard["keys"], partition, num_ranges=num_partitions)
        keys.append(shard["keys"][mine])
        places.append(shard["places"][mine])
    sorted_keys, sorted_places = sort_pairs(
        np.concatenate(keys), np.concatenate(places), num_partitions.bit_length() - 1
    )
    shared, partners, is_first, num_documents = share(sorted_keys, sorted_places)
    order = np.argsort(shared)
    arrays: dict[str, NDArray[Any]] = {
        "places": shared[order],
        "partners": partners[order],
        "is_first": is_first[order],
        "num_documents": num_documents[order],
    }
    write_arrays(out, arrays)


@compiled
def share(
    keys: NDArray[np.uint64], places: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint32]]:
    """The places whose key another document has too, with what `join_fingerprints` says of them.

    Args:
        places: ascending among equal keys.
    """
    position_bits = np.uint64(32)  # POSITION_BITS; kernels have their own, see `compiled`
    shared, partners = np.empty_like(places), np.empty_like(places)
    is_first, num_documents = np.empty(len(places), np.uint8), np.empty(len(places), np.uint32)
    count = begin = 0
    for end in range(1, len(keys) + 1):
        if end < len(keys) and keys[end] == keys[begin]:
            continue
        documents, other = 1, begin
        for index in range(begin + 1, end):
            if places[index] >> position_bits != places[index - 1] >> position_bits:
                documents += 1
                if documents == 2:
                    other = index
        for index in range(begin, end if documents > 1 else begin):
            shared[count] = places[index]
            partners[count] = places[other] if index < other else places[begin]
            is_first[count] = index == begin
            num_documents[count] = documents
            count += 1
        begin = end
    return (
        shared[:count].copy(),
        partners[:count].copy(),
        is_first[:count].copy(),
        num_documents[:count].copy(),
    )
