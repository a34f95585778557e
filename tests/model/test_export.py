"""Exports: plain families, thin supernets bit for bit, plans that read no weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from derailleur.errors import CheckpointError, PlacementError
from derailleur.model import Decoder, DecoderConfig, import_checkpoint, load_config, load_model, save_model
from derailleur.model.export import describe_export, plan_export, restrict, write_export
from derailleur.placement import Placement

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_positions": 128,
}
BIASED = {"attention_bias": True, "attention_output_bias": True, "mlp_bias": True}
WINDOW = {"F": {"window_tokens": 16}}
LAYERNORM = {"norm": "layer", "mlp": "plain", "activation": "gelu_tanh", **BIASED}
YARN = {"kind": "yarn", "factor": 4.0, "original_max_positions": 32}
LLAMA3 = {"kind": "llama3", "factor": 8.0, "original_max_positions": 32}
LEARNED = {"positions": "learned", **LAYERNORM}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 500.0},
    "llama-wide": {"head_dim": 16, "tie_embeddings": False, **BIASED, "rope_scaling": LLAMA3},
    "mistral": {"mixers": WINDOW, "tie_embeddings": False},
    "qwen2": {"attention_bias": True, "rope_scaling": YARN},
    "qwen2-windowed": {
        "attention_bias": True,
        "mixers": {"F": {"window_tokens": 16, "first_window_layer": 1}},
    },
    "qwen3": {"qk_norm": True, "num_kv_heads": 1},
    "starcoder2": {**LAYERNORM, "mixers": WINDOW, "rope_scaling": {"kind": "linear", "factor": 2.0}},
    "gpt_bigcode": {**LEARNED, "num_kv_heads": 1},
    "gpt_bigcode-multi-head": {**LEARNED, "num_kv_heads": 4, "activation": "gelu"},
}


def saved(config: DecoderConfig, folder: Path) -> Decoder:
    """A random checkpoint of ours, norms and biases shaken."""
    decoder = Decoder(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in decoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if parameter.dim() == 1 else 0.15 * noise)
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    save_model(decoder, folder, tokenizer_from=folder / "tokenizer")
    return load_model(folder)


def export(folder: Path, out: Path, layout: str, *placements: str) -> dict[str, Any]:
    plan = plan_export(folder, layout, [Placement(letters) for letters in placements])
    write_export(plan, folder, out)
    return describe_export(plan, folder)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_full_attention_is_a_plain_checkpoint(family: str, tmp_path: Path) -> None:
    decoder = saved(DecoderConfig.model_validate(SIZES | FAMILIES[family]), tmp_path / "ours")
    done = export(tmp_path / "ours", tmp_path / "theirs", "hf")
    assert done["model_type"] == family.partition("-")[0]
    description = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert "derailleur" not in description and description["dtype"] == "float32"
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "theirs", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert type(model).__module__.startswith("transformers.")
    tokens = torch.randint(0, 97, (2, 60), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(tokens).logits, decoder(tokens).logits, atol=1e-4, rtol=1e-4)
    prompt = tokens[:1, :8]
    text = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=40, eos_token_id=None
    )
    greedy = prompt
    for _ in range(40):
        greedy = torch.cat([greedy, decoder(greedy).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(text, greedy)
    import_checkpoint(tmp_path / "theirs", tmp_path / "again")
    assert load_config(tmp_path / "again") == decoder.config
    again = load_file(tmp_path / "again" / "model.safetensors")
    ours = load_file(tmp_path / "ours" / "model.safetensors")
    assert again.keys() == ours.keys() and all(torch.equal(again[name], x) for name, x in ours.items())


@torch.no_grad()
def test_full_attention_that_no_family_has_stays_ours(tmp_path: Path) -> None:
    config = DecoderConfig.model_validate(SIZES | {"qk_norm": True, "attention_bias": True})
    decoder = saved(config, tmp_path / "ours")
    assert export(tmp_path / "ours", tmp_path / "out", "hf")["model_type"] == "derailleur"
    tokens = torch.randint(0, 97, (2, 30))
    assert torch.equal(load_model(tmp_path / "out")(tokens).logits, decoder(tokens).logits)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Decoder]:
    folder = tmp_path_factory.mktemp("export") / "supernet"
    mixers = {"F": {}, "S": {"window_tokens": 12}, "K": {}, "G": {}}
    return folder, saved(DecoderConfig.model_validate(SIZES | {"mixers": mixers}), folder)


@torch.no_grad()
@pytest.mark.parametrize(
    ("layout", "placements", "banks"),
    [
        ("thin", ["FSG", "GSG"], ("FG", "S", "G")),
        ("thin", ["FFF", "SKG", "GGG"], ("FSG", "FKG", "FG")),
        ("hf", ["GKS"], ("G", "K", "S")),
        ("hf", ["KKK"], ("K", "K", "K")),
        ("thin", ["FFF"], None),
        ("thin", ["FFF", "SSS", "KKK", "GGG"], None),
    ],
)
def test_kept_placements_are_bit_identical(
    bank: tuple[Path, Decoder], layout: str, placements: list[str], banks: Any, tmp_path: Path
) -> None:
    folder, supernet = bank
    done = export(folder, tmp_path / "out", layout, *placements)
    thin = load_model(tmp_path / "out")
    assert thin.config.banks == banks
    assert done["parameters"] == sum(x.numel() for x in thin.parameters())
    assert done["bytes"] == 4 * done["parameters"] and done["model_type"] == "derailleur"
    assert set("".join(placements)) | {"F"} == set(thin.config.mixers.letters)
    tokens = torch.randint(0, 97, (2, 50), generator=torch.Generator().manual_seed(1))
    for letters in placements:
        expected = supernet(tokens, Placement(letters)).logits
        assert torch.equal(thin(tokens, Placement(letters)).logits, expected)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == set(done["files"])
    assert "tokenizer.json" in names


def test_a_thin_supernet_gets_thinner_but_not_thicker(bank: tuple[Path, Decoder], tmp_path: Path) -> None:
    export(bank[0], tmp_path / "thin", "thin", "FSG", "GSG")
    assert export(tmp_path / "thin", tmp_path / "thinner", "thin", "GSG")["tensors"] > 0
    assert load_config(tmp_path / "thinner").banks == ("G", "S", "G")
    with pytest.raises(PlacementError, match="placement 'FSG': layer 0 has no mixer 'F'; it has G"):
        plan_export(tmp_path / "thinner", "thin", [Placement("FSG")])
    with pytest.raises(PlacementError, match="has 4 layers, the model has 3"):
        plan_export(bank[0], "thin", [Placement("FFFF")])


def test_no_placement_keeps_everything(bank: tuple[Path, Decoder], tmp_path: Path) -> None:
    export(bank[0], tmp_path / "copy", "hf")
    assert load_config(tmp_path / "copy") == bank[1].config
    ours, copied = (load_file(x / "model.safetensors") for x in (bank[0], tmp_path / "copy"))
    assert ours.keys() == copied.keys() and all(torch.equal(copied[name], x) for name, x in ours.items())


def test_a_plan_reads_no_weights(bank: tuple[Path, Decoder], tmp_path: Path) -> None:
    for file in bank[0].iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    size = int.from_bytes(weights.read_bytes()[:8], "little") + 8
    with weights.open("r+b") as stream:
        stream.seek(size)
        stream.write(b"\xff" * (weights.stat().st_size - size))
    thin = restrict(bank[1].config, [Placement("GSG")])
    described = describe_export(plan_export(tmp_path, "thin", [Placement("GSG")]), tmp_path)
    assert described["tensors"] == len([x for x in Decoder(thin).state_dict() if x != "head.weight"])
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        describe_export(plan_export(tmp_path, "thin", [Placement("GSG")]), tmp_path)
