"""A folder of the host for one program, and how nothing of it stays. Standard library only."""

import contextlib
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
    """Remove a folder however deep and locked, step by step: by a path it could not even be named."""
    os.chdir(folder)
    names: list[str] = []
    pending = [_emptied()]  # the folders left in each folder on the way here
    while pending:
        if pending[-1]:
            names.append(pending[-1].pop())
            os.chmod(names[-1], 0o700)
            os.chdir(names[-1])
            pending.append(_emptied())
        else:
            pending.pop()
            os.chdir("..")
            os.rmdir(names.pop() if names else folder)


def _emptied() -> list[str]:
    """The folders in the working folder, once all else is removed."""
    entries = [*os.scandir()]
    folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    for entry in entries:
        if entry.name not in folders:
            os.unlink(entry.name)
    return sorted(folders)
