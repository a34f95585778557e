"""Checkpoint folders: config.json, model*.safetensors, tokenizer.json, generation_config.json."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.io import atomic_path, read_json_object, write_json
from derailleur.model.config import DecoderConfig
from derailleur.model.decoder import Decoder
from derailleur.model.weights import (
    WEIGHTS,
    TensorSpec,
    read_header,
    read_tensors,
    weight_files,
    write_weights,
)

MODEL_TYPE = "derailleur"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
)


def model_folder(path: Path) -> Path:
    """A checkpoint folder, given itself or the folder of the stage that wrote it.

    Raises:
        CheckpointError: if there is no config.json in either.
    """
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(f"{path}: no config.json; expected a model folder or a stage folder with model/")


def save_model(decoder: Decoder, folder: Path, *, tokenizer_from: Path | None = None) -> None:
    """Write a checkpoint; the tokenizer's and generation files are copied from another folder.

    config.json is written last: a folder without it is not a checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = decoder.state_dict()
    if decoder.config.tie_embeddings:
        weights.pop("head.weight")
    specs = {name: TensorSpec.of(x) for name, x in weights.items()}
    write_weights(folder, specs, lambda name: weights[name])
    if tokenizer_from is not None:
        copy_tokenizer(tokenizer_from, folder)
    write_generation_settings(folder)
    dtype = str(decoder.embed.weight.dtype).removeprefix("torch.")
    write_json(folder / "config.json", describe(decoder.config) | {"dtype": dtype})


def describe(config: DecoderConfig) -> dict[str, Any]:
    """The content of config.json but for `dtype`: the shape, and what tools look for that do not know us."""
    return {
        "architectures": ["DerailleurForCausalLM"],
        "model_type": MODEL_TYPE,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tie_embeddings,
        "derailleur": config.model_dump(mode="json"),
    }


def tensor_names(config: DecoderConfig) -> list[str]:
    """What the weights' files hold: every parameter once."""
    with torch.device("meta"):
        names = list(Decoder(config).state_dict())
    return [name for name in names if name != "head.weight" or not config.tie_embeddings]


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's and the generation files that are there."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)


def write_generation_settings(folder: Path) -> None:
    """Complete generation_config.json, so that whoever generates stops at the end of a document."""
    settings = special_ids(folder) | {"do_sample": False} | generation_settings(folder)
    write_json(folder / "generation_config.json", settings)


def special_ids(folder: Path) -> dict[str, int]:
    """The ids of the special tokens that tokenizer_config.json names; without a pad token the end pads."""
    if not (folder / "tokenizer.json").is_file():
        return {}
    vocabulary = _vocabulary(folder / "tokenizer.json")
    if not (folder / "tokenizer_config.json").is_file():
        return {}
    names = read_json_object(folder / "tokenizer_config.json")
    ids = {}
    for name in ("bos_token", "eos_token", "pad_token"):
        token = names.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token in vocabulary:
            ids[f"{name}_id"] = vocabulary[token]
    if "eos_token_id" in ids:
        ids.setdefault("pad_token_id", ids["eos_token_id"])
    return ids


def _vocabulary(path: Path) -> dict[str, int]:
    """The ids of a tokenizer's tokens."""
    tokenizer = read_json_object(path)
    try:
        vocabulary = tokenizer.get("model", {}).get("vocab", {})
        added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
        return {**vocabulary, **added}
    except (AttributeError, KeyError, TypeError):
        raise CheckpointError(f"{path}: not a byte-level BPE tokenizer in the fast format") from None


def load_config(folder: Path) -> DecoderConfig:
    """The shape of the decoder in a checkpoint folder.

    Raises:
        CheckpointError: if the folder is not a checkpoint of ours; names what to do.
    """
    folder = model_folder(folder)
    description = read_json_object(folder / "config.json")
    if description.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{folder}: model_type '{description.get('model_type')}' is not a derailleur checkpoint; "
            f"run `derailleur import {folder} --out DIR` first"
        )
    shape = description.get("derailleur")
    if not isinstance(shape, dict):
        raise CheckpointError(
            f"{folder / 'config.json'}: derailleur: expected the decoder's shape, got {shape!r}"
        )
    return validate(DecoderConfig, shape, source=folder / "config.json")


def load_model(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Decoder:
    """Load a checkpoint folder (or a stage folder that holds one), ready for inference.

    Raises:
        CheckpointError: if a file is missing, broken, or does not fit the configuration.
    """
    folder = model_folder(folder)
    with torch.device("meta"):
        decoder = Decoder(load_config(folder))
    load_weights(decoder, folder, device=torch.device(device), dtype=dtype)
    return decoder.to(device).eval()


def load_weights(decoder: Decoder, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
    """Give a decoder the weights of a folder; it may be on the meta device.

    Raises:
        CheckpointError: if a file is missing or broken, or a tensor does not fit.
    """
    files = weight_files(folder) or [folder / WEIGHTS]
    headers = {file: read_header(file) for file in files}
    specs = {name: spec for header in headers.values() for name, spec in header.items()}
    if decoder.config.tie_embeddings and "embed.weight" in specs:
        specs["head.weight"] = specs["embed.weight"]
    check_weights(decoder, specs, folder if len(files) > 1 else files[0])
    weights = {name: x.to(device=device, dtype=dtype) for file in files for name, x in read_tensors(file)}
    if decoder.config.tie_embeddings:
        weights["head.weight"] = weights["embed.weight"]
    decoder.load_state_dict(weights, assign=True)
    if decoder.config.tie_embeddings:
        decoder.head.weight = decoder.embed.weight


def check_weights(decoder: Decoder, specs: Mapping[str, TensorSpec], path: Path) -> None:
    """Refuse weights that do not fit a decoder, naming the first tensor that does not."""
    expected = {name: tuple(x.shape) for name, x in decoder.state_dict().items()}
    for name, shape in expected.items():
        if name not in specs:
            raise CheckpointError(f"{path}: tensor '{name}' is missing")
        if specs[name].shape != shape:
            raise CheckpointError(f"{path}: tensor '{name}' has shape {specs[name].shape}, expected {shape}")
    extra = sorted(set(specs) - set(expected))
    if extra:
        raise CheckpointError(f"{path}: tensor '{extra[0]}' is not part of this model")


def generation_settings(folder: Path) -> dict[str, Any]:
    """The folder's generation_config.json, or nothing."""
    path = folder / "generation_config.json"
    return read_json_object(path) if path.is_file() else {}
