"""Which form of a kernel serves."""

import subprocess
import sys

import torch

from derailleur.kernels import triton_serves


def test_torch_serves_on_a_cpu() -> None:
    assert not triton_serves(torch.zeros(1, 2, 3, 64))


def test_nothing_imports_the_triton_kernels_before_they_are_used() -> None:
    code = "import sys, derailleur.model; sys.exit('derailleur.kernels.triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
