"""Every kernel compiles for an H100, and its tiles fit into a block's shared memory."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

H100_SHARED_BYTES = 227 * 1024


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float32", marks=pytest.mark.slow)])
def test_kernels_compile_for_an_h100(kernels: ModuleType, dtype: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run([sys.executable, script, dtype], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len({name for name, _ in lines}) == 14
    for name, shared in lines:
        assert int(shared) <= H100_SHARED_BYTES, f"{name} asks for {shared} bytes"
