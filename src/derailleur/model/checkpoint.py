"""Checkpoint folders: config.json, model.safetensors, tokenizer.json, generation_config.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from derailleur.config import validate
from derailleur.errors import CheckpointError
from derailleur.io import atomic_path, read_json, write_json
from derailleur.model.config import DecoderConfig
from derailleur.model.decoder import Decoder

MODEL_TYPE = "derailleur"
WEIGHTS = "model.safetensors"
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
    weights = {name: x.detach().contiguous().cpu() for name, x in decoder.state_dict().items()}
    if decoder.config.tie_embeddings:
        weights.pop("head.weight")
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(weights, str(temporary), metadata={"format": "pt"})
    for name in TOKENIZER_FILES:
        if tokenizer_from is not None and (tokenizer_from / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(tokenizer_from / name, temporary)
    if not (folder / "generation_config.json").is_file():
        write_json(folder / "generation_config.json", {"do_sample": False})
    description = {
        "architectures": ["DerailleurForCausalLM"],
        "model_type": MODEL_TYPE,
        "vocab_size": decoder.config.vocab_size,
        "hidden_size": decoder.config.hidden_size,
        "num_hidden_layers": decoder.config.num_layers,
        "max_position_embeddings": decoder.config.max_positions,
        "tie_word_embeddings": decoder.config.tie_embeddings,
        "derailleur": decoder.config.model_dump(mode="json"),
    }
    write_json(folder / "config.json", description)


def load_config(folder: Path) -> DecoderConfig:
    """The shape of the decoder in a checkpoint folder.

    Raises:
        CheckpointError: if the folder is not a checkpoint of ours; names what to do.
    """
    folder = model_folder(folder)
    description: dict[str, Any] = read_json(folder / "config.json")
    if description.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{folder}: model_type '{description.get('model_type')}' is not a derailleur checkpoint; "
            f"run `derailleur import {folder} --out DIR` first"
        )
    return validate(DecoderConfig, description["derailleur"], source=folder / "config.json")


def load_model(
    folder: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Decoder:
    """Load a checkpoint folder (or a stage folder that holds one), ready for inference.

    Raises:
        CheckpointError: if a file is missing, broken, or does not fit the configuration.
    """
    folder = model_folder(folder)
    config = load_config(folder)
    with torch.device("meta"):
        decoder = Decoder(config)
    weights = read_weights(folder / WEIGHTS)
    if config.tie_embeddings:
        weights["head.weight"] = weights.get("embed.weight", torch.empty(0))
    check_weights(decoder, weights, folder / WEIGHTS)
    decoder.load_state_dict(weights, assign=True)
    decoder.rotary = type(decoder.rotary)(config.head_dim, config.rope_theta)
    if config.tie_embeddings:
        decoder.head.weight = decoder.embed.weight
    return decoder.to(device=device, dtype=dtype).eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of one safetensors file.

    Raises:
        CheckpointError: if the file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from None


def check_weights(decoder: Decoder, weights: dict[str, Tensor], path: Path) -> None:
    """Refuse weights that do not fit a decoder, naming the first tensor that does not."""
    expected = {name: tuple(x.shape) for name, x in decoder.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{path}: tensor '{name}' is missing")
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tuple(weights[name].shape)}, expected {shape}"
            )
    extra = sorted(set(weights) - set(expected))
    if extra:
        raise CheckpointError(f"{path}: tensor '{extra[0]}' is not part of this model")


def generation_settings(folder: Path) -> dict[str, Any]:
    """The folder's generation_config.json, or nothing."""
    path = folder / "generation_config.json"
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return settings
