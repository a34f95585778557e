"""Checkpoint folders: exact round trips and clear refusals."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from derailleur.errors import CheckpointError, ConfigError, DataError, UserError
from derailleur.model import Decoder, load_config, load_model, save_model
from derailleur.placement import Placement


@pytest.fixture
def folder(supernet: Decoder, tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "tokenizer.json").write_text("{}")
    save_model(supernet, tmp_path / "saved" / "model", tokenizer_from=tmp_path / "source")
    return tmp_path / "saved"


@torch.no_grad()
def test_round_trip_is_exact(folder: Path, supernet: Decoder, tokens: torch.Tensor) -> None:
    loaded = load_model(folder)
    assert loaded.config == supernet.config == load_config(folder / "model")
    assert loaded.head.weight is loaded.embed.weight
    assert not loaded.training
    for placement in ("FFFF", "FSKG"):
        assert torch.equal(
            loaded(tokens, Placement(placement)).logits, supernet(tokens, Placement(placement)).logits
        )
    assert (folder / "model" / "tokenizer.json").is_file()


@torch.no_grad()
def test_shards_are_read(folder: Path, supernet: Decoder, tokens: torch.Tensor) -> None:
    """As transformers writes them beyond some size."""
    whole = folder / "model" / "model.safetensors"
    tensors = list(load_file(whole).items())
    whole.unlink()
    weight_map = {}
    for number, start in enumerate(range(0, len(tensors), 40)):
        shard = f"model-{number}.safetensors"
        save_file(dict(tensors[start : start + 40]), folder / "model" / shard)
        weight_map |= {name: shard for name, _ in tensors[start : start + 40]}
    index = folder / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    loaded = load_model(folder, dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert torch.equal(load_model(folder)(tokens).logits, supernet(tokens).logits)
    (folder / "model" / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors: no such file"):
        load_model(folder)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no config\.json"):
        load_model(tmp_path / "nowhere")


def test_foreign_model_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match="derailleur import"):
        load_model(tmp_path)


def test_broken_files_are_named(folder: Path) -> None:
    weights = folder / "model" / "model.safetensors"
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if k != "norm.weight"}, weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor 'norm\.weight' is missing"):
        load_model(folder)
    save_file(tensors | {"norm.weight": torch.zeros(3)}, weights)
    with pytest.raises(CheckpointError, match=r"'norm\.weight' has shape \(3,\), expected \(32,\)"):
        load_model(folder)
    save_file(tensors | {"extra": torch.zeros(3)}, weights)
    with pytest.raises(CheckpointError, match="'extra' is not part"):
        load_model(folder)
    weights.write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(folder)


def test_broken_configuration(folder: Path) -> None:
    path = folder / "model" / "config.json"
    description = json.loads(path.read_text())
    description["derailleur"]["num_layerz"] = 3
    path.write_text(json.dumps(description))
    with pytest.raises(ConfigError, match="unknown key 'num_layerz'; did you mean 'num_layers'"):
        load_model(folder)
    path.write_text('{"model_type": "derailleur"}')
    with pytest.raises(
        CheckpointError, match=r"config\.json: derailleur: expected the decoder's shape, got None"
    ):
        load_model(folder)
    path.write_text("{")
    with pytest.raises(DataError, match=r"config\.json:1: not JSON"):
        load_model(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"config\.json: expected a JSON object, got list"),
        ('{"model_type": "derailleur"}', r"config\.json: derailleur: expected the decoder's shape, got None"),
        ('{"model_type": "derailleur", "derailleur": 3}', "expected the decoder's shape, got 3"),
    ],
)
def test_a_configuration_of_another_kind(text: str, message: str, folder: Path) -> None:
    (folder / "model" / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_model(folder)
