"""The kernels in Triton run in its interpreter on a CPU (`TRITON_INTERPRET=1`), or on a GPU."""

import importlib
import os
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def kernels() -> ModuleType:
    """The package of kernels, where it can run."""
    pytest.importorskip("triton", reason="triton is not installed here; `make test` runs these tests")
    if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
        pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set")
    return importlib.import_module("derailleur.kernels.triton")


@pytest.fixture
def device(kernels: ModuleType) -> torch.device:
    """Where the kernels run."""
    return torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")


@pytest.fixture(autouse=True)
def uninitialised_memory_is_nan() -> Iterator[None]:
    """What a kernel fails to write, or reads beyond a row's end, shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
