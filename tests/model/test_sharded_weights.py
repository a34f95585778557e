"""Weights beyond the size of one file: shards that are written, read, resumed and replaced."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from derailleur.errors import CheckpointError
from derailleur.model import Decoder, import_checkpoint, load_model, save_model, weights
from derailleur.model.export import describe_export, plan_export, write_export
from derailleur.model.weights import INDEX, WEIGHTS, TensorFile, TensorSpec, files_of, write_weights
from derailleur.placement import Placement

SHARD_BYTES = 20_000


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SHARD_BYTES", SHARD_BYTES)


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors, by safetensors' own reader and the index alone."""
    weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
    found = {}
    for name, file in weight_map.items():
        with safe_open(folder / file, framework="pt") as stream:
            found[name] = stream.get_tensor(name)
    return found


@pytest.fixture
def saved(supernet: Decoder, tmp_path: Path) -> Path:
    save_model(supernet, tmp_path / "whole")
    return tmp_path / "whole"


@torch.no_grad()
@pytest.mark.usefixtures("small_shards")
def test_a_large_model_is_written_in_shards(supernet: Decoder, saved: Path, tokens: torch.Tensor) -> None:
    names = shards(saved)
    count = len(names)
    assert count > 5 and names[0] == f"model-00001-of-{count:05}.safetensors"
    index = json.loads((saved / INDEX).read_text())
    tensors = stored(saved)
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in tensors.values())
    expected = {name: x for name, x in supernet.state_dict().items() if name != "head.weight"}
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], x) for name, x in expected.items())
    for name in names:
        held = load_file(saved / name)
        assert sum(x.nbytes for x in held.values()) <= SHARD_BYTES or len(held) == 1
    assert torch.equal(load_model(saved)(tokens).logits, supernet(tokens).logits)


def test_a_model_that_fits_is_one_file(supernet: Decoder, tmp_path: Path) -> None:
    save_model(supernet, tmp_path)
    assert shards(tmp_path) == [WEIGHTS] and not (tmp_path / INDEX).exists()


@torch.no_grad()
def test_other_weights_leave_nothing_of_the_old(
    supernet: Decoder, saved: Path, tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, shards, fewer shards and one file again, in the same folder."""
    for size in (SHARD_BYTES, 3 * SHARD_BYTES, 10**9):
        monkeypatch.setattr(weights, "SHARD_BYTES", size)
        save_model(supernet, saved)
        specs = {n: TensorSpec.of(x) for n, x in supernet.state_dict().items() if n != "head.weight"}
        assert shards(saved) == sorted(files_of(specs))
        assert (saved / INDEX).exists() == (size < 10**9)
        assert torch.equal(load_model(saved)(tokens).logits, supernet(tokens).logits)


@torch.no_grad()
@pytest.mark.usefixtures("small_shards")
def test_import_and_export_in_shards(tmp_path: Path, make_sharded_teacher: Callable[..., Any]) -> None:
    make_sharded_teacher(tmp_path / "source")
    import_checkpoint(tmp_path / "source", tmp_path / "ours")
    assert len(shards(tmp_path / "ours")) > 1
    for layout in ("hf", "thin"):
        plan = plan_export(tmp_path / "ours", layout, [Placement("FFF")])
        said = describe_export(plan, tmp_path / "ours")
        write_export(plan, tmp_path / "ours", tmp_path / layout)
        assert {path.name for path in (tmp_path / layout).iterdir()} == set(said["files"])
        assert INDEX in said["files"]
    theirs, back = stored(tmp_path / "source"), stored(tmp_path / "hf")
    assert theirs.keys() == back.keys() and all(torch.equal(back[name], x) for name, x in theirs.items())
    tokens = torch.randint(97, (1, 20))
    ours, thin = load_model(tmp_path / "ours"), load_model(tmp_path / "thin")
    assert torch.equal(ours(tokens).logits, thin(tokens).logits)


@pytest.fixture
def make_sharded_teacher() -> Callable[[Path], None]:
    """A function that writes a small Llama of several shards, as transformers does."""

    def make(folder: Path) -> None:
        import transformers

        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=97,
            num_hidden_layers=3,
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="20KB")
        (folder / "tokenizer.json").write_text("{}")

    return make


@pytest.mark.usefixtures("small_shards")
def test_finished_shards_are_kept_on_request(tmp_path: Path) -> None:
    tensors = {f"x{i}": torch.full((40, 100), float(i)) for i in range(5)}
    specs = {name: TensorSpec.of(x) for name, x in tensors.items()}
    made: list[str] = []

    def make(name: str) -> torch.Tensor:
        made.append(name)
        if fails_at == name:
            raise KeyboardInterrupt
        return tensors[name]

    fails_at = "x3"
    with pytest.raises(KeyboardInterrupt):
        write_weights(tmp_path, specs, make)
    assert len(shards(tmp_path)) == 3 and not (tmp_path / INDEX).exists()
    fails_at = ""
    made.clear()
    write_weights(tmp_path, specs, make, resume=True)
    assert made == ["x3", "x4"]
    assert all(torch.equal(stored(tmp_path)[name], x) for name, x in tensors.items())
    made.clear()
    write_weights(tmp_path, specs, make)
    assert made == list(tensors)


@pytest.mark.usefixtures("small_shards")
def test_a_checkpoint_half_replaced_is_none(supernet: Decoder, saved: Path) -> None:
    specs = {n: TensorSpec.of(x) for n, x in supernet.state_dict().items() if n != "head.weight"}

    def fail(name: str) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(saved, specs, fail)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(saved)


def test_one_file_stays_until_it_is_replaced(supernet: Decoder, saved: Path) -> None:
    before = (saved / WEIGHTS).read_bytes()

    def fail(name: str) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_weights(saved, {"x": TensorSpec((2,), torch.float32)}, fail)
    assert (saved / WEIGHTS).read_bytes() == before
    assert load_model(saved).config == supernet.config


def test_a_folder_is_not_written_into_itself(saved: Path) -> None:
    plan = plan_export(saved, "thin", [Placement("FFFF")])
    with pytest.raises(CheckpointError, match="cannot be written into itself"):
        write_export(plan, saved, saved.parent / "whole" / ".." / "whole")
    assert load_model(saved)


def test_a_file_larger_than_memory_is_read_tensor_by_tensor(tmp_path: Path) -> None:
    """A file of 8 TB, which is a hole but for its last tensor."""
    rows = 1 << 40
    header = {
        "hole": {"dtype": "BF16", "shape": [rows, 4], "data_offsets": [0, 8 * rows]},
        "x": {"dtype": "F32", "shape": [2], "data_offsets": [8 * rows, 8 * rows + 8]},
    }
    encoded = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    with path.open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        stream.seek(8 * rows, 1)
        stream.write(torch.tensor([1.0, 2.0]).numpy().tobytes())
    file = TensorFile(path)
    assert file.specs["hole"].num_bytes == 8 * rows
    assert file.read("x").tolist() == [1.0, 2.0]


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    write_weights(tmp_path, {"x": TensorSpec((100,), torch.float32)}, lambda name: torch.ones(100))
    file = TensorFile(tmp_path / WEIGHTS)
    with (tmp_path / WEIGHTS).open("r+b") as stream:
        stream.truncate(300)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor 'x' ends early"):
        file.read("x")
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        file.read("x")
