"""Which form of a kernel serves: Triton's on CUDA where it is installed, numba's on a CPU, else torch's."""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

_MAX_HEAD_DIM = 128
"""A wider head's state does not fit into one program's registers."""


def triton_serves(*heads: Tensor) -> bool:
    """Whether the kernels in kernels/triton take these tensors [..., head_dim]."""
    return all(_fits(x) for x in heads) and _triton_is_installed()


def compiled_serves(x: Tensor) -> bool:
    """Whether the kernels that numba compiles take this tensor: float32 on a CPU, in inference mode."""
    return torch.is_inference_mode_enabled() and x.is_cpu and x.dtype == torch.float32


def _fits(x: Tensor) -> bool:
    return x.is_cuda and x.dtype in (torch.float32, torch.bfloat16) and x.shape[-1] <= _MAX_HEAD_DIM


@cache
def _triton_is_installed() -> bool:
    return find_spec("triton") is not None
