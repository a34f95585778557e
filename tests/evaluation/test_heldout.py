"""Which files are scored, and the compressors beside them."""

import gzip
import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from derailleur.errors import DataError
from derailleur.evaluation.heldout import compress, read_heldout


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_only_held_out_rows_count_where_there_is_a_split(corpus: Path) -> None:
    documents = read_heldout(corpus, max_bytes=10**6, rng=rng())
    assert [document.path for document in documents] == [f"module_{n}.py" for n in range(3, 12)]


def test_everything_counts_where_there_is_no_split(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"content": "a = 1"}\n{"content": ""}\n{"content": "b = 2"}\n')
    assert [d.content for d in read_heldout(path, max_bytes=100, rng=rng())] == ["a = 1", "b = 2"]


def test_the_choice_fits_depends_on_the_seed_alone_and_keeps_the_order(corpus: Path) -> None:
    every = [d.path for d in read_heldout(corpus, max_bytes=10**6, rng=rng())]
    chosen = read_heldout(corpus, max_bytes=900, rng=rng())
    paths = [document.path for document in chosen]
    assert 0 < len(paths) < 9 and sum(document.num_bytes for document in chosen) <= 900
    assert paths == sorted(paths, key=every.index)
    assert paths == [d.path for d in read_heldout(corpus, max_bytes=900, rng=rng())]
    others = {
        tuple(d.path for d in read_heldout(corpus, max_bytes=900, rng=np.random.default_rng(seed)))
        for seed in range(8)
    }
    assert len(others) > 1


def test_no_held_out_text_is_an_error_that_names_the_corpus(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"content": "a", "split": "train"}) + "\n")
    with pytest.raises(DataError, match=r"train\.jsonl: no held-out documents"):
        read_heldout(path, max_bytes=100, rng=rng())
    with pytest.raises(DataError, match="no held-out document of 5 bytes or less"):
        read_heldout(corpus, max_bytes=5, rng=rng())


def test_compressors_see_the_same_bytes_in_the_same_order(corpus: Path) -> None:
    documents = read_heldout(corpus, max_bytes=10**6, rng=rng())
    text = "".join(document.content for document in documents).encode()
    anchors = compress(documents)
    assert len(gzip.compress(text, 9)) * 8 / len(text) == anchors["gzip"]
    assert len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) * 8 / len(text) == anchors["xz"]
