"""Hugging Face checkpoints of the Llama family as teachers: Llama, Mistral, Qwen2, Qwen3.

Shards are read one at a time. A configuration that this decoder cannot compute exactly is refused by
the name of the field that stands in the way, never approximated.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.io import read_json, write_json
from derailleur.model.checkpoint import WEIGHTS, check_weights, generation_settings, read_weights, save_model
from derailleur.model.config import DecoderConfig
from derailleur.model.decoder import Decoder

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Where generation_config.json is silent, config.json's values count."""

_INDEX = "model.safetensors.index.json"

_RENAMES = (
    (r"^model\.embed_tokens\.", "embed."),
    (r"^model\.norm\.", "norm."),
    (r"^lm_head\.", "head."),
    (r"^model\.layers\.(\d+)\.self_attn\.", r"layers.\1.mixers.fa."),
    (r"^model\.layers\.(\d+)\.input_layernorm\.", r"layers.\1.input_norm."),
    (r"^model\.layers\.(\d+)\.post_attention_layernorm\.", r"layers.\1.post_norm."),
    (r"^model\.layers\.(\d+)\.mlp\.", r"layers.\1.mlp."),
)


def import_checkpoint(source: Path, out: Path) -> dict[str, Any]:
    """Write a Hugging Face folder as a teacher of ours, with its own tokenizer and generation settings.

    Returns:
        The results for a manifest: family, parameters, context.

    Raises:
        CheckpointError: for an unsupported configuration, missing or pickled weights, foreign tensors.
    """
    if not (source / "config.json").is_file():
        raise CheckpointError(f"{source}: no config.json; expected a Hugging Face model folder")
    description: dict[str, Any] = read_json(source / "config.json")
    config = decoder_config(description, source / "config.json")
    if not (source / "tokenizer.json").is_file():
        raise CheckpointError(f"{source}: no tokenizer.json; save the tokenizer in the fast format beside it")
    decoder = Decoder(config)
    weights: dict[str, Tensor] = {}
    for shard in weight_files(source):
        for name, tensor in read_weights(shard).items():
            if not name.endswith("rotary_emb.inv_freq"):
                weights[rename(name)] = tensor.to(torch.float32)
    if config.tie_embeddings:
        weights["head.weight"] = weights.get("embed.weight", torch.empty(0))
    elif "head.weight" not in weights:
        raise CheckpointError(
            f"{source}: tensor 'lm_head.weight' is missing and tie_word_embeddings is false"
        )
    check_weights(decoder, weights, source)
    decoder.load_state_dict(weights, assign=True)
    if config.tie_embeddings:
        decoder.head.weight = decoder.embed.weight
    save_model(decoder, out, tokenizer_from=source)
    settings = generation_settings(out)
    special = {name: description[name] for name in _SPECIAL_IDS if description.get(name) is not None}
    write_json(out / "generation_config.json", special | settings)
    parameters = sum(p.numel() for p in decoder.parameters())
    return {
        "family": description["model_type"],
        "parameters": parameters,
        "max_positions": config.max_positions,
        "vocab_size": config.vocab_size,
    }


def decoder_config(description: dict[str, Any], path: Path) -> DecoderConfig:
    """Translate a Hugging Face configuration.

    Raises:
        CheckpointError: naming the field that is not supported.
    """
    family = description.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(f"{path}: model_type '{family}' is not supported; known: {', '.join(FAMILIES)}")
    _refuse_unsupported(description, path)
    try:
        heads, hidden = description["num_attention_heads"], description["hidden_size"]
        values = {
            "vocab_size": description["vocab_size"],
            "hidden_size": hidden,
            "num_layers": description["num_hidden_layers"],
            "num_heads": heads,
            "num_kv_heads": description.get("num_key_value_heads") or heads,
            "head_dim": description.get("head_dim") or hidden // heads,
            "intermediate_size": description["intermediate_size"],
            "max_positions": description["max_position_embeddings"],
            "rope_theta": _rope(description).get("rope_theta", 10_000.0),
            "norm_eps": description.get("rms_norm_eps", 1e-6),
            "tie_embeddings": description.get("tie_word_embeddings", False),
            "attention_bias": family == "qwen2" or description.get("attention_bias", False),
            "attention_output_bias": family != "qwen2" and description.get("attention_bias", False),
            "qk_norm": family == "qwen3",
        }
    except KeyError as error:
        raise CheckpointError(f"{path}: field {error} is missing") from None
    return validate(DecoderConfig, values, source=path)


def _rope(description: dict[str, Any]) -> dict[str, Any]:
    """RoPE settings of either generation of configuration files, `rope_theta` among them."""
    rope = dict(description.get("rope_parameters") or description.get("rope_scaling") or {})
    if "rope_theta" in description:
        rope.setdefault("rope_theta", description["rope_theta"])
    return rope


def _refuse_unsupported(description: dict[str, Any], path: Path) -> None:
    rope = _rope(description)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", None):
        raise CheckpointError(f"{path}: rope_scaling of type '{kind}' is not supported")
    if description.get("hidden_act", "silu") != "silu":
        raise CheckpointError(
            f"{path}: hidden_act '{description['hidden_act']}' is not supported; expected silu"
        )
    if description.get("mlp_bias"):
        raise CheckpointError(f"{path}: mlp_bias is not supported")
    window = description.get("sliding_window")
    used = description.get("use_sliding_window", description["model_type"] == "mistral")
    if window and used and window < description.get("max_position_embeddings", 0):
        raise CheckpointError(
            f"{path}: sliding_window {window} below max_position_embeddings is not supported"
        )
    if rope.get("partial_rotary_factor", description.get("partial_rotary_factor", 1.0)) != 1.0:
        raise CheckpointError(f"{path}: partial_rotary_factor is not supported")


def weight_files(source: Path) -> Iterator[Path]:
    """The safetensors shards of a folder, in the order of its index.

    Raises:
        CheckpointError: if there are none; pickled weights are refused by name.
    """
    if (source / _INDEX).is_file():
        shards = sorted(set(read_json(source / _INDEX)["weight_map"].values()))
        if any(Path(name).name != name for name in shards):
            raise CheckpointError(f"{source / _INDEX}: a shard lies outside the folder")
        yield from (source / name for name in shards)
    elif (source / WEIGHTS).is_file():
        yield source / WEIGHTS
    else:
        pickles = sorted([*source.glob("*.bin"), *source.glob("*.pt"), *source.glob("*.pth")])
        if pickles:
            raise CheckpointError(f"{pickles[0]}: pickled weights are refused; save the model as safetensors")
        raise CheckpointError(f"{source}: no {WEIGHTS}")


def rename(name: str) -> str:
    """A Llama-family parameter's name in this package."""
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
