"""Plans read headers alone, importing holds one tensor at a time, and foreign folders are refused clearly."""

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from derailleur.cli import main
from derailleur.errors import CheckpointError, DataError, UserError
from derailleur.model import import_checkpoint, load_model
from derailleur.model.importing import plan_import
from derailleur.model.plan import StoredTensors

INDEX = "model.safetensors.index.json"


def change_weights(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def test_one_tensor_lives_at_a_time(
    tmp_path: Path, make_foreign: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_foreign("gpt_bigcode", tmp_path / "source")
    largest = max(spec.num_bytes for spec in plan_import(tmp_path / "source").sources.values())
    alive: dict[int, int] = {}
    peak = 0
    read = StoredTensors.read

    def counted(self: StoredTensors, name: str) -> torch.Tensor:
        nonlocal peak
        x = read(self, name).clone()
        alive[id(x)] = x.nbytes
        weakref.finalize(x, alive.pop, id(x))
        peak = max(peak, sum(alive.values()))
        return x

    monkeypatch.setattr(StoredTensors, "read", counted)
    plan = plan_import(tmp_path / "source")
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    assert largest <= peak <= 2 * largest < plan.num_bytes / 2
    monkeypatch.undo()
    assert load_model(tmp_path / "out").position_embed is not None


def test_plan_says_what_is_written(
    tmp_path: Path, make_foreign: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make_foreign("gpt_bigcode", tmp_path / "source", dtype=torch.bfloat16)
    call = ["import", str(tmp_path / "source"), "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*call, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert main(call) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    import_checkpoint(tmp_path / "source", tmp_path / "out")
    written = load_file(tmp_path / "out/model.safetensors")
    assert plan["family"] == "gpt_bigcode" and plan["max_positions"] == 128 and plan["refused"] == []
    assert plan["parameters"] == sum(x.numel() for x in written.values())
    assert plan["bytes"] == sum(x.nbytes for x in written.values())
    assert {target for tensor in plan["tensors"] for target in tensor["targets"]} == set(written)
    assert "    3 x transformer.h.*.attn.c_attn.weight [48, 32] bfloat16 -> layers.*.mixers.fa.q_proj" in text


def test_plan_without_shards(
    tmp_path: Path, make_foreign: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    make_foreign("qwen2", tmp_path)
    whole = plan_import(tmp_path)
    shards = sorted(tmp_path.glob("*.safetensors"))
    for shard in shards:
        shard.unlink()
    plan = plan_import(tmp_path)
    assert plan.refusals == tuple(f"{shard}: no such file" for shard in shards)
    assert (plan.written, plan.num_parameters) == (whole.written, whole.num_parameters)
    with pytest.raises(CheckpointError, match=f"{shards[0].name}: no such file"):
        import_checkpoint(tmp_path, tmp_path / "out")
    (tmp_path / INDEX).unlink()
    assert plan_import(tmp_path).refusals == (f"{tmp_path}: no model.safetensors",)
    assert plan_import(tmp_path).num_parameters == whole.num_parameters
    assert main(["import", str(tmp_path), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert f"refused: {tmp_path}: no model.safetensors" in capsys.readouterr().out


def test_missing_misfitting_and_foreign_tensors(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("llama", tmp_path, shard_size="1GB")

    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        del tensors["model.norm.weight"], tensors["lm_head.weight"]
        tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 32)
        tensors["model.layers.1.input_layernorm.weight"] = torch.zeros(32, dtype=torch.uint8)
        tensors["score.weight"] = torch.zeros(2, 32)
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
        return tensors

    change_weights(tmp_path, change)
    assert plan_import(tmp_path).refusals == (
        f"{tmp_path}: tensor 'lm_head.weight' is missing and tie_word_embeddings is false",
        f"{tmp_path}: tensor 'model.norm.weight' is missing",
        f"{tmp_path}: tensor 'model.layers.0.mlp.up_proj.weight' of shape (3, 32) does not fit the "
        "configuration, which wants (48, 32)",
        f"{tmp_path}: tensor 'model.layers.1.input_layernorm.weight' is uint8; expected floating point",
        f"{tmp_path}: tensor 'score.weight' is not part of this model",
    )


def test_quantised_weights_are_refused(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("llama", tmp_path, shard_size="1GB")
    norm = {"model.norm.weight": torch.zeros(32, dtype=torch.float8_e4m3fn)}
    change_weights(tmp_path, lambda tensors: tensors | norm)
    with pytest.raises(
        CheckpointError, match=r"tensor 'model\.norm\.weight' is F8_E4M3, which is not supported"
    ):
        import_checkpoint(tmp_path, tmp_path / "out")


def test_fused_attention_of_another_shape(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("gpt_bigcode", tmp_path, written={"multi_query": False}, shard_size="1GB")
    with pytest.raises(CheckpointError, match=r"c_attn.* of shape .* does not fit the configuration"):
        import_checkpoint(tmp_path, tmp_path / "out")


def test_a_tied_head_may_be_there_twice(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("starcoder2", tmp_path, shard_size="1GB")
    change_weights(tmp_path, lambda x: x | {"lm_head.weight": x["model.embed_tokens.weight"].clone()})
    import_checkpoint(tmp_path, tmp_path / "out")
    assert "head.weight" not in load_file(tmp_path / "out/model.safetensors")
    change_weights(tmp_path, lambda x: x | {"lm_head.weight": x["lm_head.weight"] + 1})
    with pytest.raises(
        CheckpointError, match=r"tie_word_embeddings is true, but tensor 'lm_head\.weight' is not"
    ):
        import_checkpoint(tmp_path, tmp_path / "again")


def test_generation_settings_and_tokenizer_come_along(
    tmp_path: Path, make_foreign: Callable[..., Any]
) -> None:
    make_foreign("llama", tmp_path, eos_token_id=[3, 4], bos_token_id=1)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 5, "temperature": 0.5}')
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    import_checkpoint(tmp_path, tmp_path / "out")
    settings = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert settings["eos_token_id"] == 5 and settings["bos_token_id"] == 1 and settings["temperature"] == 0.5
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_pickles_and_missing_files_are_refused(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        import_checkpoint(tmp_path, tmp_path / "out")
    make_foreign("llama", tmp_path)
    for shard in tmp_path.glob("*.safetensors*"):
        shard.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        import_checkpoint(tmp_path, tmp_path / "out")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: pickled weights are refused"):
        import_checkpoint(tmp_path, tmp_path / "out")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(DataError, match=r"config\.json: expected a JSON object"):
        import_checkpoint(tmp_path, tmp_path / "out")


def test_folders_without_a_fast_tokenizer_are_refused(
    tmp_path: Path, make_foreign: Callable[..., Any]
) -> None:
    make_foreign("mistral", tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        import_checkpoint(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        *(
            (json.dumps({"weight_map": {"a": name}}), "expected names of files in the folder")
            for name in ("../../secret.safetensors", "..", "", "/etc/passwd", "a\0.safetensors", "x" * 300)
        ),
        ('{"weight_map": ["a"]}', "expected a weight_map"),
        ("[]", "expected a weight_map"),
    ],
)
def test_broken_indices(index: str, message: str, tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("llama", tmp_path)
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab_size", 10**30, "vocab_size: Input should be less than or equal to 16777216"),
        ("num_hidden_layers", 10**12, "num_layers: Input should be less than or equal to 4096"),
        ("max_position_embeddings", 10**30, "max_positions: Input should be less than or equal to"),
        ("model_type", ["llama"], r"model_type '\['llama'\]' is not supported"),
        ("initializer_range", float("nan"), "not JSON: NaN is no number"),
    ],
)
def test_absurd_values_are_named(
    field: str, value: object, message: str, tmp_path: Path, make_foreign: Callable[..., Any]
) -> None:
    make_foreign("llama", tmp_path, written={field: value})
    with pytest.raises(UserError, match=message):
        plan_import(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tokenizer.json", "", "tokenizer.json:1: not JSON"),
        ("tokenizer.json", "[]", "tokenizer.json: expected a JSON object, got list"),
        ("tokenizer.json", '{"model": null}', "tokenizer.json: not a byte-level BPE tokenizer"),
        ("tokenizer.json", '{"added_tokens": [3]}', "tokenizer.json: not a byte-level BPE tokenizer"),
        ("tokenizer_config.json", "null", "tokenizer_config.json: expected a JSON object, got NoneType"),
        ("generation_config.json", "{", "generation_config.json:1: not JSON"),
        ("generation_config.json", '"x"', "generation_config.json: expected a JSON object, got str"),
        ("generation_config.json", '{"temperature": Infinity}', "not JSON: Infinity is no number"),
    ],
)
def test_broken_tokenizers_and_settings_are_found_before_anything_is_written(
    file: str, text: str, message: str, tmp_path: Path, make_foreign: Callable[..., Any]
) -> None:
    make_foreign("llama", tmp_path / "source")
    (tmp_path / "source" / file).write_text(text)
    assert any(message in refusal for refusal in plan_import(tmp_path / "source").refusals)
    with pytest.raises(CheckpointError, match=message.replace(".", r"\.")):
        import_checkpoint(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_that_lack_what_the_index_says(tmp_path: Path, make_foreign: Callable[..., Any]) -> None:
    make_foreign("llama", tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    last = index["weight_map"]["model.norm.weight"]
    index["weight_map"] = dict.fromkeys(index["weight_map"], last)
    (tmp_path / INDEX).write_text(json.dumps(index))
    refusals = plan_import(tmp_path).refusals
    assert any("tensor 'model.embed_tokens.weight' is missing" in refusal for refusal in refusals)
