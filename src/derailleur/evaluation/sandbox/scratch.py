"""A folder of the host for one program, and how nothing of it stays. Standard library only."""

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def folder(user: int | None) -> Iterator[str]:
    """A program's own folder on the host, with `box`, `tmp` and `bin`; removed with all that is in it."""
    folder = tempfile.mkdtemp(prefix="derailleur-")
    for path in (folder, f"{folder}/box", f"{folder}/tmp", f"{folder}/bin"):
        os.makedirs(path, exist_ok=True)
        if user is not None:
            os.chown(path, user, user)
    os.symlink(sys.executable, f"{folder}/bin/python")
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder however deep and locked: what is in its folders is moved up first."""
    names = itertools.count()
    pending = [folder]
    while pending:
        path = pending.pop()
        for entry in [*os.scandir(path)]:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
                pending.append(f"{folder}/{next(names)}.removed")
                os.rename(entry.path, pending[-1])
            else:
                os.unlink(entry.path)
        if path != folder:
            os.rmdir(path)
    os.rmdir(folder)
