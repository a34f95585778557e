"""Imported checkpoints give transformers' logits and transformers' greedy text."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from derailleur.errors import CheckpointError
from derailleur.model import import_checkpoint, load_model

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 500.0},
    "llama-untied": {"tie_word_embeddings": False, "attention_bias": True},
    "mistral": {"sliding_window": None, "head_dim": 16},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16, "tie_word_embeddings": True},
}


def make_folder(family: str, folder: Path, **changes: Any) -> Any:
    """A random checkpoint as transformers writes it, norms and biases shaken; returns the model."""
    settings = SIZES | FAMILIES[family] | changes
    config = transformers.AutoConfig.for_model(family.split("-")[0], **settings)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if parameter.dim() == 1 else 0.15 * noise)
    model.save_pretrained(folder, max_shard_size="20KB")
    (folder / "tokenizer.json").write_text("{}")
    return model


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_greedy_text(family: str, tmp_path: Path) -> None:
    model = make_folder(family, tmp_path / "source")
    assert (tmp_path / "source" / "model.safetensors.index.json").is_file(), "expected several shards"
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    ours = load_model(tmp_path / "out")
    tokens = torch.randint(0, 97, (2, 60), generator=torch.Generator().manual_seed(1))
    expected = model(tokens).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(tokens).logits, expected, atol=1e-4, rtol=1e-4)
    prompt = tokens[:1, :8]
    generated = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, min_new_tokens=64, do_sample=False
    )
    greedy = prompt
    for _ in range(64):
        greedy = torch.cat([greedy, ours(greedy).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(greedy, generated)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt_neox"}, "model_type 'gpt_neox' is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_scaling of type 'yarn'"),
        ({"use_sliding_window": True, "sliding_window": 16}, "sliding_window 16"),
        ({"mlp_bias": True}, "mlp_bias is not supported"),
    ],
)
def test_unsupported_fields_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    make_folder("qwen2", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pickles_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        import_checkpoint(tmp_path, tmp_path / "out")
    make_folder("llama", tmp_path)
    for shard in tmp_path.glob("*.safetensors*"):
        shard.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        import_checkpoint(tmp_path, tmp_path / "out")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: pickled weights are refused"):
        import_checkpoint(tmp_path, tmp_path / "out")


def test_shards_stay_inside_the_folder(tmp_path: Path) -> None:
    make_folder("llama", tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    with pytest.raises(CheckpointError, match="lies outside the folder"):
        import_checkpoint(tmp_path, tmp_path / "out")
