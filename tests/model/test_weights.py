"""Weights on disk: what we write is what safetensors reads, whatever the order, kinds and shapes."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from derailleur.errors import CheckpointError
from derailleur.model.weights import (
    INDEX,
    TensorSpec,
    read_header,
    read_tensors,
    weight_files,
    write_tensors,
)

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.uint8]
SHAPES = st.lists(st.integers(1, 5), max_size=3).map(tuple)


@given(kinds=st.lists(st.tuples(st.sampled_from(DTYPES), SHAPES), max_size=6), order=st.randoms())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_tensors_come_back(
    kinds: list[tuple[torch.dtype, tuple[int, ...]]], order: object, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"layer.{i}.é": torch.randint(0, 200, shape, generator=generator).to(dtype)
        for i, (dtype, shape) in enumerate(kinds)
    }
    specs = {name: TensorSpec.of(x) for name, x in tensors.items()}
    shuffled = list(tensors.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    path = tmp_path / "model.safetensors"
    write_tensors(path, specs, shuffled)
    assert read_header(path) == specs
    for read in (load_file(path), dict(read_tensors(path))):
        assert set(read) == set(tensors)
        assert all(read[name].dtype == x.dtype and torch.equal(read[name], x) for name, x in tensors.items())
    assert path.stat().st_size >= sum(spec.num_bytes for spec in specs.values())


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    x = torch.arange(12.0).view(3, 4)
    specs = {"x": TensorSpec((4, 3), torch.float32)}
    write_tensors(tmp_path / "x", specs, [("x", x.T.requires_grad_())])
    assert torch.equal(load_file(tmp_path / "x")["x"], x.T)


def test_headers_of_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, tmp_path / "x")
    assert read_header(tmp_path / "x") == {
        "a": TensorSpec((2, 3), torch.float32),
        "b": TensorSpec((4,), torch.bfloat16),
    }
    save_file({"a": torch.zeros(2, dtype=torch.int32)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"tensor 'a' is I32, which is not supported"):
        read_header(tmp_path / "x")


def test_files_of_a_folder(tmp_path: Path) -> None:
    assert weight_files(tmp_path) == []
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]
    (tmp_path / INDEX).write_text(
        '{"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}'
    )
    assert weight_files(tmp_path) == [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
