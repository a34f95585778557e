"""DuckDB's errors of the machine as Python's own: no memory, a full disk, a call that was stopped."""

import contextlib
import errno
import os
from collections.abc import Iterator

import duckdb


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Raise MemoryError, OSError or KeyboardInterrupt for what DuckDB says in words of its own."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(str(error)) from None
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.IOException as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
