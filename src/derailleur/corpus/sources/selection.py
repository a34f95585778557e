"""Rules files out by their path and size, before anything is read of them."""

import os
import re

from derailleur.corpus.ledger import Verdict
from derailleur.corpus.sources.config import SourceConfig

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


class Selection:
    """The part of a `SourceConfig` that paths and sizes are held against."""

    def __init__(self, config: SourceConfig) -> None:
        self.max_file_bytes = config.max_file_bytes
        self._excluded = frozenset(config.exclude_folders)
        self._include = [glob(pattern) for pattern in config.include]

    def rule_out(self, path: str, num_bytes: int) -> Verdict | None:
        """Why a file is not even read, or None."""
        if not self._excluded.isdisjoint(path.split("/")[:-1]):
            return Verdict("dropped", "excluded_folder")
        if self._include and not any(pattern.fullmatch(path) for pattern in self._include):
            return Verdict("dropped", "not_included")
        if num_bytes > self.max_file_bytes:
            return Verdict("dropped", "too_large", f"{num_bytes} bytes")
        return None


def lfs_pointer(data: bytes) -> Verdict | None:
    """The verdict on a file that only points to where Git LFS keeps its content."""
    is_pointer = len(data) < 1024 and data.startswith(_LFS_POINTER)
    return Verdict("dropped", "lfs_pointer") if is_pointer else None


def printable(name: str | bytes) -> str:
    """A file's name as text; bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def glob(pattern: str) -> re.Pattern[str]:
    """A path glob as a regular expression: `**/` is any folders, `*` and `?` stay within a name."""
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(forms.get(part, re.escape(part)) for part in parts), re.DOTALL)
