"""The key under which a judgement is kept: everything that it depends on."""

import functools
import hashlib
import json
import platform
import shutil
from pathlib import Path

from derailleur.errors import UserError
from derailleur.evaluation.programs.row import Language, Row
from derailleur.evaluation.sandbox.limits import Limits

_TOOLS = {Language.JAVASCRIPT: ("node", "nodejs"), Language.JAVA: ("javac", "a JDK")}


def judgement_key(row: Row, limits: Limits, setting: str) -> str:
    """The same for rows that are judged alike: the same program and tests, limits and toolchain.

    Args:
        setting: what else decides how programs are judged: the judge's version, whether there is a sandbox.
    """
    parts = (
        setting,
        toolchain(row.language),
        limits.model_dump_json(),
        row.language,
        row.program,
        row.tests,
        row.stdin,
        row.expected,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.cache
def toolchain(language: Language) -> str:
    """Which interpreter or compiler runs a language here, exactly enough that another one has another name.

    Raises:
        UserError: if there is none; says what to install.
    """
    if language is Language.PYTHON:
        return platform.python_version()
    command, package = _TOOLS[language]
    found = shutil.which(command)
    if found is None:
        raise UserError(f"{language} programs need '{command}', which is not on the PATH: install {package}")
    path = Path(found).resolve()
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
