"""Kernels compile with and without a cache folder."""

from typing import Any

import numba
import pytest

from derailleur.compiled import compiled


def double(value: int) -> int:
    return 2 * value


def test_a_kernel_is_compiled_without_the_gil() -> None:
    kernel: Any = compiled(double)
    assert kernel(21) == 42
    assert kernel.targetoptions["nogil"]


def test_no_writable_cache_folder_means_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    original = numba.njit

    def without_locator(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return original(**options)

    monkeypatch.setattr(numba, "njit", without_locator)
    assert compiled(double)(21) == 42
