"""How hot loops are compiled: by numba, without the GIL, cached on disk where a folder is writable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
_threads = Lock()


def compiled(function: Kernel) -> Kernel:
    """Compile a kernel at its first call.

    A kernel and the kernels that it calls stand in one file: numba's cached caller does not notice
    that a callee in another file has changed. Neither does it notice a changed constant, so files of
    kernels repeat those that they share.
    """
    return _compile(function, parallel=False)


def compiled_in_parallel(function: Kernel) -> Kernel:
    """The same, with the loops over `numba.prange` spread over numba's threads.

    Two forms of one function would share a place on disk: each needs a function of its own.
    """
    return _compile(function, parallel=True)


@contextmanager
def numba_threads(wanted: int) -> Iterator[int]:
    """Have so many threads, or as many as numba has, for a kernel compiled in parallel.

    One caller at a time: not every layer of threads that numba may run on takes two at once.
    """
    threads = min(wanted, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    with _threads:
        numba.set_num_threads(threads)
        yield threads


def _compile(function: Kernel, *, parallel: bool) -> Kernel:
    try:
        made: Any = numba.njit(cache=True, nogil=True, parallel=parallel)(function)
    except RuntimeError:  # "no locator available": no cache folder can be written
        made = numba.njit(nogil=True, parallel=parallel)(function)
    return cast(Kernel, made)


def _to_pointer(context: Any, address: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


pointer: Any = intrinsic(_to_pointer)
"""In a kernel, the pointer to an address: for numba to accept an array takes a microsecond, a number none."""
