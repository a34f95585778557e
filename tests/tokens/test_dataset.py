import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derailleur.errors import DataError
from derailleur.tokens import TokenDataset


@pytest.fixture(scope="module")
def dataset(packed: Path) -> TokenDataset:
    return TokenDataset(packed, "train")


@pytest.fixture(scope="module")
def stream(packed: Path) -> np.ndarray:
    """All shards, read whole."""
    return np.concatenate([np.fromfile(path, "<u2") for path in sorted(packed.glob("train-*.bin"))])


@given(data=st.data())
def test_windows_reach_over_shards(dataset: TokenDataset, stream: np.ndarray, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(stream)))
    length = data.draw(st.integers(0, len(stream) - start))
    window = dataset.window(start, length)
    assert window.dtype == np.int64
    assert window.tolist() == stream[start : start + length].tolist()


def test_sizes_and_documents(dataset: TokenDataset, stream: np.ndarray) -> None:
    documents = dataset.documents()
    assert documents.column_names == ["id", "path", "shard", "start_token", "num_tokens", "num_bytes"]
    assert dataset.num_tokens == len(stream) == sum(documents["num_tokens"].to_pylist())
    assert dataset.num_bytes == sum(documents["num_bytes"].to_pylist())


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 10**9), (5, -1)])
def test_windows_outside_are_refused(dataset: TokenDataset, start: int, length: int) -> None:
    with pytest.raises(IndexError, match="window"):
        dataset.window(start, length)


def test_a_folder_that_no_stage_finished(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.documents\.parquet: no such file"):
        TokenDataset(tmp_path, "train")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "train.documents.parquet")
    with pytest.raises(DataError, match="not written by a tokenize stage"):
        TokenDataset(tmp_path, "train")
    (tmp_path / "train.documents.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        TokenDataset(tmp_path, "train")


def test_a_shard_that_is_not_whole(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(packed, folder)
    shard = folder / "train-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train-00001\.bin: \d+ bytes, expected \d+; run tokenize again"):
        TokenDataset(folder, "train")
    shard.unlink()
    with pytest.raises(DataError, match=r"train-00001\.bin: 0 bytes"):
        TokenDataset(folder, "train")
