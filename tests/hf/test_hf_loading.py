"""Folders under transformers' Auto classes: loading, placements, saving, training."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import derailleur.hf
from derailleur.errors import CheckpointError, ConfigError, PlacementError
from derailleur.model import Decoder, load_model, save_model
from derailleur.placement import Placement
from derailleur.placement.presets import Presets, load_presets
from derailleur.tokens import Tokenizer


def load(folder: Path, **arguments: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **arguments)


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(5, 256, (2, 40), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize(
    ("asked", "letters"),
    [
        (None, "FFFF"),
        ("mixed", "FSKG"),
        ("fast", "GGKG"),
        ("all-kda", "KKKK"),
        ("2F 2S", "FFSS"),
        ("GKSF", "GKSF"),
    ],
)
def test_logits_of_every_spelling(
    folder: Path, supernet: Decoder, tokens: torch.Tensor, asked: str | None, letters: str
) -> None:
    expected = supernet(tokens, Placement(letters)).logits
    model = load(folder, placement=asked)
    assert str(model.placement) == model.config.placement == letters and not model.training
    assert torch.equal(model(tokens).logits, expected)
    assert torch.equal(load(folder).set_placement(asked)(tokens).logits, expected)
    cached = model(tokens, use_cache=True).logits
    torch.testing.assert_close(cached, expected, atol=2e-5, rtol=1e-4)


def test_auto_classes(folder: Path, tokenizer: Tokenizer) -> None:
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, derailleur.hf.DerailleurConfig)
    assert (config.hidden_size, config.num_hidden_layers, config.num_key_value_heads) == (32, 4, 2)
    assert config.shape == load_model(folder).config
    theirs = AutoTokenizer.from_pretrained(folder)
    text = "def read(path):\n    return path"
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert tokenizer.fim is not None and theirs.padding_side == "left"
    assert (theirs.eos_token_id, theirs.pad_token_id) == (tokenizer.eos_id, tokenizer.fim.pad_id)
    batch = theirs(["def", text], return_tensors="pt", padding=True)
    assert batch["attention_mask"][0, 0] == 0
    written = load(folder).generate(**batch, max_new_tokens=5)
    assert written.shape[0] == 2
    fresh = AutoModelForCausalLM.from_config(config).set_placement("GGGG")
    assert fresh.head.weight is fresh.embed.weight
    assert 0.01 < float(fresh.embed.weight.detach().std()) < 0.03
    assert fresh(batch["input_ids"]).logits.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dtype(folder: Path, tokens: torch.Tensor, dtype: torch.dtype) -> None:
    model = load(folder, dtype=dtype, placement="FSKG")
    assert model.dtype == dtype == model.config.dtype
    text = model.generate(tokens, max_new_tokens=5, eos_token_id=None)
    assert text.shape == (2, 45)


@torch.no_grad()
def test_saving_round_trips(
    folder: Path, supernet: Decoder, presets: Presets, tokens: torch.Tensor, tmp_path: Path
) -> None:
    model = load(folder, placement="fast")
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = load(tmp_path)
    assert str(again.placement) == "GGKG"
    assert again.generation_config.to_dict() == model.generation_config.to_dict()
    assert torch.equal(again(tokens).logits, model(tokens).logits)
    assert dict(load_presets(tmp_path)) == dict(presets)
    ours = load_model(tmp_path)
    assert ours.config == supernet.config
    assert torch.equal(ours(tokens, Placement("FSKG")).logits, supernet(tokens, Placement("FSKG")).logits)


def test_a_folder_without_presets_starts_at_its_full_placement(supernet: Decoder, tmp_path: Path) -> None:
    banks = ("FS", "SK", "KG", "G")
    decoder = Decoder(supernet.config.model_copy(update={"banks": banks}))
    decoder.reset_parameters(0)
    save_model(decoder, tmp_path)
    model = load(tmp_path)
    assert str(model.placement) == "FSKG"
    assert str(model.set_placement("SKGG").placement) == "SKGG"
    with pytest.raises(PlacementError, match="mixer 'F' is not in this layer; it has swa, kda"):
        model.set_placement("all-fa")


def test_bad_folders_and_placements(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match="unknown preset 'fasst'; did you mean 'fast'"):
        load(folder, placement="fasst")
    with pytest.raises(PlacementError, match="has 3 layers, the model has 4"):
        load(folder).set_placement("FFF")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    missing = {name: x for name, x in tensors.items() if name != "layers.1.mixers.gdn.A_log"}
    save_file(missing, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"tensor 'layers\.1\.mixers\.gdn\.A_log' is missing"):
        load(tmp_path)
    foreign = tensors | {"foreign": torch.zeros(2)}
    save_file(foreign, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="tensor 'foreign' is unexpected"):
        load(tmp_path)
    description = json.loads((folder / "config.json").read_text())
    description["derailleur"]["num_headz"] = 3
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ConfigError, match=r"config\.json: derailleur: unknown key 'num_headz'; did you mean"):
        load(tmp_path)


def test_loss_and_gradients(folder: Path, supernet: Decoder, tokens: torch.Tensor) -> None:
    model = load(folder, placement="FSKG").train()
    mask = torch.ones_like(tokens)
    mask[0, :7] = 0
    labels = tokens.masked_fill(mask == 0, -100)
    loss = model(tokens, attention_mask=mask, labels=labels).loss
    loss.backward()
    hidden = [
        supernet.hidden(row[real.bool()][None], Placement("FSKG"))
        for row, real in zip(tokens, mask, strict=True)
    ]
    logits = [supernet.logits(x)[0, :-1] for x in hidden]
    targets = [row[real.bool()][1:] for row, real in zip(tokens, mask, strict=True)]
    # The first token of a padded row is a target of the padding before it.
    ours = model(tokens, attention_mask=mask).logits[0, 6]
    expected = torch.nn.functional.cross_entropy(
        torch.cat([ours[None], *logits]), torch.cat([tokens[0, 7][None], *targets])
    )
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    used = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert "layers.3.mixers.gdn.A_log" in used and "layers.3.mixers.fa.q_proj.weight" not in used


def test_training_lowers_the_loss(folder: Path, tokens: torch.Tensor) -> None:
    model = load(folder, placement="fast")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = model(tokens, labels=tokens, num_items_in_batch=torch.tensor(2 * 39)).loss
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.5


def test_without_transformers_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['transformers'] = None; import derailleur.hf"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "derailleur.hf needs transformers 5.23 or newer: pip install 'derailleur[hf]'" in done.stderr
