"""A decoder as the engine runs it: where, and in what numbers."""

from pathlib import Path
from typing import Literal

import torch

from derailleur.errors import ConfigError
from derailleur.model import Decoder, load_model
from derailleur.model.layers import halve_weights


def load_decoder(folder: Path, *, device: str, dtype: Literal["float32", "bfloat16"]) -> Decoder:
    """Load a checkpoint folder; bfloat16 is for weights alone on a CPU, for all but recurrent states on CUDA.

    Raises:
        CheckpointError: if a file is missing, broken, or does not fit the configuration.
        ConfigError: if there is no such device.
    """
    known = _available(device)
    if known.type != "cpu" or dtype == "float32":
        return load_model(folder, device=known, dtype=getattr(torch, dtype))
    decoder = load_model(folder, device=known)
    halve_weights(decoder)
    return decoder


def _available(device: str) -> torch.device:
    try:
        known = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device: '{device}' is not one; expected cpu, cuda or cuda:1") from None
    if known.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device: '{device}' is not available on this machine; expected cpu")
    return known
