"""Which interpreters and compilers judge programs here, for the record."""

import platform
import shutil
import subprocess
from collections.abc import Iterable

_ASK = {"javascript": ("node", "--version"), "java": ("javac", "-version")}


def toolchains(languages: Iterable[str]) -> dict[str, str | None]:
    """Versions by language; None for what is not installed, so that nothing of it was judged here."""
    return {language: _version(language) for language in sorted(languages)}


def _version(language: str) -> str | None:
    if language not in _ASK:
        return platform.python_version()
    command, *arguments = _ASK[language]
    if (found := shutil.which(command)) is None:
        return None
    answer = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return (answer.stdout or answer.stderr).strip()
