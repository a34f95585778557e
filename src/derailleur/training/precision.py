"""In which precision matrices are multiplied, on which device, and that it is the same every time."""

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum

import torch

from derailleur.errors import ConfigError


class Precision(StrEnum):
    """Parameters, norms, losses and optimiser state are float32 in every case."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one.

    Raises:
        ConfigError: if torch does not know the device or does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device: '{name}' is not available: {str(error).splitlines()[0]}") from None


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a forward pass runs; `auto` takes bfloat16 where the hardware multiplies it."""
    enabled = precision is Precision.BFLOAT16 or (
        precision is Precision.AUTO and _multiplies_bfloat16(device)
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Run with deterministic algorithms: an error on a CPU where there is none, a warning on a GPU."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # A debugging aid that would write every new tensor twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
