"""Compile every kernel for an H100 at the sizes of a 15B model, on a machine without one.

The interpreter checks what kernels compute, not that they compile: it takes types that change in a loop,
and knows no shared memory. Prints a line a kernel: its name and bytes of shared memory.

    python compile_kernels.py bfloat16
"""

import sys
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from derailleur.kernels.triton import chunk_delta_rule, decode_step, paged_attention

HEADS, DIM = 2, 128


class Driver:
    """As much of a driver as compiling asks for."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_instead(kernel: JITFunction, grid: tuple[int, ...]) -> Any:
    def launch(*arguments: Any, **options: Any) -> None:
        compiled = kernel.run(*arguments, grid=grid, warmup=True, **options)
        print(kernel.__name__, compiled.metadata.shared)

    return launch


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape).to(dtype)


def compile_rules() -> None:
    for channels in ((), (DIM,)):
        q, k, v = (normal(1, 64, HEADS, DIM).requires_grad_() for _ in range(3))
        beta, log_decay = torch.rand(1, 64, HEADS), -torch.rand(1, 64, HEADS, *channels)
        state = torch.zeros(1, HEADS, DIM, DIM)
        chunk_delta_rule(q, k, v, beta, log_decay, state=state).output.sum().backward()


def compile_decode() -> None:
    for rates, lower_bound in ((HEADS, None), (HEADS * DIM, -5.0)):
        decode_step(
            normal(1, 3 * HEADS * DIM), normal(1, rates), normal(1, HEADS), normal(1, HEADS * DIM),
            torch.tensor([0]), normal(1, 3, 3 * HEADS * DIM), torch.zeros(1, HEADS, DIM, DIM),
            torch.zeros(3 * HEADS * DIM, 4), torch.zeros(HEADS), torch.zeros(rates),
            torch.zeros(HEADS * DIM), torch.ones(DIM),
            norm_eps=1e-5, l2_eps=1e-6, silu_gate=True, decay_lower_bound=lower_bound,
        )  # fmt: skip
    keys, values = normal(4, HEADS, DIM, 16), normal(4, HEADS, 16, DIM)
    paged_attention(normal(1, 1, 4 * HEADS, DIM), keys, values, torch.tensor([[0]]), torch.tensor([3]))


triton.runtime.driver.set_active(Driver())
JITFunction.__getitem__ = compile_instead
dtype = getattr(torch, sys.argv[1])
compile_rules()
compile_decode()
